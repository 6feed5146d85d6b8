"""Sessions and events to be stored, and what the files of a store hold of them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from realtime.events import (
    SessionEnded,
    TranscriptPartial,
    WireAverage,
)
from realtime.storage.keys import SessionKeys
from realtime.storage.tables import SessionTables
from realtime.storage.values import NotStored, StoredSession

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


@contextmanager
def looking_into(path: Path) -> Iterator[SessionTables]:
    """The tables of a store that another has open, or nobody."""
    with (
        closing(sqlite3.connect(path)) as db,
        closing(SessionKeys(Path(f"{path}.keys"))) as keys,
    ):
        yield SessionTables(db, keys)


def content(tables: SessionTables, id: str, seq: int) -> str | None:
    """The JSON of an event as it lies in the file; None if it does not."""
    held = tables.held(id)
    assert held is not None
    number, key = held
    row = tables.db.execute(
        "SELECT content FROM events WHERE session = ? AND seq = ?", (number, seq)
    ).fetchone()
    return row and key.open(row[0]).decode()


def rows_left(tables: SessionTables) -> int:
    """How many events and media lie in the file of sessions that are not there any more."""
    gone = "session NOT IN (SELECT number FROM sessions)"
    (left,) = tables.db.execute(
        f"SELECT (SELECT count(*) FROM events WHERE {gone})"
        f" + (SELECT count(*) FROM media WHERE {gone})"
    ).fetchone()
    return int(left)


def all_that_is_kept(path: Path) -> bytes:
    """Everything in a store that can be read with its keys."""
    with looking_into(path) as tables:
        found = [repr(session).encode() for session in tables.sessions("")]
        for columns in ("content FROM events", "inputs FROM media", "sound FROM media"):
            for number, sealed in tables.db.execute(f"SELECT session, {columns}"):
                key = tables.keys.of(number)
                found += [key.open(sealed)] if key else []
    return b"\n".join(found)
