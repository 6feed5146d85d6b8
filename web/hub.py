"""All sessions of this server, and the models they share.

In: sources. Out: `Hosted` sessions, whose events can be followed from any number on, by any number
of readers, while they run and after.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timezone
from operator import itemgetter
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from typing_extensions import TypedDict  # pydantic, which documents it, wants this one

from models.errors import UsageError
from models.vad import load_vad
from realtime.analysis import Analysis, Utterance, UtteranceAnalyzer
from realtime.events import (
    AverageUpdated,
    Event,
    SessionEnded,
    SourceWarning,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    TranscriptPartial,
    UtteranceFailed,
    UtteranceProvisional,
    UtteranceResult,
    WireAverage,
)
from realtime.media import Samples, VideoFrame
from realtime.session import LiveSession
from realtime.sources import Source
from web.errors import ApiError
from web.pictures import jpeg
from web.settings import Limits, ServerSettings

logger = logging.getLogger(__name__)

Kind: TypeAlias = Literal["camera", "upload", "source", "call", "ingest"]

SESSIONS_AT_FIRST = 8
"""How many may begin while the models are loaded and it is not yet known how many can be held."""

FAREWELL_S = 10.0
"""How long the sessions have, when the server ends, to analyse what was said last."""

WAVEFORM_POINTS = 240

_PASSING = (SpeechStarted, SpeechPaused, SpeechResumed, TranscriptPartial, UtteranceProvisional)


class Hub:
    """Starts sessions, finds them again, and ends them with the server.

    Args:
        load: gives the models; called once, in a thread.

    Attributes:
        state: of the models.
        problem: why they failed to load, in one line.
        analyzer: the models; None until they are ready.
        max_sessions: how many may run at once.
    """

    def __init__(self, settings: ServerSettings, load: Callable[[], UtteranceAnalyzer]) -> None:
        self.settings = settings
        self.state: Literal["loading", "ready", "failed"] = "loading"
        self.problem = ""
        self.analyzer: UtteranceAnalyzer | None = None
        self.max_sessions = settings.limits.max_sessions or SESSIONS_AT_FIRST
        self._load = load
        self._sessions: dict[str, Hosted] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def sessions(self) -> Mapping[str, Hosted]:
        """By id, oldest first; ended ones, too."""
        return self._sessions

    async def start(self) -> None:
        """Begin to load the models, and return at once."""
        self._loading = asyncio.create_task(self._load_models())

    async def aclose(self) -> None:
        """End all sessions politely, within `FAREWELL_S`; release the models. Idempotent."""
        for hosted in self._sessions.values():
            hosted.stop()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=FAREWELL_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._loading.cancel()
        if self.analyzer is not None:
            self.analyzer.close()

    async def ready(self) -> UtteranceAnalyzer:
        """The models, as soon as they are loaded.

        Raises:
            ApiError: they could not be loaded.
        """
        await asyncio.shield(self._loading)
        if self.analyzer is None:
            raise ApiError(503, "models_failed", self.problem)
        return self.analyzer

    def admit(self) -> None:
        """Do nothing if a session could begin now, else raise the `ApiError` that says why not."""
        running = len(self._tasks)
        if running >= self.max_sessions:
            raise ApiError(
                503, "full", f"{running} sessions are running, as many as may: stop one, or wait"
            )
        if self.state == "failed":
            raise ApiError(503, "models_failed", self.problem)

    async def begin(
        self,
        source: Source,
        *,
        kind: Kind,
        name: str,
        room: str | None = None,
        owner: str | None = None,
        at_end: Callable[[], None] = lambda: None,
    ) -> Hosted:
        """Analyse `source` in a session of its own, which begins as soon as the models are there.

        The source, and `at_end`, which is called when nobody reads the source any more, are taken
        over in any case.

        Args:
            name: of the person, or of what is played.
            room: of the call it belongs to.
            owner: the guest whom it shows; None: the host.

        Raises:
            ApiError: too many sessions are running, or the models could not be loaded.
        """
        try:
            self.admit()
        except ApiError:
            await source.aclose()
            at_end()
            raise
        hosted = Hosted(
            source,
            self.settings.limits,
            kind=kind,
            name=name,
            room=room,
            owner=owner,
            at_end=at_end,
        )
        self._make_room()
        self._sessions[hosted.id] = hosted
        task = asyncio.create_task(hosted.run(self.ready), name=f"session {hosted.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return hosted

    def get(self, id: str) -> Hosted:
        """The session of that id; `ApiError` if there is none."""
        try:
            return self._sessions[id]
        except KeyError:
            raise ApiError(
                404, "unknown_session", f"there is no session {id}: it may have been forgotten"
            ) from None

    async def forget(self, id: str) -> None:
        """Stop a session, and forget what it found; `ApiError` if there is none."""
        hosted = self.get(id)
        del self._sessions[id]
        hosted.stop()
        await hosted.ended.wait()

    def _make_room(self) -> None:
        ended = [hosted.id for hosted in self._sessions.values() if hosted.state == "ended"]
        for id in ended[: max(0, len(ended) - self.settings.limits.max_ended)]:
            del self._sessions[id]

    async def _load_models(self) -> None:
        try:
            self.analyzer, capacity = await _in_a_thread(self._load)
            self.max_sessions = self.settings.limits.max_sessions or capacity
            self.state = "ready"
        except UsageError as error:
            logger.error("%s", error)
            self.state, self.problem = "failed", str(error)
        except Exception as error:
            logger.exception("the models cannot be loaded")
            self.state, self.problem = "failed", f"the models cannot be loaded: {error!r}"


def _in_a_thread(
    load: Callable[[], UtteranceAnalyzer],
) -> asyncio.Future[tuple[UtteranceAnalyzer, int]]:
    """The models, and how many live streams they can serve here.

    In a thread that nobody waits for if the server ends meanwhile.
    """
    loaded: Future[tuple[UtteranceAnalyzer, int]] = Future()
    loaded.set_running_or_notify_cancel()

    def run() -> None:
        try:
            load_vad()  # otherwise the first session would, in the event loop
            analyzer = load()
            loaded.set_result((analyzer, analyzer.capacity()))
        except Exception as error:
            loaded.set_exception(error)

    threading.Thread(target=run, name="loading", daemon=True).start()
    return asyncio.wrap_future(loaded)


class Session(TypedDict):
    """A session as the HTTP interface tells it. Times are in seconds of media time; `reason` is why
    it has ended."""

    id: str
    kind: Kind
    name: str
    source: str
    state: Literal["waiting", "running", "ended"]
    room: str | None
    started: str
    duration: float | None
    time: float
    utterances: int
    last_seq: int
    paused: bool
    reason: Literal["end", "stopped", "source_error"] | None


class Hosted:
    """One session of this server: it runs, and keeps what it found.

    Attributes:
        id: 12 hexadecimal digits.
        name: of the person, or of what is played.
        room: of the call it belongs to.
        owner: the guest whom it shows; None: the host.
        source: what the source calls itself.
        started: when it was asked for, UTC.
        state: "waiting" for the models, "running" or "ended".
        ended: set when the session has ended and its source is closed.
        inputs: utterance number to what the model was given; the oldest go first.
    """

    def __init__(
        self,
        source: Source,
        limits: Limits,
        *,
        kind: Kind,
        name: str,
        room: str | None,
        owner: str | None,
        at_end: Callable[[], None],
    ) -> None:
        self.id = uuid.uuid4().hex[:12]
        self.kind: Kind = kind
        self.name = name
        self.room = room
        self.owner = owner
        self.source = source.name
        self.started = datetime.now(timezone.utc)
        self.state: Literal["waiting", "running", "ended"] = "waiting"
        self.ended = asyncio.Event()
        self.inputs: dict[int, UtteranceInputs] = {}
        self._media = source
        self._at_end = at_end
        self._duration = source.duration
        self._limits = limits
        self._session: LiveSession | None = None
        self._stop = asyncio.Event()
        self._events: list[tuple[int, Event]] = []
        self._last_seq = 0
        self._time = 0.0
        self._utterances = 0
        self._reason: Literal["end", "stopped", "source_error"] | None = None
        self._changed = asyncio.Event()

    @property
    def events(self) -> Sequence[tuple[int, Event]]:
        """What was told until now, each with its number; numbers grow from 1."""
        return tuple(self._events)

    @property
    def picture(self) -> VideoFrame | None:
        """The newest frame; None before the first, and after the end."""
        return self._session.picture if self._session else None

    @property
    def paused(self) -> bool:
        """Whether the person analysed wishes not to be, for now."""
        return isinstance(self._media, Pausable) and self._media.paused

    def pause(self, paused: bool) -> None:
        """Pause or resume the analysis; `ApiError` if this source cannot be paused."""
        if not isinstance(self._media, Pausable):
            raise ApiError(
                409, "not_pausable", "only a running session of a browser's camera can be paused"
            )
        self._media.paused = paused

    def stop(self) -> None:
        """End the session; what was said so far is still analysed, and kept. Idempotent."""
        self._stop.set()
        if self._session is not None:
            self._session.stop()

    async def follow(self, after: int = 0) -> AsyncIterator[tuple[int, Event]]:
        """All events after number `after`: the stored ones, then each as it happens.

        Ends after `session.ended`. How slow the reader is concerns nobody else.
        """
        while True:
            changed, ended = self._changed, self.ended.is_set()
            first = bisect_right(self._events, after, key=itemgetter(0))
            for seq, event in self._events[first:]:
                yield seq, event
                after = seq
            if ended:
                return
            await changed.wait()

    def to_json(self) -> Session:
        """What there is to say of the session at this moment."""
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.name,
            "source": self.source,
            "state": self.state,
            "room": self.room,
            "started": self.started.isoformat(timespec="milliseconds"),
            "duration": self._duration,
            "time": self._session.now if self._session else self._time,
            "utterances": self._utterances,
            "last_seq": self._last_seq,
            "paused": self.paused,
            "reason": self._reason,
        }

    async def run(self, ready: Callable[[], Awaitable[UtteranceAnalyzer]]) -> None:
        """Analyse the source to its end; the hub calls this, once."""
        try:
            if (analyzer := await self._models(ready)) is not None:
                await self._analyze(analyzer)
        except Exception:
            logger.exception("session %s failed", self.id)
            self._warn("session.failed", "the session broke off; what was found before is kept")
        finally:
            self._tell_the_end()
            await self._media.aclose()
            self._at_end()
            self._session = None  # and with it the memory of what was heard and seen
            self.state = "ended"
            self.ended.set()
            self._wake()

    async def _models(
        self, ready: Callable[[], Awaitable[UtteranceAnalyzer]]
    ) -> UtteranceAnalyzer | None:
        """The models; None if they cannot be loaded, or the session is stopped before."""
        waits = asyncio.ensure_future(ready()), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return waits[0].result() if waits[0].done() else None
        except ApiError as error:
            self._warn(error.code, error.message)
            return None
        finally:
            for wait in waits:
                wait.cancel()

    async def _analyze(self, analyzer: UtteranceAnalyzer) -> None:
        self._session = LiveSession(
            self._media, analyzer, session_id=self.id, on_analysis=self._keep_inputs
        )
        self.state = "running"
        if self._stop.is_set():
            self._session.stop()
        async with aclosing(self._session.events()) as events:
            async for event in events:
                self.record(event)

    def _keep_inputs(self, utterance: Utterance, analysis: Analysis) -> None:
        self.inputs[utterance.number] = UtteranceInputs.of(utterance, analysis)
        if len(self.inputs) > self._limits.max_inputs:
            del self.inputs[next(iter(self.inputs))]

    def record(self, event: Event) -> None:
        """Keep an event under the next number, and pass it to those who follow."""
        self._last_seq += 1
        self._events.append((self._last_seq, event))
        self._time = max(self._time, event.time)
        if isinstance(event, UtteranceResult | UtteranceFailed):
            self._utterances += 1
        if isinstance(event, SessionEnded):
            self._reason = event.reason
        if len(self._events) > self._limits.max_events and not self._stop.is_set():
            self._thin_out()
        self._wake()

    def _thin_out(self) -> None:
        """Forget what passes of the older half; if that is hardly anything, no more can be kept."""
        half = len(self._events) // 2
        lasting = [pair for pair in self._events[:half] if not isinstance(pair[1], _PASSING)]
        self._events[:half] = lasting
        if len(lasting) > 0.9 * half:
            self.stop()
            self._warn("events.full", "the session is as long as can be kept, and was stopped")

    def _warn(self, code: str, message: str) -> None:
        self.record(SourceWarning(session=self.id, time=self._time, code=code, message=message))

    def _tell_the_end(self) -> None:
        """Tell it in place of a session that broke off, or never began."""
        if self._events and isinstance(self._events[-1][1], SessionEnded):
            return
        averages = [event for _, event in self._events if isinstance(event, AverageUpdated)]
        average = (
            WireAverage.model_validate(averages[-1], from_attributes=True)
            if averages
            else WireAverage(utterances=0, emotions={}, thresholds={}, expressed=())
        )
        self.record(
            SessionEnded(
                session=self.id,
                time=self._time,
                reason="stopped" if self._stop.is_set() else "source_error",
                utterances=self._utterances,
                average=average,
            )
        )

    def _wake(self) -> None:
        """Let those go on who wait for something new."""
        self._changed.set()
        self._changed = asyncio.Event()


@dataclass(frozen=True, slots=True)
class UtteranceInputs:
    """What the model was given for one utterance, small enough to keep.

    Attributes:
        faces: media time in seconds and JPEG (160 x 160) of each face.
        waveform: lowest and highest sample of each of up to `WAVEFORM_POINTS` equal parts.
        duration: seconds.
        frame: width and height, in pixels of the source, of the pictures in which the faces were
            found; None if there was no face.
    """

    faces: tuple[tuple[float, bytes], ...]
    waveform: tuple[tuple[float, float], ...]
    duration: float
    frame: tuple[int, int] | None

    @classmethod
    def of(cls, utterance: Utterance, analysis: Analysis) -> UtteranceInputs:
        """The inputs of an analysed utterance."""
        return cls(
            faces=tuple((face.time, jpeg(face.image, 85)) for face in analysis.faces),
            waveform=waveform(utterance.samples),
            duration=utterance.stop_s - utterance.start_s,
            frame=analysis.faces[0].frame if analysis.faces else None,
        )


def waveform(samples: Samples) -> tuple[tuple[float, float], ...]:
    """Lowest and highest of each of `WAVEFORM_POINTS` parts; fewer if there are fewer samples."""
    parts = np.array_split(samples, min(WAVEFORM_POINTS, max(1, len(samples))))
    return tuple(
        (round(float(part.min()), 4), round(float(part.max()), 4)) for part in parts if len(part)
    )


def wire(seq: int, event: Event) -> str:
    """An event as it goes over sockets and data channels: its JSON, and its number as `seq`."""
    return f'{{"seq":{seq},{event.model_dump_json()[1:]}'


@runtime_checkable
class Pausable(Protocol):
    """A source whose media the person it shows can withhold."""

    paused: bool
