"""How quick this machine is on a recording: alone and in company, and beside the plain way.

In: a recording. Out: a `Measurement`, which prints as a table or as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from models.errors import AnalysisError, SourceError, UsageError
from models.faces import FaceTracker, align
from models.vad import load_vad
from realtime.analysis import FACES, Analyzer
from realtime.analyzers.local import LocalAnalyzer
from realtime.bench.profile import profiled
from realtime.bench.reference import ReferencePath, decode_sound
from realtime.bench.report import Machine, Measurement, Percentiles, Soak, Speed, Trial
from realtime.endpointing import EndpointingSettings, SpeechChange, UtteranceClosed
from realtime.events import SourceWarning, UtteranceFailed, UtteranceResult
from realtime.listener import Listener
from realtime.media import SAMPLE_RATE, AudioBlock, Media, Samples, VideoFrame
from realtime.rings import AudioRing, spread
from realtime.session import LiveSession
from realtime.sources import Source, open_source
from realtime.sources.timeline import media_time

TRIAL_S = 40.0  # of the recording, where several streams play it
_STARTS_S = 3.0  # within this time they all start
_GOAL_STREAMS = 4  # so many are tried even if fewer are too many
_BLOCK = SAMPLE_RATE // 50  # samples that a live source delivers at a time, about


async def measure(
    recording: str,
    *,
    profile: str = "embedded",
    stt: str = "auto",
    most_streams: int = 8,
    soak_hours: float | None = None,
    on_progress: Callable[[str], None] = lambda step: None,
) -> Measurement:
    """Play a recording live, once alone and then in several streams, and at full speed.

    Several streams play its first 40 s. Each starts at its own moment within 3 s, drawn at random
    but always the same for the same stream, because people do not fall silent together.

    Args:
        recording: a file in which somebody speaks.
        profile, stt: the models, as `LocalAnalyzer.load` takes them.
        most_streams: 2, 4, 6, ... streams are tried up to this number, at least 2, or until they
            are too many; 4 in any case, if this number allows it.
        soak_hours: play it over and over in one session, for so much media, at least 0.1 h;
            None: do not.
        on_progress: told each step as it begins.

    Raises:
        UsageError: the recording cannot be opened, is damaged, or nobody speaks in it.
        SourceError: it broke off.
        AnalysisError: no utterance could be analysed.
    """
    name, samples = sound_of(recording)
    closed, listening_cpu = await utterances_in(samples)
    if not closed:
        raise UsageError(f"nobody speaks in {name}: give a recording in which somebody does")
    in_trial = max(1, sum(utterance.stop <= TRIAL_S * SAMPLE_RATE for utterance in closed))
    speech = samples[closed[0].start : closed[0].stop][:SAMPLE_RATE]

    on_progress("start-up, here and in a fresh process")
    with contextlib.closing(LocalAnalyzer.load(profile, stt)) as analyzer:
        start_up_s = _start_up_s(profile, stt, speech)
        on_progress("1 stream at live pace")
        trials = [await play_streams(recording, analyzer, streams=1, utterances=len(closed))]
        for streams in range(2, most_streams + 1, 2):
            if trials[-1].shortcomings and streams > _GOAL_STREAMS:
                break
            on_progress(f"{streams} streams at live pace")
            trials.append(
                await play_streams(recording, analyzer, streams=streams, utterances=in_trial)
            )
        on_progress("1 stream at live pace, profiled")
        with profiled() as profile_of_stream:
            await play_streams(recording, analyzer, streams=1, utterances=in_trial)
        on_progress("one utterance after the other, by stage")
        work = await _work(recording, analyzer, samples, closed)
        on_progress("full speed")
        before = await _play(recording, "fast", analyzer)
        on_progress("reference path")
        reference = ReferencePath(profile, analyzer.transcriber)
        began = time.perf_counter()
        reference.analyze(recording)
        reference_s = time.perf_counter() - began
        on_progress("full speed, once more")
        after = await _play(recording, "fast", analyzer)
        soak = None
        if soak_hours:
            on_progress(f"a session of {soak_hours:g} h at full speed")
            # In a fresh process: in this one, what the streams before needed is free and would hide
            # what a session takes.
            with _fresh_process() as fresh:
                soak = fresh.submit(_soak, recording, profile, stt, soak_hours).result()
        return Measurement(
            recording=name,
            utterances=len(closed),
            profile=analyzer.profile,
            stt=analyzer.engine,
            machine=Machine.here(),
            start_up_s=start_up_s,
            trials=trials,
            work=work,
            speed=Speed(
                media_s=before.media_s,
                analyze_s=(before.wall_s + after.wall_s) / 2,
                reference_s=reference_s,
            ),
            listening_cpu=listening_cpu,
            stream=profile_of_stream,
            soak=soak,
        )


@dataclass(slots=True)
class _Run:
    """One stream, played."""

    results: list[UtteranceResult] = field(default_factory=list)
    failed: int = 0
    overloads: int = 0
    media_s: float = 0.0
    wall_s: float = 0.0
    resident: int = 0  # bytes, where it was highest


async def play_streams(
    recording: str, analyzer: Analyzer, *, streams: int, utterances: int
) -> Trial:
    """Streams side by side, each until so many utterances are answered."""
    starts = random.Random(1)
    cpu, children_cpu = _cpu_s()
    runs = await asyncio.gather(
        *(
            _play(
                recording,
                "live",
                analyzer,
                utterances=utterances,
                after_s=starts.uniform(0, _STARTS_S) if streams > 1 else 0,
            )
            for _ in range(streams)
        )
    )
    cpu_after, children_cpu_after = _cpu_s()
    media_s = sum(run.media_s for run in runs)
    results = [result for run in runs for result in run.results]
    failed = sum(run.failed for run in runs)
    if not results:
        raise AnalysisError("bench", f"no utterance of {Path(recording).name} could be analysed")
    stages: dict[str, list[float]] = {}
    for result in results:
        for stage, taken in result.latency.stages.items():
            stages.setdefault(stage, []).append(taken)
    ends = [result.latency.end_to_result for result in results]
    return Trial(
        streams=streams,
        utterances=len(results) + failed,
        failed=failed,
        missing=streams * utterances - len(results) - failed,
        overloads=sum(run.overloads for run in runs),
        close_to_result=Percentiles.of([result.latency.close_to_result for result in results]),
        end_to_result=Percentiles.of([late for late in ends if late is not None]),
        stages={stage: Percentiles.of(taken) for stage, taken in stages.items()},
        cpu=(cpu_after - cpu) / media_s,
        children_cpu=(children_cpu_after - children_cpu) / media_s,
        resident_mib=max(run.resident for run in runs) / 2**20,
    )


async def _play(
    recording: str,
    pace: Literal["live", "fast"],
    analyzer: Analyzer,
    *,
    utterances: int | None = None,
    after_s: float = 0,
) -> _Run:
    """Analyse a recording, to its end or until so many of its utterances are answered."""
    await asyncio.sleep(after_s)
    run = _Run()
    process = psutil.Process()
    began = time.perf_counter()
    session = LiveSession(await open_source(recording, pace), analyzer)
    async for event in session.events():
        run.media_s = event.time
        if session.stopped:
            continue  # what was being spoken is of no interest
        match event:
            case UtteranceResult():
                run.results.append(event)
                run.resident = max(run.resident, process.memory_info().rss)
            case UtteranceFailed():
                run.failed += 1
            case SourceWarning(code="overload"):
                run.overloads += 1
            case SourceWarning(code="source.error"):
                raise SourceError(event.message)
        if len(run.results) + run.failed == utterances:
            session.stop()
    run.wall_s = time.perf_counter() - began
    return run


async def _work(
    recording: str, analyzer: LocalAnalyzer, samples: Samples, closed: list[UtteranceClosed]
) -> dict[str, Percentiles]:
    """What each stage takes for one utterance of the first `TRIAL_S`, nothing done ahead."""
    frames = []
    async with contextlib.aclosing(await open_source(recording, "fast")) as source:
        async for item in source:
            if isinstance(item, VideoFrame):
                frames.append(item)
            if media_time(item) > TRIAL_S:
                break
    taken: dict[str, list[float]] = {}

    @contextlib.contextmanager
    def timed(stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        taken.setdefault(stage, []).append(time.perf_counter() - began)

    in_trial = [utterance for utterance in closed if utterance.stop <= TRIAL_S * SAMPLE_RATE]
    for utterance in in_trial or closed[:1]:
        sound = samples[utterance.start : utterance.stop]
        start_s, stop_s = utterance.start / SAMPLE_RATE, utterance.stop / SAMPLE_RATE
        during = [frame for frame in frames if start_s <= frame.time < stop_s]
        tracker = FaceTracker(analyzer.faces)
        with timed("recognition"):
            transcript = analyzer.transcriber.transcribe(sound).result()
        with timed("faces"):
            for frame in during:
                tracker.add(frame.time, frame.image)
        shown = [
            align(frame.image, faces[0].landmarks)
            for frame, faces in zip(during, tracker.pictures, strict=True)
            if faces
        ]
        with timed("face network"):
            analyzer.mer.encode(spread(shown, FACES))
        with timed("voice network"):
            analyzer.mer.encode(audio=sound)
        with timed("language network"):
            analyzer.mer.encode(text=transcript.text)
    return {stage: Percentiles.of(times) for stage, times in taken.items()}


def _soak(recording: str, profile: str, stt: str, hours: float) -> Soak:
    """One long session, and the memory it took, once a minute of media."""
    with contextlib.closing(LocalAnalyzer.load(profile, stt)) as analyzer:
        return asyncio.run(_long_session(recording, analyzer, hours))


async def _long_session(recording: str, analyzer: LocalAnalyzer, hours: float) -> Soak:
    own: list[float] = []
    session = LiveSession(OverAndOver(recording, hours * 3600), analyzer)
    async for event in session.events():
        if isinstance(event, SourceWarning) and event.code == "source.error":
            raise SourceError(event.message)
        if event.time >= 60 * (len(own) + 1):
            own.append(psutil.Process().memory_info().rss / 2**20)
    return Soak(hours=hours, resident_mib=own)


class OverAndOver(Source):
    """A recording that begins anew when it is over, at full speed, for so many seconds."""

    live = False

    def __init__(self, recording: str, seconds: float) -> None:
        self.name = Path(recording).name
        self._recording = recording
        self._samples = int(seconds * SAMPLE_RATE)

    async def __aiter__(self) -> AsyncIterator[Media]:
        """Deliver the media, in media-time order."""
        stop, newest_s = 0, -1.0
        while stop < self._samples:
            began = stop
            async with contextlib.aclosing(await open_source(self._recording, "fast")) as source:
                async for item in source:
                    match item:
                        case AudioBlock():
                            block = AudioBlock(began + item.start, item.samples)
                            stop = block.stop
                            yield block
                        case VideoFrame():
                            time = began / SAMPLE_RATE + item.time
                            if time > newest_s:  # or it was to be seen after the sound had ended
                                newest_s = time
                                yield VideoFrame(time, item.image, item.scale)

    async def aclose(self) -> None:
        """Begin not anew."""
        self._samples = 0


def sound_of(recording: str) -> tuple[str, Samples]:
    """What a recording is called, and what is to be heard in it."""
    path = Path(recording)
    if not path.is_file():
        raise UsageError(f"{recording} is not a file: bench plays a recording many times over")
    return path.name, decode_sound(recording)[0]


async def utterances_in(samples: Samples) -> tuple[list[UtteranceClosed], float]:
    """The utterances in float32 (n,), 16 kHz, and the CPU seconds a second of it took."""
    ring = AudioRing(seconds=1)
    listener = Listener(ring, load_vad().stream(), EndpointingSettings())
    changes: list[SpeechChange] = []
    began = time.thread_time()
    for start in range(0, len(samples), _BLOCK):
        ring.write(AudioBlock(start, samples[start : start + _BLOCK]))
        changes += [change async for change in listener.listen()]
    changes += [change async for change in listener.end()]
    taken = time.thread_time() - began
    closed = [change for change in changes if isinstance(change, UtteranceClosed)]
    return closed, taken * SAMPLE_RATE / max(1, len(samples))


def _start_up_s(profile: str, stt: str, speech: Samples) -> float:
    """Wall seconds from the start of a fresh process until all models work."""
    began = time.perf_counter()
    with _fresh_process() as fresh:
        fresh.submit(_make_ready, profile, stt, speech).result()
        return time.perf_counter() - began


def _fresh_process() -> ProcessPoolExecutor:
    # spawn: a fork would have everything already.
    return ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn"))


def _make_ready(profile: str, stt: str, speech: Samples) -> None:
    with contextlib.closing(LocalAnalyzer.load(profile, stt)) as analyzer:
        analyzer.transcriber.transcribe(speech).result()


def _cpu_s() -> tuple[float, float]:
    """CPU seconds so far, of this process and of those it has started."""
    own = psutil.Process().cpu_times()
    below = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    gone = own.children_user + own.children_system  # those that have ended
    return own.user + own.system, gone + sum(times.user + times.system for times in below)
