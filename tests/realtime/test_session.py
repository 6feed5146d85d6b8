"""Sessions from source to events, with the real models on real clips."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import networks
import numpy as np
import pytest
from clips import beginning_of
from playing import by_kind, events_of, lasting, results, warnings_of
from talks import Talk

from models.stt import Hypothesis
from models.stt.moonshine import MoonshineTranscriber
from realtime.analysis import Analysis, Utterance
from realtime.analyzers.local import LocalAnalyzer, LocalStream
from realtime.endpointing import EndpointingSettings
from realtime.events import (
    AverageUpdated,
    Event,
    SessionEnded,
    SessionStarted,
    SourceWarning,
    SpeechStarted,
    TranscriptPartial,
    UtteranceFailed,
    UtteranceProvisional,
    UtteranceResult,
)
from realtime.inference import Rank
from realtime.media import Media, Samples, VideoFrame
from realtime.session import LiveSession
from realtime.sources import open_source
from realtime.sources.base import Source

pytestmark = pytest.mark.slow


async def test_talking_head_is_understood_utterance_by_utterance(
    analyzer: LocalAnalyzer, long_talk: Talk
) -> None:
    events = await events_of(long_talk.path, analyzer)
    assert isinstance(events[0], SessionStarted)
    assert events[0].duration == pytest.approx(long_talk.duration, abs=0.1)
    found = results(events)
    assert [r.utterance for r in found] == list(range(1, 13))
    for result, said in zip(found, long_talk.sentences, strict=True):
        assert abs(result.start - said.start) <= 0.3
        assert abs(result.end - said.end) <= 0.3
        assert result.reason == "silence"
        assert len(result.faces) == 5
        assert all(result.start <= face.time < result.end for face in result.faces)
        understood = ("textual",) if result.transcript.text else ()
        assert result.modalities == ("visual", "acoustic", *understood)
        assert result.transcript.confidence is not None
        assert all(result.start <= w.start < w.end for w in result.transcript.words)
        assert all(0 <= p <= 1 for p in (*result.emotions.values(), result.neutral))
        assert result.contributions.keys() == result.emotions.keys()
        for row in result.contributions.values():
            assert tuple(row) == result.modalities
            assert all(-1 <= moved <= 1 for moved in row.values())
        assert set(result.latency.stages) == {"stt", "faces", "mer"}
    heard = [result.transcript.text for result in found]
    assert sum(h == s.text for h, s in zip(heard, long_talk.sentences, strict=True)) >= 9
    averages = [event for event in events if isinstance(event, AverageUpdated)]
    assert [average.utterances for average in averages] == list(range(1, 13))
    ended = events[-1]
    assert isinstance(ended, SessionEnded)
    assert (ended.reason, ended.utterances) == ("end", 12)
    assert ended.average.emotions == averages[-1].emotions
    for label, mean in ended.average.emotions.items():
        assert mean == pytest.approx(sum(r.emotions[label] for r in found) / 12)
    assert ended.average.neutral == averages[-1].neutral
    assert ended.average.neutral == pytest.approx(sum(r.neutral for r in found) / 12)


async def test_real_commands_are_found_where_they_are_and_express_nothing(
    shared: Path, tmp_path: Path, analyzer: LocalAnalyzer, talker_truth: list[dict[str, Any]]
) -> None:
    clip = beginning_of(shared / "media/talker_grid_120s.mp4", 30, tmp_path / "talker.mp4")
    events = await events_of(clip, analyzer)
    found = results(events)
    for result, truth in zip(found, talker_truth[:10], strict=True):
        assert abs(result.start - truth["start"]) <= 0.35
        assert abs(result.end - truth["end"]) <= 0.35
        assert len(result.faces) == 5
    assert sum("textual" in result.modalities for result in found) >= 8
    ended = events[-1]
    assert isinstance(ended, SessionEnded)
    assert (ended.reason, ended.utterances) == ("end", 10)
    assert ended.average.expressed == ()  # he reads neutral commands


@pytest.mark.parametrize("clip", ["talk", "other_talk"])
async def test_live_pace_and_full_speed_give_the_same_in_every_digit(
    request: pytest.FixtureRequest, analyzer: LocalAnalyzer, clip: str
) -> None:
    talk: Talk = request.getfixturevalue(clip)
    live = await events_of(talk.path, analyzer, pace="live")
    fast = await events_of(talk.path, analyzer)
    assert results(live)
    assert any(isinstance(event, TranscriptPartial) for event in live)
    assert by_kind(lasting(live)) == by_kind(lasting(fast))
    assert all(r.latency.end_to_result is not None for r in results(live))
    assert all(r.latency.end_to_result is None for r in results(fast))


async def test_crying_is_told_where_nobody_speaks_live_as_in_an_upload(
    shared: Path, analyzer: LocalAnalyzer
) -> None:
    clip = shared / "data/speech_more/esc10/Baby_cry_2-80482-A.opus"  # 5 s
    fast = by_kind(lasting(await events_of(clip, analyzer)))["sound.event"]
    live = by_kind(lasting(await events_of(clip, analyzer, pace="live")))["sound.event"]
    (crying,) = map(json.loads, fast)
    assert (crying["kind"], crying["start"], crying["end"]) == ("crying", 0.0, 4.5)
    assert live == fast


async def test_a_persons_rest_is_learnt_from_what_looks_neutral(
    shared: Path, analyzer: LocalAnalyzer
) -> None:
    clip = shared / "media/talker_512.mp4"  # the made talks smile throughout
    plain = await events_of(clip, analyzer)
    assert all(result.adjusted is None for result in results(plain))
    learnt = await events_of(clip, analyzer, baseline=True)
    seen = 0
    for result, same in zip(results(learnt), results(plain), strict=True):
        assert (result.emotions, result.expressed) == (same.emotions, same.expressed)
        assert result.adjusted is not None
        assert result.adjusted.resting == seen
        assert all(p <= result.emotions[label] for label, p in result.adjusted.emotions.items())
        assert result.neutral is not None
        seen += result.neutral > 0.5
    ended = learnt[-1]
    assert isinstance(ended, SessionEnded)
    assert ended.average.adjusted is not None


async def test_what_is_worked_out_in_a_pause_is_dropped_when_speech_resumes(
    halting: Path, analyzer: LocalAnalyzer
) -> None:
    asked: list[Utterance] = []
    result = LocalStream.result

    async def watched(self: LocalStream, utterance: Utterance) -> Analysis:
        asked.append(utterance)
        return await result(self, utterance)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalStream, "result", watched)
        live = await events_of(halting, analyzer, pace="live")
    told = [(e.start, e.end) for e in results(live)]
    assert len(told) == 2
    begun = [(utterance.start_s, utterance.stop_s) for utterance in asked]
    assert len(begun) >= 4  # each utterance was begun too early once,
    assert sum(one in told for one in begun) == 2  # and once, and only once, at its very end
    assert by_kind(lasting(live)) == by_kind(lasting(await events_of(halting, analyzer)))


async def test_the_result_is_that_of_the_whole_utterance_analysed_at_once(
    long_talk: Talk, analyzer: LocalAnalyzer
) -> None:
    """The plain path: all frames and samples are there, and nothing was done ahead."""
    ahead: dict[int, tuple[Utterance, Analysis]] = {}

    def keep(utterance: Utterance, analysis: Analysis) -> None:
        ahead[utterance.number] = utterance, analysis

    clip = str(long_talk.path)
    session = LiveSession(await open_source(clip, "live"), analyzer, on_analysis=keep)
    async for event in session.events():
        if isinstance(event, UtteranceResult) and event.utterance == 3:
            session.stop()
    assert len(ahead) >= 3
    last = max(utterance.stop_s for utterance, _ in ahead.values())  # later on a busy machine
    frames = await frames_of(clip, until=last)
    for utterance, analysis in ahead.values():
        during = [f for f in frames if utterance.start_s <= f.time < utterance.stop_s]
        stream = analyzer.stream()
        for frame in during:
            stream.see(frame)
        plain = await stream.result(utterance)
        stream.cancel()
        assert plain.transcript == analysis.transcript
        assert plain.scores == analysis.scores
        assert len(plain.faces) == 5 or utterance.reason == "end"  # cut short by the stop
        for one, other in zip(plain.faces, analysis.faces, strict=True):
            assert (one.time, one.box) == (other.time, other.box)
            np.testing.assert_array_equal(one.image, other.image)


async def frames_of(clip: str, *, until: float) -> list[VideoFrame]:
    """The frames of a clip as a session gets them."""
    source = await open_source(clip, "fast")
    frames = []
    async for item in source:
        if isinstance(item, VideoFrame):
            frames.append(item)
            if item.time > until:
                break
    await source.aclose()
    return frames


async def test_sessions_side_by_side_do_not_change_each_other(
    talk: Talk, other_talk: Talk, analyzer: LocalAnalyzer
) -> None:
    clips = [talk.path, other_talk.path]
    alone = [await events_of(clip, analyzer) for clip in clips]
    together = await asyncio.gather(*(events_of(clip, analyzer) for clip in clips))
    for one, other in zip(alone, together, strict=True):
        assert by_kind(lasting(one)) == by_kind(lasting(other))


@pytest.mark.parametrize("clip", ["crowd", "nobody"])
async def test_sound_without_speech_has_no_utterances(
    request: pytest.FixtureRequest, analyzer: LocalAnalyzer, clip: str
) -> None:
    events = await events_of(request.getfixturevalue(clip), analyzer)
    assert [type(event) for event in events] == [SessionStarted, SessionEnded]
    ended = events[-1]
    assert isinstance(ended, SessionEnded)
    assert (ended.utterances, ended.average.emotions) == (0, {})


async def test_the_speaker_is_found_in_the_pixels_of_the_source(
    upright_talk: Talk, analyzer: LocalAnalyzer
) -> None:
    width, height = upright_talk.size
    found = results(await events_of(upright_talk.path, analyzer))
    assert len(found) == 2
    for result in found:
        assert len(result.faces) >= 3
        for face in result.faces:
            x, y, w, h = face.box
            assert 0 <= x < x + w <= width + 1
            assert 0 <= y < y + h <= height + 1
        centres = [face.box[0] + face.box[2] / 2 for face in result.faces]
        assert max(centres) - min(centres) < 1.5 * max(face.box[2] for face in result.faces)


async def test_a_long_speech_is_split_and_scored_on_the_way(
    monologue: Talk, analyzer: LocalAnalyzer
) -> None:
    events = await events_of(
        monologue.path,
        analyzer,
        pace="live",
        endpointing=EndpointingSettings(max_speech_duration_s=5, min_silence_duration_ms=900),
    )
    found = results(events)
    assert "limit" in {r.reason for r in found}
    assert all(r.end - r.start <= 5 for r in found)
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert all(r.modalities[0] == "acoustic" and r.faces == () for r in found)
    provisional = [event for event in events if isinstance(event, UtteranceProvisional)]
    assert provisional
    assert all(p.neutral is not None for p in provisional)
    assert {p.utterance for p in provisional} <= {r.utterance for r in found}


async def test_stop_closes_what_is_spoken_and_ends_with_the_average(
    monologue: Talk, analyzer: LocalAnalyzer
) -> None:
    source = await open_source(str(monologue.path), "live")
    session = LiveSession(source, analyzer)
    events = []
    async for event in session.events():
        events.append(event)
        if isinstance(event, SpeechStarted):
            asyncio.get_running_loop().call_later(1.5, session.stop)
    assert isinstance(events[-1], SessionEnded)
    assert events[-1].reason == "stopped"
    (result,) = results(events)
    assert result.reason == "end"
    assert events[-1].average.emotions == result.emotions


async def test_leaving_early_leaves_nothing_behind(talk: Talk, analyzer: LocalAnalyzer) -> None:
    before = set(threading.enumerate())
    source = await open_source(str(talk.path), "live")
    events = LiveSession(source, analyzer).events()
    async for event in events:
        if isinstance(event, SpeechStarted):
            break
    await events.aclose()
    for _ in range(1000):  # a network that had begun comes to its end
        if not analyzer.waiting:
            break
        await asyncio.sleep(0.01)
    assert analyzer.waiting == 0
    assert [t for t in asyncio.all_tasks() if t is not asyncio.current_task()] == []
    left = [t for t in set(threading.enumerate()) - before if t.name.startswith("source")]
    for thread in left:
        thread.join(1)  # it has let go of everything, but may not have returned yet
    assert not any(thread.is_alive() for thread in left)


async def test_on_a_machine_that_is_late_no_utterance_is_lost(
    monologue: Talk, analyzer: LocalAnalyzer
) -> None:
    """Networks and recogniser stand still for 7 s: what is said on the way is given up, no more."""
    clip = monologue.path
    settings = EndpointingSettings(min_silence_duration_ms=1500, max_speech_duration_s=20)
    undisturbed = await events_of(clip, analyzer, endpointing=settings)
    (longest,) = results(undisturbed)[:1]
    assert longest.end > 7
    go_on = threading.Event()
    recognise = MoonshineTranscriber.recognise_so_far

    def halted(self: MoonshineTranscriber, samples: Samples, last: Hypothesis | None) -> Hypothesis:
        assert go_on.wait(30)
        return recognise(self, samples, last)

    session = LiveSession(await open_source(str(clip), "live"), analyzer, endpointing=settings)
    events: list[Event] = []
    halted_at = math.inf
    with pytest.MonkeyPatch.context() as patch:
        async for event in session.events():
            events.append(event)
            if isinstance(event, TranscriptPartial) and halted_at == math.inf:
                halted_at = event.time
                analyzer.inference.lane().submit(Rank.RESULT, lambda: go_on.wait(30))
                patch.setattr(MoonshineTranscriber, "recognise_so_far", halted)
                asyncio.get_running_loop().call_later(7, go_on.set)
    assert any("left out" in event.message for event in warnings_of(events))

    on_the_way = [
        event
        for event in events
        if isinstance(event, TranscriptPartial | UtteranceProvisional)
        and halted_at < event.time < halted_at + 7
    ]
    assert len(on_the_way) < 4  # in time they are up to 8
    silent = [event for event in events if not isinstance(event, SourceWarning)]
    assert by_kind(lasting(silent)) == by_kind(lasting(undisturbed))


async def test_a_frame_that_comes_late_does_not_hold_up_the_result(
    analyzer: LocalAnalyzer,
) -> None:
    stream = analyzer.stream()
    picture = np.zeros((72, 90, 3), np.uint8)
    go_on = threading.Event()
    analyzer.inference.lane().submit(Rank.RESULT, lambda: go_on.wait(30))
    sound = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    stream.see(VideoFrame(0.2, picture))
    result = asyncio.create_task(stream.result(Utterance(1, 0, 16_000, "silence", sound)))
    await asyncio.sleep(0)  # it has been asked for
    await asyncio.sleep(0)
    assert stream.seen(1.0) == 1
    stream.see(VideoFrame(0.4, picture))
    go_on.set()
    analysis = await asyncio.wait_for(result, 30)
    assert analysis.scores.modalities == ("acoustic",)


class _SoundLongAfterPictures(Source):
    """Somebody speaks, and all the pictures came before: as in a file that is badly interleaved."""

    name = "late sound"
    live = False

    def __init__(self, clip: Path) -> None:
        self._clip = clip

    async def __aiter__(self) -> AsyncIterator[Media]:
        for number in range(100):
            yield VideoFrame(number / 5, np.zeros((72, 90, 3), np.uint8))
        async for item in await open_source(str(self._clip), "fast"):
            yield item

    async def aclose(self) -> None:
        pass


async def test_pictures_that_came_far_too_early_end_no_session(
    monologue: Talk, analyzer: LocalAnalyzer
) -> None:
    session = LiveSession(_SoundLongAfterPictures(monologue.path), analyzer)
    events = [event async for event in session.events()]
    assert results(events)
    assert isinstance(events[-1], SessionEnded)
    assert events[-1].reason == "end"


async def test_an_utterance_that_fails_is_told_and_the_session_goes_on(long_talk: Talk) -> None:
    analyzer = networks.load()
    try:
        source = await open_source(str(long_talk.path), "fast")
        session = LiveSession(source, analyzer)
        events = []
        async for event in session.events():
            events.append(event)
            if isinstance(event, UtteranceResult):
                analyzer.transcriber.close()  # from now on nothing can be transcribed
    finally:
        analyzer.close()
    failed = [event for event in events if isinstance(event, UtteranceFailed)]
    told = [e.utterance for e in events if isinstance(e, UtteranceFailed | UtteranceResult)]
    assert told == list(range(1, 13))
    assert {event.stage for event in failed} == {"stt"}
    ended = events[-1]
    assert isinstance(ended, SessionEnded)
    assert ended.utterances == 12
    assert ended.average.utterances == 12 - len(failed) >= 1


async def test_a_camera_without_a_microphone_is_analysed_by_the_clock(
    talk: Talk, analyzer: LocalAnalyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A film in place of a camera: it plays faster than life, ends, and is a camera that vanished.
    capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: capture(str(talk.path)))
    source = await open_source("webcam", camera="0", microphone="off")
    events = [event async for event in LiveSession(source, analyzer).events()]
    (result,) = results(events)
    assert result.modalities == ("visual",)
    assert result.faces  # the quicker the machine, the fewer
    assert result.transcript.text == ""
    ended = events[-1]
    assert isinstance(ended, SessionEnded)
    assert ended.reason == "source_error"
    assert ended.average.emotions == result.emotions
