"""Sessions that have found something, in a store.

In: events. Out: the session, as it is read when it has ended, and what was found in it.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

from models.emotions import EMOTIONS
from realtime.events import Event, SessionStarted, UtteranceFailed, UtteranceResult
from realtime.formats.findings import Findings, gather
from realtime.storage.store import SessionStore
from realtime.storage.values import StoredSession
from web.sessions.ended import Kept

NASTY = '=1+1 </script><img src=x onerror="alert(1)"> & "quoted", --> -2\nWEBVTT'

FAILED = UtteranceFailed(
    session="s", time=4, utterance=2, start=2.5, end=3.75, stage="stt", message="=it ended"
)


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


def people(store: SessionStore, **thresholds: float) -> list[Findings]:
    """Bob, who came later, and Ada, whose words are nasty, and whose second utterance failed."""
    ada = session(store, "Ada <b>", result(1, NASTY, 0.9), FAILED, result(3, "", 0.2))
    bob = session(store, "@Bob", result(1, "good morning", 0.6), after_s=1.25)
    return gather([bob, ada], thresholds)


def words(*texts: str, start: float) -> dict[str, object]:
    """A transcript of words of 0.2 s from `start` on, each of which overlaps the next a little."""
    told = [
        {"text": text, "start": round(start + i * 0.2, 3), "end": round(start + i * 0.2 + 0.21, 3)}
        for i, text in enumerate(texts)
    ]
    return {"text": " ".join(texts), "engine": "moonshine-tiny", "confidence": 0.87, "words": told}


def conversation(store: SessionStore) -> list[Findings]:
    """A film of two speakers, one with a name that is a formula; the scores have many digits."""

    def said(number: int, speaker: int, name: str, score: float, *texts: str) -> UtteranceResult:
        by = {"id": speaker, "name": name, "by": "both", "confidence": 0.75}
        start = number * 2.0 - 1.5
        return result(
            number, "", score, speaker=by, transcript=words(*texts, start=start),
            in_view=[
                {"speaks": True, "speaker": speaker, "time": start, "box": [1, 2, 3, 4]},
                {"speaks": False, "speaker": 1, "time": start + 0.5, "box": [5, 6.5, 7, 8]},
            ],
        )  # fmt: skip

    told = (
        said(1, 1, "=Ann", 0.9123456789012345, "=it", 'is "so"', "<b>&"),
        FAILED.model_copy(update={"utterance": 2, "start": 2.0, "end": 2.25}),
        said(3, 2, "Bea", 1 / 3, "@well"),
        said(40, 1, "=Ann", 0.5123456789012345, "--> no"),
    )
    return gather([session(store, "film.mp4", *told, kind="upload")], {})
