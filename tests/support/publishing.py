"""Servers to be killed: their sessions publish and are deleted as fast as the disk takes it.

In: a line on standard input for each server: the store's path, and a seed. Out: on standard output
its process id, each event it publishes, which sessions it deletes and has deleted, and "gone" when
it is. The servers are forked, so that what they import is loaded once.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from pathlib import Path

from realtime.events import (
    AverageUpdated,
    Event,
    SessionEnded,
    SessionStarted,
    SpeechPaused,
    SpeechStarted,
    TranscriptPartial,
    UtteranceResult,
    WireAverage,
)
from realtime.sources.pushed import PushedSource
from realtime.storage.store import SessionStore
from realtime.storage.values import UtteranceInputs
from realtime.wire import Latency, WireTranscript, WireWord
from web.sessions.hosted import Hosted, wire
from web.settings import ServerSettings

SESSIONS = 3
WORDS = ("what", "you", "said", "grün", "“well”", "日本", "lay", "white", "with", "nine", "again")
EMOTIONS = ("happiness", "sadness", "anger", "fear", "disgust", "surprise")


def tell(line: str) -> None:
    data = line.encode() + b"\n"
    assert len(data) <= 4096  # a pipe takes so much at once, or nothing
    os.write(1, data)


def utterance(id: str, number: int, chance: random.Random) -> list[Event]:
    """What a session tells of one utterance."""
    start = number * 3.0
    said = chance.choices(WORDS, k=chance.randint(0, 12))
    partials = [
        TranscriptPartial(
            session=id, time=start + n / 5, utterance=number, text=" ".join(said[: n + 1])
        )
        for n in range(len(said))
    ]
    emotions = {emotion: chance.random() for emotion in EMOTIONS}
    judged = {
        "emotions": emotions,
        "neutral": chance.random(),
        "thresholds": dict.fromkeys(EMOTIONS, 0.5),
        "expressed": tuple(emotion for emotion in EMOTIONS if emotions[emotion] > 0.5),
    }
    result = UtteranceResult.model_validate(
        {
            "session": id,
            "time": start + 2.5,
            "utterance": number,
            "start": start,
            "end": start + 2,
            "reason": "silence",
            "transcript": WireTranscript(
                text=" ".join(said),
                engine="moonshine-tiny",
                words=tuple(WireWord(text=w, start=start, end=start + 0.1) for w in said),
            ),
            "faces": [],
            "modalities": ("acoustic",),
            "contributions": {emotion: {"acoustic": chance.random()} for emotion in EMOTIONS},
            "latency": Latency(close_to_result=0.2, end_to_result=None, stages={}),
            **judged,
        }
    )
    return [
        SpeechStarted(session=id, time=start),
        *partials,
        SpeechPaused(session=id, time=start + 2),
        result,
        AverageUpdated.model_validate(
            {"session": id, "time": start + 2.5, "utterances": number, **judged}
        ),
    ]


async def session(store: SessionStore, settings: ServerSettings, chance: random.Random) -> None:
    source = PushedSource("ada", has_audio=True, has_video=False)
    hosted = Hosted(
        source,
        settings,
        store,
        kind="ingest",
        name="ada",
        room=None,
        owner=None,
        at_end=lambda: None,
    )

    async def publish() -> None:
        async for seq, event in hosted.follow():
            tell(wire(seq, event))

    publishing = asyncio.create_task(publish())
    id = hosted.id
    hosted.record(
        SessionStarted(session=id, time=0, source="ada", profile="embedded", stt="moonshine-tiny")
    )
    for number in range(1, chance.randint(2, 40)):
        store.keep(id, number, UtteranceInputs((), (), 2.0, None), chance.randbytes(50_000))
        for event in utterance(id, number, chance):
            hosted.record(event)
            if chance.random() < 0.5:
                await asyncio.sleep(0)
        if chance.random() < 0.5:
            await asyncio.sleep(chance.random() / 100)
    average = WireAverage(utterances=0, emotions={}, thresholds={}, expressed=())
    hosted.record(SessionEnded(session=id, time=999, reason="end", utterances=0, average=average))
    await hosted._published()
    hosted.ended.set()
    hosted._wake()
    await publishing


async def delete(store: SessionStore, chance: random.Random) -> None:
    """Delete a session of this server, or of one that was killed before it."""
    over = [row.id for row in store.sessions(100) if row.reason is not None]
    if over:
        id = chance.choice(over)
        tell(json.dumps({"deleting": id}))
        problem = await asyncio.wrap_future(store.delete(id))
        assert problem is None, problem
        tell(json.dumps({"deleted": id}))


async def serve(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    settings = ServerSettings(store=path)
    store = SessionStore(path)
    if seed % 2:  # kills must fall into checkpoints, too
        store._writer.execute("PRAGMA wal_autocheckpoint = 10")

    async def one_after_the_other() -> None:
        while True:
            if chance.random() < 0.4:
                await delete(store, chance)
            await session(store, settings, chance)

    await asyncio.gather(*(one_after_the_other() for _ in range(SESSIONS)))


def main() -> None:
    for line in sys.stdin:
        path, seed = line.split()
        pid = os.fork()
        if pid == 0:
            asyncio.run(serve(Path(path), int(seed)))
        tell(f"pid {pid}")
        os.waitpid(pid, 0)
        tell("gone")


if __name__ == "__main__":
    main()
