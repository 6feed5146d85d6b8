"""One source, analysed live: source -> rings -> endpointing -> analysis -> events.

In: a `Source` and an `Analyzer`. Out: `async for event in session.events()`.
Read on from `_run`: `_follow_source`, `_take`, `_hear`, `_follow`, `_close`, `_tell_results`. What
is worked out while an utterance is spoken is told in `realtime.open_utterance`.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np

from models.errors import AnalysisError, SourceError
from models.vad import load_vad
from realtime import metrics
from realtime.analysis import Analysis, Analyzer, Utterance, UtteranceStream
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
    SessionEnded,
    SessionStarted,
    SourceWarning,
    UtteranceFailed,
)
from realtime.events import SpeechPaused as SpeechPausedEvent
from realtime.events import SpeechResumed as SpeechResumedEvent
from realtime.events import SpeechStarted as SpeechStartedEvent
from realtime.listener import Listener
from realtime.live_clock import LiveClock
from realtime.media import SAMPLE_RATE, AudioBlock, Media, SourceNotice, VideoFrame
from realtime.open_utterance import OpenUtterance, analysing
from realtime.results import change_event, result_event
from realtime.rings import FILM_S, AudioRing, FrameRing
from realtime.roster import Roster
from realtime.sounds import SoundWatch
from realtime.sources import Source

T = TypeVar("T")

_RING_MARGIN_S = 2.0  # what the rings hold beyond the longest utterance
_WAITING_UTTERANCES = 4  # closed, not analysed; at more the source must wait
_WAITING_EVENTS = 1000  # told, not taken; at more the session waits for its reader
_OVERLOAD_S = 2.0  # further behind a live source than this is worth a warning
_OVERLOAD_OVER_S = 10.0  # after so much media without another reason, it may be warned of again
_FRAME_BYTES = 640 * 640 * 3  # of the largest reduced frame
_FRAMES_PER_SECOND = 5
_FILM_BYTES = int(FILM_S + 1) * 25 * 640 * 640  # of the film that the ring holds


@dataclass(frozen=True, slots=True)
class _Closed:
    """A closed utterance on its way to its result."""

    utterance: Utterance
    stream: UtteranceStream
    task: asyncio.Task[Analysis]
    heard: float  # media time at which it was known to be over, seconds
    at: float = field(default_factory=time.perf_counter)  # wall time of the same


class LiveSession:
    """Analyses one source from its beginning to its end.

    Args:
        source: where media comes from; the session closes it.
        analyzer: the models, shared with other sessions.
        endpointing: where utterances begin and end.
        alone: there is one speaker; nobody looks for others.
        baseline: whether each person's rest is learnt from what looks neutral, and the scores are
            told without it as well. Otherwise both begin with `rest`.
        session_id: how the session is called; None: it makes up 12 hexadecimal digits.
        on_media: gets what the source delivers, before it is analysed.
        on_analysis: gets each analysed utterance, with all it was made from, just before its
            result is told.
        followed: whether partial texts and provisional scores have a reader; else there are none.

    Attributes:
        picture: the newest frame; None before the first.
        now: media time up to which the source was followed, in seconds.
        clock: how late it is; None unless the source is live.

    Raises:
        ValueError: `max_speech_duration_s` is beyond 60 s.
    """

    def __init__(
        self,
        source: Source,
        analyzer: Analyzer,
        *,
        endpointing: EndpointingSettings | None = None,
        alone: bool = False,
        baseline: bool = False,
        session_id: str | None = None,
        on_media: Callable[[Media], Awaitable[None]] | None = None,
        on_analysis: Callable[[Utterance, Analysis], None] | None = None,
        followed: Callable[[], bool] = lambda: True,
    ) -> None:
        self.id = session_id or uuid.uuid4().hex[:12]
        self.picture: VideoFrame | None = None
        self.now = 0.0
        self._alone = alone
        self._roster = Roster(baseline=baseline)
        self._on_media, self._on_analysis, self._followed = on_media, on_analysis, followed
        self._source = source
        self._analyzer = analyzer
        self._endpointing = endpointing or EndpointingSettings()
        longest = self._endpointing.max_speech_duration_s
        if longest > 60:
            raise ValueError(f"max_speech_duration_s must be at most 60, not {longest}")
        held = longest + self._endpointing.min_silence_duration_ms / 1000 + _RING_MARGIN_S
        self._audio = AudioRing(seconds=held)
        most = int(held * _FRAMES_PER_SECOND + 2) * _FRAME_BYTES + _FILM_BYTES
        self._frames = FrameRing(seconds=held, max_bytes=most)
        voices = None if alone else analyzer.another_voice
        self._listener = Listener(self._audio, load_vad().stream(), self._endpointing, voices)
        self._open: OpenUtterance | None = None
        self._streams: set[UtteranceStream] = set()  # not yet known to have ended
        self._watched: UtteranceStream | None = None  # without a microphone: the current window
        self._seen_from = 0.0  # without a microphone: where the current window of seeing began
        self._count = 0
        self._closed: asyncio.Queue[_Closed | None] = asyncio.Queue(_WAITING_UTTERANCES)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._told: asyncio.Queue[Event | None] = asyncio.Queue(_WAITING_EVENTS)
        self._stopping: asyncio.Task[None] | None = None
        self.clock = LiveClock() if source.live else None
        self._sounds = SoundWatch(
            self._audio, analyzer.hear, live=source.live, session=self.id, tell=self._tell
        )
        self._overloaded = False
        self._overloaded_at = -math.inf  # media time, seconds
        self._abandoned = False

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping is not None

    @property
    def level_db(self) -> float:
        """Loudness of the last tenth of a second, in dB relative to full scale; at least -120."""
        return self._audio.level_db(0.1)

    async def events(self) -> AsyncGenerator[Event, None]:
        """Run the session; every event as it happens, `session.started` to `session.ended`.

        To be called once. Leaving the iteration early abandons the session; `stop` ends it.
        """
        with metrics.STREAMS.labels("live" if self._source.live else "fast").track_inprogress():
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

    def rest(self) -> None:
        """The last utterance showed the person at rest; later scores are also told without that.

        Raises:
            ValueError: no utterance has been analysed.
        """
        self._roster.learn_rest()

    async def rename(self, speaker: int, name: str) -> None:
        """Call a speaker by a name.

        Raises:
            KeyError: there is no such speaker.
        """
        self._roster.rename(speaker, name)
        await self._tell(change_event(self.id, self.now, speaker, name))
        await self._tell_average(self.now)

    async def merge(self, gone: int, into: int) -> None:
        """Two speakers are one: what was given to `gone` is `into`'s.

        Raises:
            KeyError: one of them is not known.
            ValueError: they are the same.
        """
        merged, name = self._roster.merge(gone, into)
        await self._tell(change_event(self.id, self.now, into, name, merged))
        await self._tell_average(self.now)

    async def _run(self) -> None:
        telling = asyncio.create_task(self._tell_results())
        hearing = self._spawn(self._sounds.follow())
        try:
            await self._tell(
                SessionStarted(
                    session=self.id,
                    time=0.0,
                    source=self._source.name,
                    profile=self._analyzer.profile,
                    stt=self._analyzer.engine,
                    duration=self._source.duration,
                )
            )
            reason = await self._follow_source()
            async for change in self._listener.end():
                await self._follow(change)
            if not self._source.has_audio:
                await self._close_seen("end")
            await self._closed.put(None)
            await self._sounds.end()
            await asyncio.gather(telling, hearing)
            await self._tell(
                SessionEnded(
                    session=self.id,
                    time=self.now,
                    reason=reason,
                    utterances=self._count,
                    average=self._roster.told(),
                )
            )
        finally:
            tasks = [telling, *self._tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for stream in self._streams:
                stream.cancel()
            await self._source.aclose()
            if not self._abandoned:
                await self._told.put(None)

    async def _follow_source(self) -> Literal["end", "stopped", "source_error"]:
        """Take what the source delivers until it ends, breaks or the session is stopped."""
        try:
            async for item in self._source:
                if self._on_media is not None:
                    await self._on_media(item)
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
                if not await self._sounds.listen():
                    await self._overload("sounds are left out")
            case VideoFrame():
                self._frames.write(item)
                self.picture = item
                if not self._source.has_audio:
                    await self._watch(item)
                elif self._open and item.time >= self._open.start / SAMPLE_RATE:
                    await self._see(self._open.stream, item)
            case SourceNotice():
                await self._warn(item.code, item.message)

    async def _advance(self, now: float) -> None:
        """Media time has come to `now`; say so if a live source is not kept up with."""
        self.now = now
        if self.clock is None:
            return
        self.clock.arrived(now)
        behind = self.clock.since(now)
        if behind > _OVERLOAD_S:
            await self._overload(f"it is {behind:.1f} s behind the source, so results come late")
        elif behind < _OVERLOAD_S / 2 and now - self._overloaded_at > _OVERLOAD_OVER_S:
            self._overloaded = False

    async def _overload(self, consequence: str) -> None:
        """Say that this machine does not keep up with a live source, unless that is known."""
        if self.clock is None:
            return
        self._overloaded_at = self.now
        if not self._overloaded:
            self._overloaded = True
            await self._warn("overload", f"this machine does not keep up: {consequence}")

    async def _hear(self) -> None:
        """Follow the speech in the audio that has arrived; tell what it says and expresses so far.

        At full speed only the latter: nobody reads so fast.
        """
        async for change in self._listener.listen():
            await self._follow(change)
        until = self._listener.speaking_until
        if self._open is None or until is None:
            return
        if self._followed():
            if self.clock and not self._open.write_down(until, busy=self._analyzer.busy):
                await self._overload("partial texts are left out")
            if not self._open.score(until, busy=not self._closed.empty()):
                await self._overload("provisional scores are left out")
        if self.clock:  # at full speed nothing is gained by it
            self._open.work_ahead(self._listener.closing)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin what is cancelled when the session ends."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _follow(self, change: SpeechChange) -> None:
        heard = self._listener.position / SAMPLE_RATE
        match change:
            case SpeechStarted(start):
                self._open = OpenUtterance(
                    self._count + 1,
                    start,
                    self._new_stream(),
                    self._audio,
                    session=self.id,
                    spawn=self._spawn,
                    tell=self._tell_if_room,
                )
                # Where sound comes long after the pictures, the first of them may be gone. Where
                # an utterance was split, this one may have begun seconds ago.
                seen_from = max(start / SAMPLE_RATE, self._frames.start)
                for frame in self._frames.read(seen_from, math.inf):
                    self._open.stream.see(frame, held=True)
                await self._tell(SpeechStartedEvent(session=self.id, time=heard))
            case SpeechPaused():
                await self._tell(SpeechPausedEvent(session=self.id, time=heard))
            case SpeechResumed():
                await self._tell(SpeechResumedEvent(session=self.id, time=heard))
            case SpeechDropped():
                spoken = self._end()
                spoken.drop_ahead()
                self._forget(spoken.stream)
            case UtteranceClosed():
                await self._close(change, heard)

    def _end(self) -> OpenUtterance:
        """It is being spoken no more: of its words so far, nothing more is to be told."""
        assert self._open is not None
        spoken, self._open = self._open, None
        spoken.end()
        return spoken

    def _new_stream(self) -> UtteranceStream:
        stream = self._analyzer.stream(live=self.clock is not None, alone=self._alone)
        self._streams.add(stream)
        return stream

    def _forget(self, stream: UtteranceStream) -> None:
        stream.cancel()
        self._streams.discard(stream)

    async def _see(self, stream: UtteranceStream, frame: VideoFrame) -> None:
        if not stream.see(frame):
            await self._overload("frames are left out")

    async def _close(self, closed: UtteranceClosed, heard: float) -> None:
        """The utterance is over; what was worked out ahead, if of just that, is its result."""
        spoken = self._end()
        utterance, task = spoken.close(closed)
        self._count += 1
        await self._closed.put(_Closed(utterance, spoken.stream, task, heard))

    async def _watch(self, frame: VideoFrame) -> None:
        """Without a microphone there is no speech to follow: utterances are windows of time."""
        await self._advance(frame.time)
        if frame.time - self._seen_from >= self._endpointing.max_speech_duration_s:
            await self._close_seen("limit")
        if self._watched is None:
            self._watched = self._new_stream()
        await self._see(self._watched, frame)

    async def _close_seen(self, reason: Literal["limit", "end"]) -> None:
        start, stop = round(self._seen_from * SAMPLE_RATE), round(self.now * SAMPLE_RATE)
        self._seen_from = self.now
        if self._watched is None:
            return
        stream, self._watched = self._watched, None
        self._count += 1
        utterance = Utterance(self._count, start, stop, reason, np.zeros(0, dtype=np.float32))
        task = analysing(stream, utterance, self._spawn)
        await self._closed.put(_Closed(utterance, stream, task, self.now))

    async def _tell_results(self) -> None:
        """Tell of closed utterances in order; each ends in one result or one failure."""
        while (closed := await self._closed.get()) is not None:
            utterance = closed.utterance
            try:
                analysis = await closed.task
            except AnalysisError as error:
                await self._tell(
                    UtteranceFailed(
                        session=self.id,
                        time=closed.heard,
                        utterance=utterance.number,
                        start=utterance.start_s,
                        end=utterance.stop_s,
                        stage=error.stage,
                        message=str(error),
                    )
                )
                continue
            finally:
                self._forget(closed.stream)
            took = time.perf_counter() - closed.at
            account = self._roster.take(utterance, analysis)
            if self._on_analysis is not None:
                self._on_analysis(utterance, account.analysis)
            late = self.clock.since(utterance.stop_s) if self.clock else None
            await self._tell(result_event(self.id, closed.heard, utterance, account, took, late))
            for merged, name in self._roster.settle():
                await self._tell(change_event(self.id, closed.heard, merged.speaker, name, merged))
            await self._tell_average(closed.heard)

    async def _tell_average(self, time: float) -> None:
        await self._tell(AverageUpdated(session=self.id, time=time, **dict(self._roster.told())))

    async def _warn(self, code: str, message: str) -> None:
        await self._tell(SourceWarning(session=self.id, time=self.now, code=code, message=message))

    async def _tell(self, event: Event) -> None:
        metrics.observe(event)
        await self._told.put(event)

    def _tell_if_room(self, event: Event) -> None:
        """Tell what can be given up when the reader of the events is slow."""
        if not self._told.full():
            self._told.put_nowait(event)
