"""All sessions of this server, the models they share, and the store that keeps them.

In: sources. Out: `Hosted` sessions, whose events can be followed from any number on, by any number
of readers, while they run and after; those that ended long ago are `Kept`, and answer alike.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta, timezone
from operator import itemgetter
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from models.errors import UsageError
from models.libraries import unloadable
from models.vad import load_vad
from realtime.analysis import Analysis, Analyzer, Utterance
from realtime.events import (
    AverageUpdated,
    EndReason,
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
from realtime.loading import load_in_thread
from realtime.media import VideoFrame
from realtime.session import LiveSession
from realtime.sources import Source
from realtime.storage import NotStored, SessionStore, StoredSession, UtteranceInputs
from web.errors import ApiError
from web.inputs import inputs_of, wav
from web.kept import Kept, Kind, Session, State, not_pausable
from web.logs import log_event
from web.settings import ServerSettings

logger = logging.getLogger(__name__)

SESSIONS_AT_FIRST = 8
"""How many may begin while the models are loaded and it is not yet known how many can be held."""

FAREWELL_S = 10.0
"""How long the sessions have, when the server ends, to analyse what was said last."""

TIDY_EVERY_S = 3600.0
"""How often sessions are looked for that have been kept long enough."""

MEASURE_EVERY_S = 10.0
"""How often, at most, it is measured how many sessions this machine can hold."""

LOOK_S = 1.0
"""How often a session is looked at for being too long."""

MAX_WAITING = 200
"""Events of one session that wait for the disk; at more, the session waits as well."""

_PASSING = (SpeechStarted, SpeechPaused, SpeechResumed, TranscriptPartial, UtteranceProvisional)


class Hub:
    """Starts sessions, finds them again, and ends them with the server.

    Args:
        load: gives the models; called once, in a thread.

    Attributes:
        store: what is kept of all sessions.
        state: of the models.
        problem: why they failed to load, in one line.
        analyzer: the models; None until they are ready.
        max_sessions: how many may run at once.

    Raises:
        UsageError: the store cannot be used.
    """

    def __init__(self, settings: ServerSettings, load: Callable[[], Analyzer]) -> None:
        self.settings = settings
        self.store = SessionStore(settings.store)
        self.state: Literal["loading", "ready", "failed"] = "loading"
        self.problem = ""
        self.analyzer: Analyzer | None = None
        self.max_sessions = settings.limits.max_sessions or SESSIONS_AT_FIRST
        self._load = load
        self._sessions: dict[str, Hosted] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._tidying: asyncio.Task[None] | None = None
        self._measuring: asyncio.Task[None] | None = None
        self._measured = -math.inf  # when, on the clock of `time.monotonic`

    @property
    def sessions(self) -> Mapping[str, Hosted]:
        """By id, oldest first: those that run, and the last that ended."""
        return self._sessions

    def recent(self, most: int, before: str | None = None) -> list[AnySession]:
        """Up to `most` sessions, newest first; those before session `before`, if that is given.

        Raises:
            ApiError: there is no session `before`.
        """
        first = None if before is None else _order(self.get(before))
        here = [h for h in [*self._sessions.values()] if first is None or _order(h) < first]
        found = self._with_kept(here, self.store.sessions(most, first))
        return sorted(found, key=_order, reverse=True)[:most]

    def in_room(self, room: str) -> list[AnySession]:
        """The sessions of all who are in a call, or were, in the order they came."""
        here = [hosted for hosted in [*self._sessions.values()] if hosted.room == room]
        return sorted(self._with_kept(here, self.store.in_room(room)), key=_order)

    def _with_kept(self, here: Sequence[Hosted], rows: Sequence[StoredSession]) -> list[AnySession]:
        kept = [Kept(row, self.store) for row in rows if row.id not in self._sessions]
        return [*here, *kept]

    async def start(self) -> None:
        """Begin to load the models, and return at once."""
        self._loading = asyncio.create_task(self._load_models())
        if self.settings.keep_days is not None:
            self._tidying = asyncio.create_task(self._tidy(timedelta(days=self.settings.keep_days)))

    async def aclose(self) -> None:
        """End all sessions politely, within `FAREWELL_S`; release models and store. Idempotent."""
        for hosted in self._sessions.values():
            hosted.stop()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=FAREWELL_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._loading.cancel()
        for task in filter(None, (self._tidying, self._measuring)):
            task.cancel()
        if self.analyzer is not None:
            self.analyzer.close()
        await asyncio.to_thread(self.store.close)  # last: until here, all that was told is kept

    async def ready(self) -> Analyzer:
        """The models, as soon as they are loaded.

        Raises:
            ApiError: they could not be loaded.
        """
        await asyncio.shield(self._loading)
        if self.analyzer is None:
            raise ApiError(503, "models_failed", self.problem)
        return self.analyzer

    async def admit(self) -> None:
        """Do nothing if a session could begin now, else raise the `ApiError` that says why not."""
        if len(self._tasks) >= self.max_sessions:
            await self._measure_again()
        running = len(self._tasks)
        if running >= self.max_sessions:
            those = "1 session is" if running == 1 else f"{running} sessions are"
            raise ApiError(503, "full", f"{those} running, as many as may: stop one, or wait")
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
            await self.admit()
        except BaseException:
            await source.aclose()
            at_end()
            raise
        hosted = Hosted(
            source,
            self.settings,
            self.store,
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

    def get(self, id: str) -> AnySession:
        """The session of that id; `ApiError` if there is none."""
        if id in self._sessions:
            return self._sessions[id]
        row = self.store.session(id)
        if row is None:
            raise ApiError(
                404, "unknown_session", f"there is no session {id}: it may have been deleted"
            )
        return Kept(row, self.store)

    async def forget(self, id: str) -> None:
        """Stop a session, and delete for good what it found.

        Raises:
            ApiError: there is no such session, or the store cannot be written now.
        """
        session = self.get(id)
        session.stop()
        await session.ended.wait()
        problem = await asyncio.wrap_future(self.store.delete(id))
        self._sessions.pop(id, None)
        if problem is not None:
            raise ApiError(
                503, problem.code, f"session {id} is deleted as soon as its store can be written"
            )

    async def _tidy(self, keep: timedelta) -> None:
        """Delete what has been kept long enough, again and again."""
        while True:
            old = self.store.ended_before(datetime.now(timezone.utc) - keep)
            for outcome in await asyncio.gather(
                *(self.forget(row.id) for row in old), return_exceptions=True
            ):
                if isinstance(outcome, Exception):
                    logger.error("an old session is still kept: %s", outcome)
            await asyncio.sleep(TIDY_EVERY_S)

    def _make_room(self) -> None:
        ended = [hosted.id for hosted in self._sessions.values() if hosted.state == "ended"]
        for id in ended[: max(0, len(ended) - self.settings.limits.max_ended)]:
            del self._sessions[id]

    async def _load_models(self) -> None:
        try:
            self.analyzer, capacity = await load_in_thread(self._load_and_measure)
            self.max_sessions = self.settings.limits.max_sessions or capacity
            self.state = "ready"
        except (UsageError, ImportError) as error:
            self.problem = str(unloadable(error) if isinstance(error, ImportError) else error)
            logger.error("%s", self.problem)
            self.state = "failed"
        except Exception as error:
            logger.exception("the models cannot be loaded")
            self.state, self.problem = "failed", f"the models cannot be loaded: {error!r}"

    async def _measure_again(self) -> None:
        """Allow more sessions if this machine can hold them: it may have been busy at first."""
        if self.analyzer is None or self.settings.limits.max_sessions is not None:
            return
        if self._measuring is None and time.monotonic() - self._measured > MEASURE_EVERY_S:
            self._measuring = asyncio.create_task(self._measure(self.analyzer))
        if self._measuring is not None:  # whoever comes meanwhile waits for the same
            await asyncio.shield(self._measuring)

    async def _measure(self, analyzer: Analyzer) -> None:
        try:
            capacity = await asyncio.to_thread(analyzer.capacity)
            # Never fewer: it is the running sessions that make the machine seem slower now.
            self.max_sessions = max(self.max_sessions, capacity)
        except Exception:
            logger.exception("it cannot be measured how many sessions this machine can hold")
        finally:
            self._measured = time.monotonic()
            self._measuring = None

    def _load_and_measure(self) -> tuple[Analyzer, int]:
        """The models, and how many live streams they can serve here."""
        load_vad()  # otherwise the first session would, in the event loop
        analyzer = self._load()
        return analyzer, analyzer.capacity()


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
    """

    def __init__(
        self,
        source: Source,
        settings: ServerSettings,
        store: SessionStore,
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
        self.state: State = "waiting"
        self.ended = asyncio.Event()
        self._media: Source | None = source
        self._at_end = at_end
        self._duration = source.duration
        self._limits = settings.limits
        self._recorded = settings.record
        self._store = store
        self._session: LiveSession | None = None
        self._stop = asyncio.Event()
        self._numbered = 0
        self._events: list[tuple[int, Event]] = []
        self._last_seq = 0
        self._time = 0.0
        self._utterances = 0
        self._reason: EndReason | None = None
        self._inputs: dict[int, UtteranceInputs] = {}  # of the last utterances
        self._changed = asyncio.Event()
        self._ending = False  # the last event is recorded
        self._warned = False  # that events cannot be stored
        store.begin(
            StoredSession(
                id=self.id,
                kind=kind,
                name=name,
                source=self.source,
                room=room,
                owner=owner,
                started=self.started,
                duration=self._duration,
                recorded=self._recorded,
            )
        )

    @property
    def events(self) -> Sequence[tuple[int, Event]]:
        """What was told until now, each with its number; numbers grow from 1."""
        return tuple(self._events)

    def result(self, utterance: int) -> UtteranceResult | None:
        """The result of one utterance, if it is there."""
        for _, event in self.events:
            if isinstance(event, UtteranceResult) and event.utterance == utterance:
                return event
        return None

    def inputs(self, utterance: int) -> UtteranceInputs | None:
        """What the model was given for an utterance; of older ones only if it is recorded."""
        return self._inputs.get(utterance) or self._store.inputs(self.id, utterance)

    @property
    def picture(self) -> VideoFrame | None:
        """The newest frame; None before the first, and after the end."""
        return self._session.picture if self._session else None

    @property
    def paused(self) -> bool:
        """Whether the person analysed wishes not to be, for now."""
        source = self._pausable()
        return source is not None and source.paused

    def pause(self, paused: bool) -> None:
        """Pause or resume the analysis; `ApiError` if this source cannot be paused."""
        source = self._pausable()
        if source is None:
            raise not_pausable()
        source.paused = paused

    def _pausable(self) -> Pausable | None:
        source: object = self._media
        return source if isinstance(source, Pausable) else None

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
            "time": self._now,
            "utterances": self._utterances,
            "last_seq": self._last_seq,
            "paused": self.paused,
            "reason": self._reason,
            "recorded": self._recorded,
        }

    @property
    def _now(self) -> float:
        session = self._session  # which ends while a thread asks
        return session.now if session else self._time

    async def run(self, ready: Callable[[], Awaitable[Analyzer]]) -> None:
        """Analyse the source to its end; the hub calls this, once."""
        try:
            if (analyzer := await self._models(ready)) is not None:
                await self._analyze(analyzer)
        except Exception:
            logger.exception("session %s failed", self.id)
            self._warn("session.failed", "the session broke off; what was found before is kept")
        finally:
            await self._finish()

    async def _finish(self) -> None:
        try:
            await self._published()
            self._tell_the_end()
            if self._media is not None:
                await self._media.aclose()
            await self._published()
        finally:
            self._at_end()
            # And with them the memory of what was heard and seen, and the decoder's threads.
            self._session = self._media = None
            self.state = "ended"
            self.ended.set()
            self._wake()

    async def _models(self, ready: Callable[[], Awaitable[Analyzer]]) -> Analyzer | None:
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

    async def _analyze(self, analyzer: Analyzer) -> None:
        assert self._media is not None
        self._session = LiveSession(
            self._media, analyzer, session_id=self.id, on_analysis=self._keep_inputs
        )
        self.state = "running"
        if self._stop.is_set():
            self._session.stop()
        watching = asyncio.create_task(self._watch_length(self._session))
        try:
            async with aclosing(self._session.events()) as events:
                async for event in events:
                    self.record(event)
                    await self._published(all_but=MAX_WAITING)
        finally:
            watching.cancel()

    async def _watch_length(self, session: LiveSession) -> None:
        """Stop the session when it has had as much media as may be, heard or not."""
        longest_h = self._limits.max_media_h
        while session.now < longest_h * 3600:  # noqa: ASYNC110 - of media time nobody tells
            await asyncio.sleep(LOOK_S)
        self._warn("media.full", f"{longest_h:g} hours are the limit: the session was stopped")
        self.stop()

    def _keep_inputs(self, utterance: Utterance, analysis: Analysis) -> None:
        inputs = inputs_of(utterance, analysis)
        self._inputs[utterance.number] = inputs
        if len(self._inputs) > self._limits.max_inputs:
            del self._inputs[next(iter(self._inputs))]
        if self._recorded:  # before the result is, so that who knows of that finds these
            self._store.keep(self.id, utterance.number, inputs, wav(utterance.samples))

    def record(self, event: Event) -> None:
        """Store an event under the next number; when it is durable, it is published."""
        self._numbered += 1
        seq = self._numbered
        self._ending = isinstance(event, SessionEnded)
        loop = asyncio.get_running_loop()
        self._store.append(self.id, seq, event).add_done_callback(
            lambda stored: loop.call_soon_threadsafe(self._publish, seq, event, stored.result())
        )

    def _publish(self, seq: int, event: Event, problem: NotStored | None) -> None:
        """Pass an event to those who follow."""
        log_event(self.kind, event)
        self._last_seq = seq
        self._events.append((seq, event))
        self._time = max(self._time, event.time)
        if isinstance(event, UtteranceResult | UtteranceFailed):
            self._utterances += 1
        if isinstance(event, SessionEnded):
            self._reason = event.reason
        if problem is not None and not self._warned:
            self._warned = True
            self._warn(problem.code, problem.message)
        if len(self._events) > self._limits.max_events and not self._stop.is_set():
            self._thin_out()
        self._wake()

    async def _published(self, all_but: int = 0) -> None:
        """Wait until all events that were recorded are published, or all but the last few."""
        while self._numbered - self._last_seq > all_but:
            await self._changed.wait()

    def _thin_out(self) -> None:
        """Forget what passes of the older half; if that is hardly anything, no more can be kept."""
        half = len(self._events) // 2
        lasting = [pair for pair in self._events[:half] if not isinstance(pair[1], _PASSING)]
        self._events[:half] = lasting
        if len(lasting) > 0.9 * half:
            self.stop()
            self._warn("events.full", "the session is as long as can be kept, and was stopped")

    def _warn(self, code: str, message: str) -> None:
        if not self._ending:
            self.record(SourceWarning(session=self.id, time=self._now, code=code, message=message))

    def _tell_the_end(self) -> None:
        """Tell it in place of a session that broke off, or never began."""
        if self._ending:
            return
        told = (event for _, event in reversed(self._events))
        average = next((event for event in told if isinstance(event, AverageUpdated)), None)
        self.record(
            SessionEnded(
                session=self.id,
                time=self._time,
                reason="stopped" if self._stop.is_set() else "source_error",
                utterances=self._utterances,
                average=WireAverage.of(average),
            )
        )

    def _wake(self) -> None:
        """Let those go on who wait for something new."""
        self._changed.set()
        self._changed = asyncio.Event()


AnySession: TypeAlias = Hosted | Kept
"""What has an id here: it runs or has just ended, or only the store knows it."""


def _order(session: AnySession) -> tuple[datetime, str]:
    return session.started, session.id


def wire(seq: int, event: Event) -> str:
    """An event as it goes over sockets and data channels: its JSON, and its number as `seq`."""
    return f'{{"seq":{seq},{event.model_dump_json()[1:]}'


@runtime_checkable
class Pausable(Protocol):
    """A source whose media the person it shows can withhold."""

    paused: bool
