"""What is taken away of a long session is made in pieces, and does not hold the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psutil
import pytest
import pytest_asyncio
from found import result
from storing import NOBODY, row, written
from web_client import Client, serving

from models.errors import UsageError
from realtime.analyzers.local import LocalAnalyzer
from realtime.events import (
    AverageUpdated,
    Event,
    NoteChanged,
    SessionEnded,
    SessionStarted,
    SoundHeard,
    SpeechPaused,
    SpeechStarted,
    TranscriptPartial,
)
from realtime.formats.catalogue import FORMATS
from realtime.formats.parquet import pyarrow
from realtime.storage.store import SessionStore
from web.errors import ApiError
from web.observability.loop_watch import LoopWatch
from web.settings import ServerSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG, SHORT = 100_000, 10_000
"""Events. What is made of the longer session takes seconds for each time that it is read."""
ROOM_MB = 100
"""What an export may need beside what the server needs anyway."""


HELD_AT_MOST_S = 0.1
"""The aim is 0.02; a busy machine wakes the loop late, and lets the thread go on that makes the
file. When files were made in one piece, the loop was held for 0.5 to 3 s."""


def no_models() -> LocalAnalyzer:
    raise UsageError("what is kept can be taken away without models")


def told(events: int) -> Iterator[Event]:
    """What a session tells of each utterance, 9 events; the same again and again, to save time."""
    words = [{"text": f"word{i}", "start": 0.5 + i / 10, "end": 0.6 + i / 10} for i in range(10)]
    speaker = {"id": 1, "name": "Speaker 1", "by": "both", "confidence": 0.9}
    transcript = {"text": "so it goes, and so on", "engine": "moonshine-tiny", "words": words}
    analysed = result(1, "", 0.7, transcript=transcript, speaker=speaker)
    average = AverageUpdated(
        session="s",
        time=2,
        utterances=1,
        emotions=analysed.emotions,
        neutral=0.25,
        thresholds=analysed.thresholds,
        expressed=analysed.expressed,
    )
    partial = TranscriptPartial(session="s", time=1, utterance=1, text="so it goes, and so on")
    each = (
        SpeechStarted(session="s", time=0.5),
        *[partial] * 4,
        SpeechPaused(session="s", time=1.5),
        SoundHeard(session="s", time=2, kind="laughter", start=0.5, end=1.5, confidence=0.8),
        analysed,
        average,
    )
    yield SessionStarted(session="s", time=0, source="talk.mp4", profile="embedded", stt="tiny")
    for number in range(1, 26):
        yield NoteChanged(session="s", time=0, note=number, at=1, text="the price " * 10)
    for _ in range((events - 2) // len(each)):
        yield from each
    yield SessionEnded(session="s", time=9, reason="end", utterances=1, average=NOBODY)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """Of a server that keeps two sessions, ``long`` and ``short``."""
    path = tmp_path_factory.mktemp("long") / "s.sqlite"
    store = SessionStore(path)
    for id, events in (("long", LONG), ("short", SHORT)):
        store.begin(row(id))
        for seq, event in enumerate(told(events), 1):
            stored = store.append(id, seq, event)
        written(stored)
    store.close()
    pyarrow()  # which the server otherwise loads meanwhile
    async with serving(ServerSettings(store=path), no_models) as client:
        with pytest.raises(ApiError):
            await client.hub.ready()
        await client.http.get("/api/sessions/short/results.csv")  # what is loaded but once
        yield client


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "long/results.csv",
        "long/results.jsonl",
        *(f"short/{format.route}" for format in FORMATS.values()),
    ],
)
async def test_an_export_neither_holds_the_loop_nor_fills_the_memory(
    client: Client, name: str
) -> None:
    process = psutil.Process()
    before = most = process.memory_info().rss
    size = 0
    address = f"/api/sessions/{name}"
    async with LoopWatch() as watch, client.http.stream("GET", address) as answer:
        assert answer.status_code == 200
        async for piece in answer.aiter_raw():
            size += len(piece)
            most = max(most, process.memory_info().rss)
    assert size > (1_000_000 if "long" in name else 1_000)
    assert (most - before) / 2**20 < ROOM_MB
    assert watch.late.longest_s < HELD_AT_MOST_S
