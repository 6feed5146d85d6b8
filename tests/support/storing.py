"""Sessions and events to be stored."""

from __future__ import annotations

import time
from concurrent.futures import Future
from datetime import datetime, timezone
from typing import Any

from realtime.events import (
    SessionEnded,
    TranscriptPartial,
    WireAverage,
)
from realtime.stored import NotStored, StoredSession

SOON_S = 60  # generous: other work may keep the machine busy


NOBODY = WireAverage(utterances=0, emotions={}, thresholds={}, expressed=())


BEGAN = datetime(2026, 1, 5, 10, 12, 7, 123456, tzinfo=timezone.utc)


def row(id: str, **changes: Any) -> StoredSession:
    values: dict[str, Any] = {
        "id": id,
        "kind": "upload",
        "name": f"name of {id}",
        "source": f"source of {id}",
        "room": None,
        "owner": None,
        "started": BEGAN,
        "duration": 8.0,
        "recorded": False,
    }
    return StoredSession(**{**values, **changes})


def partial(id: str, number: int, text: str = "set green") -> TranscriptPartial:
    return TranscriptPartial(session=id, time=float(number), utterance=1, text=text)


def ended(id: str, at: float = 9.0) -> SessionEnded:
    return SessionEnded(session=id, time=at, reason="end", utterances=3, average=NOBODY)


def written(future: Future[NotStored | None]) -> None:
    assert future.result(SOON_S) is None


def until(condition: Any) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
