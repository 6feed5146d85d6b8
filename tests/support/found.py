"""Sessions that have found something, in a store.

In: events. Out: the session, as it is read when it has ended.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

from models.emotions import EMOTIONS
from realtime.events import Event, SessionStarted, UtteranceResult
from realtime.storage import SessionStore
from realtime.stored import StoredSession
from web.sessions.ended import Kept


def result(number: int, text: str, happiness: float, **changes: Any) -> UtteranceResult:
    return UtteranceResult.model_validate(
        {
            "session": "s",
            "time": number * 2.0,
            "utterance": number,
            "start": number * 2.0 - 1.5,
            "end": number * 2.0 - 0.25,
            "reason": "silence",
            "transcript": {"text": text, "engine": "moonshine-tiny"},
            "faces": [{"time": 0.5, "box": [1, 2, 3, 4], "confidence": 0.99}],
            "emotions": {**dict.fromkeys(EMOTIONS, 0.1), "happiness": happiness},
            "neutral": 0.25,
            "thresholds": dict.fromkeys(EMOTIONS, 0.5),
            "expressed": ["happiness"] if happiness > 0.5 else [],
            "modalities": ["visual", "acoustic", "textual"],
            "contributions": {e: {"visual": 0.1} for e in EMOTIONS},
            "latency": {"close_to_result": 0.25, "end_to_result": None, "stages": {}},
            **changes,
        }
    )


def session(
    store: SessionStore, name: str, *events: Event, after_s: float = 0.0, kind: str = "call"
) -> Kept:
    row = StoredSession(
        id=uuid.uuid4().hex[:12],
        kind=kind,
        name=name,
        source=f"source of {name}",
        room="r",
        owner=None,
        started=datetime(2026, 1, 5, tzinfo=timezone.utc) + timedelta(seconds=after_s),
        duration=None,
        recorded=False,
    )
    store.begin(row)
    began = SessionStarted(
        session="s", time=0, source=name, profile="embedded", stt="moonshine-tiny"
    )
    for seq, event in enumerate((began, *events), 1):
        stored = store.append(row.id, seq, event)
    stored.result()
    return Kept(row, store)
