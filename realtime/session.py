"""One source, analysed live: source -> rings -> endpointing -> analysis -> events.

In: a `Source` and an `UtteranceAnalyzer`. Out: `async for event in session.events()`.
Read on from `_run`: `_follow_source`, `_take`, `_hear`, `_follow`, `_close`, `_analyze_closed`.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from models.errors import AnalysisError, SourceError
from models.stt import TranscriptionStream
from models.vad import load_vad
from realtime.analysis import FACES, Analysis, SeenFace, Utterance, UtteranceAnalyzer
from realtime.average import RunningAverage
from realtime.endpointing import (
    EndpointingSettings,
    SpeechChange,
    SpeechDropped,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    UtteranceClosed,
)
from realtime.events import (
    AverageUpdated,
    Event,
    Latency,
    SessionEnded,
    SessionStarted,
    SourceWarning,
    TranscriptPartial,
    UtteranceFailed,
    UtteranceProvisional,
    UtteranceResult,
    WireAverage,
    WireFace,
    WireTranscript,
    WireWord,
)
from realtime.events import SpeechPaused as SpeechPausedEvent
from realtime.events import SpeechResumed as SpeechResumedEvent
from realtime.events import SpeechStarted as SpeechStartedEvent
from realtime.listener import Listener
from realtime.media import SAMPLE_RATE, AudioBlock, Media, SourceNotice, VideoFrame
from realtime.rings import AudioRing, FrameRing, spread
from realtime.sources import Source

_FEED = SAMPLE_RATE // 5  # samples the recogniser gets at a time: a new partial text 5 times/s
_PROVISIONAL = 3 * SAMPLE_RATE  # how often a long utterance is scored while it goes on
_RING_MARGIN_S = 5.0  # what the rings hold beyond the longest utterance
_WAITING_UTTERANCES = 4  # closed, not analysed; at more the source must wait
_WAITING_EVENTS = 1000  # told, not taken; at more the session waits for its reader
_OVERLOAD_S = 2.0  # further behind a live source than this is worth a warning
_FRAME_BYTES = 640 * 640 * 3  # of the largest reduced frame
_FRAMES_PER_SECOND = 5


@dataclass(slots=True)
class _OpenUtterance:
    """The utterance being spoken."""

    start: int
    transcription: TranscriptionStream
    fed: int  # the recogniser has heard [start, fed)
    text: str = ""
    next_provisional: int = field(init=False)

    def __post_init__(self) -> None:
        self.next_provisional = self.start + _PROVISIONAL


class LiveSession:
    """Analyses one source from its beginning to its end.

    Args:
        source: where media comes from; the session closes it.
        analyzer: the models, shared with other sessions.
        endpointing: where utterances begin and end.
        session_id: how the session is called; None: it makes up 12 hexadecimal digits.
        on_analysis: gets each analysed utterance, with all it was made from, just before its
            result is told.

    Attributes:
        picture: the newest frame; None before the first.
        now: media time up to which the source was followed, in seconds.

    Raises:
        ValueError: `max_speech_duration_s` is beyond 60 s.
    """

    def __init__(
        self,
        source: Source,
        analyzer: UtteranceAnalyzer,
        *,
        endpointing: EndpointingSettings | None = None,
        session_id: str | None = None,
        on_analysis: Callable[[Utterance, Analysis], None] | None = None,
    ) -> None:
        self.id = session_id or uuid.uuid4().hex[:12]
        self.average = RunningAverage()
        self.picture: VideoFrame | None = None
        self.now = 0.0
        self._on_analysis = on_analysis
        self._source = source
        self._analyzer = analyzer
        self._endpointing = endpointing or EndpointingSettings()
        longest = self._endpointing.max_speech_duration_s
        if longest > 60:
            raise ValueError(
                f"max_speech_duration_s must be at most 60 in a session, not {longest}"
            )

        held = longest + self._endpointing.min_silence_duration_ms / 1000 + _RING_MARGIN_S
        self._audio = AudioRing(seconds=held)
        self._frames = FrameRing(
            seconds=held, max_bytes=int(held * _FRAMES_PER_SECOND + 2) * _FRAME_BYTES
        )
        self._listener = Listener(self._audio, load_vad().stream(), self._endpointing)
        self._open: _OpenUtterance | None = None
        self._transcriptions: set[TranscriptionStream] = set()  # not yet known to have ended
        self._seen_from = 0.0  # without a microphone: where the current window of seeing began
        self._count = 0
        self._provisional: asyncio.Task[None] | None = None
        self._closed: asyncio.Queue[Utterance | None] = asyncio.Queue(_WAITING_UTTERANCES)
        self._told: asyncio.Queue[Event | None] = asyncio.Queue(_WAITING_EVENTS)
        self._stopping: asyncio.Task[None] | None = None
        self._clock = _LiveClock() if source.live else None
        self._overloaded = False
        self._abandoned = False

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping is not None

    @property
    def level_db(self) -> float:
        """Loudness of the last tenth of a second, in dB relative to full scale; at least -120."""
        stop = self._audio.stop
        latest = self._audio.read(max(self._audio.start, stop - SAMPLE_RATE // 10), stop)
        power = float(np.mean(np.square(latest))) if len(latest) else 0.0
        return 10 * math.log10(max(power, 1e-12))

    async def events(self) -> AsyncGenerator[Event, None]:
        """Run the session; every event as it happens, `session.started` to `session.ended`.

        To be called once. Leaving the iteration early abandons the session; `stop` ends it.
        """
        run = asyncio.create_task(self._run())
        try:
            while (event := await self._told.get()) is not None:
                yield event
            await run
        finally:
            self._abandoned = True
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

    def stop(self) -> None:
        """End the session: what was spoken so far is closed, analysed and told."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._source.aclose())

    async def _run(self) -> None:
        analysis = asyncio.create_task(self._analyze_closed())
        try:
            await self._tell(
                SessionStarted(
                    session=self.id,
                    time=0.0,
                    source=self._source.name,
                    profile=self._analyzer.profile,
                    stt=self._analyzer.transcriber.name,
                    duration=self._source.duration,
                )
            )
            reason = await self._follow_source()
            for change in self._listener.end():
                await self._follow(change)
            if not self._source.has_audio:
                await self._close_seen("end")
            await self._closed.put(None)
            await analysis
            average = WireAverage(
                utterances=self.average.utterances,
                emotions=self.average.emotions,
                thresholds=self.average.thresholds,
                expressed=self.average.expressed,
            )
            await self._tell(
                SessionEnded(
                    session=self.id,
                    time=self.now,
                    reason=reason,
                    utterances=self._count,
                    average=average,
                )
            )
        finally:
            tasks = [analysis] if self._provisional is None else [analysis, self._provisional]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for transcription in self._transcriptions:
                transcription.cancel()
            await self._source.aclose()
            if not self._abandoned:
                await self._told.put(None)

    async def _follow_source(self) -> Literal["end", "stopped", "source_error"]:
        """Take what the source delivers until it ends, breaks or the session is stopped."""
        try:
            async for item in self._source:
                await self._take(item)
        except SourceError as error:
            await self._warn("source.error", str(error))
            return "source_error"
        return "stopped" if self.stopped else "end"

    async def _take(self, item: Media) -> None:
        match item:
            case AudioBlock():
                self._audio.write(item)
                await self._advance(item.stop / SAMPLE_RATE)
                await self._hear()
            case VideoFrame():
                self._frames.write(item)
                self.picture = item
                if not self._source.has_audio:
                    await self._see(item)
            case SourceNotice():
                await self._warn(item.code, item.message)

    async def _advance(self, now: float) -> None:
        """Media time has come to `now`; say so if a live source is not kept up with."""
        self.now = now
        if self._clock is None:
            return
        self._clock.arrived(now)
        behind = self._clock.since(now)
        if behind > _OVERLOAD_S and not self._overloaded:
            self._overloaded = True
            await self._warn(
                "overload", f"this machine is {behind:.1f} s behind the source; results come late"
            )
        elif behind < _OVERLOAD_S / 2:
            self._overloaded = False

    async def _hear(self) -> None:
        """Follow the speech in the audio that has arrived, and pass it to the recogniser."""
        for change in self._listener.listen():
            await self._follow(change)
        until = self._listener.speaking_until
        if self._open and until is not None:
            # In a pause nothing is added any more: what is left is decoded while the pause lasts.
            paused = until < self._listener.position
            if until - self._open.fed >= (1 if paused else _FEED):
                self._feed(self._open, until)
            if until >= self._open.next_provisional:
                self._score_provisionally(self._open, until)

    async def _follow(self, change: SpeechChange) -> None:
        heard = self._listener.position / SAMPLE_RATE
        match change:
            case SpeechStarted(start):
                self._open = _OpenUtterance(start, self._transcription(), fed=start)
                await self._tell(SpeechStartedEvent(session=self.id, time=heard))
            case SpeechPaused():
                await self._tell(SpeechPausedEvent(session=self.id, time=heard))
            case SpeechResumed():
                await self._tell(SpeechResumedEvent(session=self.id, time=heard))
            case SpeechDropped():
                assert self._open is not None
                self._give_up(self._open.transcription)
                self._open = None
            case UtteranceClosed():
                await self._close(change, heard)

    def _transcription(self) -> TranscriptionStream:
        transcription = self._analyzer.transcriber.stream()
        self._transcriptions.add(transcription)
        return transcription

    def _give_up(self, transcription: TranscriptionStream) -> None:
        transcription.cancel()
        self._transcriptions.discard(transcription)

    def _feed(self, spoken: _OpenUtterance, until: int) -> None:
        number = self._count + 1
        partial = spoken.transcription.accept(self._audio.read(spoken.fed, until))
        spoken.fed = until

        def tell(future: asyncio.Future[str]) -> None:
            if future.cancelled() or future.exception():
                return  # the end of the utterance will tell
            if self._open is spoken and future.result() != spoken.text:
                spoken.text = future.result()
                self._tell_if_room(
                    TranscriptPartial(
                        session=self.id,
                        time=until / SAMPLE_RATE,
                        utterance=number,
                        text=spoken.text,
                    )
                )

        asyncio.wrap_future(partial).add_done_callback(tell)

    def _score_provisionally(self, spoken: _OpenUtterance, until: int) -> None:
        """Score a long utterance so far; left out when the analysis is busy with closed ones."""
        spoken.next_provisional += _PROVISIONAL
        busy = self._provisional and not self._provisional.done()
        if busy or not self._closed.empty():
            return
        number = self._count + 1
        samples = self._audio.read(spoken.start, until)
        frames = self._frames_in(spoken.start, until)

        async def score() -> None:
            try:
                faces, _ = await self._analyzer.find_faces(frames)
                scores = await self._analyzer.score(faces, samples, spoken.text)
            except AnalysisError:
                return  # only the result counts, and it will tell
            if self._open is spoken:
                self._tell_if_room(
                    UtteranceProvisional(
                        session=self.id,
                        time=until / SAMPLE_RATE,
                        utterance=number,
                        emotions=scores.probabilities,
                        thresholds=scores.thresholds,
                        expressed=scores.expressed,
                    )
                )

        self._provisional = asyncio.create_task(score())

    async def _close(self, closed: UtteranceClosed, heard: float) -> None:
        """Hand the utterance to the analysis, complete: no ring is needed for it any more."""
        assert self._open is not None
        spoken, self._open = self._open, None
        if spoken.fed > closed.stop:
            # Split earlier than the recogniser has heard: let another one hear the right part.
            self._give_up(spoken.transcription)
            spoken.transcription = self._transcription()
            spoken.fed = closed.start
        samples = self._audio.read(closed.start, closed.stop)
        spoken.transcription.accept(samples[spoken.fed - closed.start :])
        self._count += 1
        await self._closed.put(
            Utterance(
                number=self._count,
                start=closed.start,
                stop=closed.stop,
                reason=closed.reason,
                closed_at=heard,
                samples=samples,
                frames=self._frames_in(closed.start, closed.stop),
                transcription=spoken.transcription,
            )
        )

    async def _see(self, frame: VideoFrame) -> None:
        """Without a microphone there is no speech to follow: utterances are windows of time."""
        await self._advance(frame.time)
        if frame.time - self._seen_from >= self._endpointing.max_speech_duration_s:
            await self._close_seen("limit")

    async def _close_seen(self, reason: Literal["limit", "end"]) -> None:
        start, stop = round(self._seen_from * SAMPLE_RATE), round(self.now * SAMPLE_RATE)
        self._seen_from = self.now
        if frames := self._frames_in(start, stop):
            self._count += 1
            nothing = np.zeros(0, dtype=np.float32)
            await self._closed.put(
                Utterance(self._count, start, stop, reason, self.now, nothing, frames, None)
            )

    def _frames_in(self, start: int, stop: int) -> list[VideoFrame]:
        return spread(self._frames.read(start / SAMPLE_RATE, stop / SAMPLE_RATE), FACES)

    async def _analyze_closed(self) -> None:
        """Analyse closed utterances in order; each ends in one result or one failure."""
        while (utterance := await self._closed.get()) is not None:
            began = time.perf_counter()
            try:
                analysis = await self._analyzer.analyze(utterance)
            except AnalysisError as error:
                await self._tell(
                    UtteranceFailed(
                        session=self.id,
                        time=utterance.closed_at,
                        utterance=utterance.number,
                        start=utterance.start_s,
                        end=utterance.stop_s,
                        stage=error.stage,
                        message=str(error),
                    )
                )
                continue
            finally:
                if utterance.transcription is not None:
                    self._give_up(utterance.transcription)
            took = time.perf_counter() - began
            self.average.add(analysis.scores)
            if self._on_analysis is not None:
                self._on_analysis(utterance, analysis)
            await self._tell(self._result(utterance, analysis, took))
            await self._tell(
                AverageUpdated(
                    session=self.id,
                    time=utterance.closed_at,
                    utterances=self.average.utterances,
                    emotions=self.average.emotions,
                    thresholds=self.average.thresholds,
                    expressed=self.average.expressed,
                )
            )

    def _result(self, utterance: Utterance, analysis: Analysis, took: float) -> UtteranceResult:
        transcript, scores = analysis.transcript, analysis.scores
        late = self._clock.since(utterance.stop_s) if self._clock else None
        return UtteranceResult(
            session=self.id,
            time=utterance.closed_at,
            utterance=utterance.number,
            start=utterance.start_s,
            end=utterance.stop_s,
            reason=utterance.reason,
            transcript=WireTranscript(
                text=transcript.text,
                engine=transcript.engine,
                words=tuple(
                    WireWord(
                        text=word.text,
                        start=round(utterance.start_s + word.start, 3),
                        end=round(utterance.start_s + word.end, 3),
                    )
                    for word in transcript.words
                ),
            ),
            faces=tuple(_wire_face(seen) for seen in analysis.faces),
            emotions=scores.probabilities,
            thresholds=scores.thresholds,
            expressed=scores.expressed,
            modalities=scores.modalities,
            contributions=scores.contributions,
            latency=Latency(close_to_result=took, end_to_result=late, stages=analysis.stages),
        )

    async def _warn(self, code: str, message: str) -> None:
        await self._tell(SourceWarning(session=self.id, time=self.now, code=code, message=message))

    async def _tell(self, event: Event) -> None:
        await self._told.put(event)

    def _tell_if_room(self, event: Event) -> None:
        """Tell what can be given up when the reader of the events is slow."""
        if not self._told.full():
            self._told.put_nowait(event)


class _LiveClock:
    """Wall time against media time: how late something is, measured from when it happened.

    The block that arrived with the least delay sets the clock.
    """

    def __init__(self) -> None:
        self._began = float("inf")  # wall time of media time 0

    def arrived(self, media_time: float) -> None:
        """Media up to `media_time` is here."""
        self._began = min(self._began, time.perf_counter() - media_time)

    def since(self, media_time: float) -> float:
        """Wall seconds since the moment that media time stands for."""
        return time.perf_counter() - self._began - media_time


def _wire_face(seen: SeenFace) -> WireFace:
    x, y, width, height = (round(value * seen.frame.scale, 1) for value in seen.face.box)
    return WireFace(
        time=seen.frame.time, box=(x, y, width, height), confidence=seen.face.confidence
    )
