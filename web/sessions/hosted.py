"""One session of this server: it runs, keeps what it found, and tells it to whoever follows.

In: a source, the models. Out: its events, from any number on, to any number of readers, while it
runs and after.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from datetime import datetime, timezone
from operator import itemgetter

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
from realtime.film import FilmWriter
from realtime.media import VideoFrame
from realtime.session import LiveSession
from realtime.sources import Source
from realtime.storage.sealed import SealedFile
from realtime.storage.store import SessionStore
from realtime.storage.values import NotStored, StoredSession, UtteranceInputs, why_not_stored
from web.errors import ApiError
from web.observability.logs import log_event
from web.sessions.ended import Addition, Kind, Session, State, not_running
from web.sessions.model_inputs import inputs_of, wav
from web.sessions.pausing import Pausing
from web.sessions.speakers import Correction
from web.settings import ServerSettings

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often a session is looked at for being too long."""

MAX_WAITING = 200
"""Events of one session that wait for the disk; at more, the session waits as well."""

_PASSING = (SpeechStarted, SpeechPaused, SpeechResumed, TranscriptPartial, UtteranceProvisional)


class Hosted:
    """One session of this server: it runs, and keeps what it found.

    Attributes:
        id: 12 hexadecimal digits.
        name: of the person, or of what is played.
        room: of the call it belongs to.
        owner: the guest whom it shows (`Guest.owner`); None: the host.
        source: what the source calls itself.
        started: when it was asked for, UTC.
        state: "waiting" for the models, "running" or "ended".
        ended: set when the session has ended and its source is closed.
        dismissed: set when whoever publishes it must go at once.
        connecting: whether no media can come yet; until then it takes nobody's place, and whom it
            is to show is not in the call.
        pausing: who has paused the analysis.
        watchers: how many of the host's connections see, hear or read it now.
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
        self.dismissed = asyncio.Event()
        self.connecting = False
        self.watchers = 0
        self.pausing = Pausing(source)
        self._media: Source | None = source
        self._at_end = at_end
        self._duration = source.duration
        self._limits = settings.limits
        self._recorded = settings.record
        self._baseline = settings.baseline
        self._alone = settings.alone or kind == "call"  # where each has a microphone
        self._store = store
        self._session: LiveSession | None = None
        self._film: FilmWriter | None = None
        self._filmed = False  # there is something in it, and it is closed
        self._stop = asyncio.Event()
        self._numbered = 0
        self._events: list[tuple[int, Event]] = []
        self._last_seq = 0
        self._time = 0.0
        self._utterances = 0
        self._reason: EndReason | None = None
        self._inputs: dict[int, UtteranceInputs] = {}  # of the last utterances
        self._changed = asyncio.Event()
        self._ending = False  # the end is recorded
        self._warned = False  # that events cannot be stored
        self._begun = store.begin(
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

    def read(self) -> Iterator[tuple[int, Event]]:
        """The same, one after the other."""
        return iter(self.events)

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

    def rest(self) -> None:
        """The last utterance showed the person at rest; `ApiError` if there is none."""
        if self._session is None:
            raise not_running()
        try:
            self._session.rest()
        except ValueError as error:
            raise ApiError(409, "no_utterance", f"{error}: speak first, calmly") from error

    async def correct_running(self, correction: Correction) -> bool:
        """Have the session tell something of a speaker, and wait until it has.

        Returns:
            False if the session does not run, or ended before it could tell.

        Raises:
            ApiError: it cannot be so.
        """
        session = self._session
        if session is None:
            return False
        before = self._numbered
        asking = asyncio.ensure_future(correction.ask(session))
        ended = asyncio.ensure_future(self.ended.wait())
        try:
            # A session that breaks off may never take what it is asked.
            await asyncio.wait({asking, ended}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                asking.result()
        finally:
            asking.cancel()
            ended.cancel()
        while not any(
            seq > before and correction.is_told_by(event) for seq, event in reversed(self._events)
        ):
            if self.ended.is_set():
                return False
            await self._changed.wait()
        return True

    async def add(self, addition: Addition) -> list[Event]:
        """Tell something, one addition at a time; gives the events that tell it.

        Raises:
            ApiError: it cannot be so, or the store cannot be written now, though it is told.
        """
        events = addition.events(self.id, self._now, (event for _, event in self._events))
        stored = [self.record(event) for event in events]
        last = self._numbered
        while self._last_seq < last:
            await self._changed.wait()
        for problem in filter(None, [future.result() for future in stored]):
            raise ApiError(503, problem.code, problem.message)
        return events

    def dismiss(self) -> None:
        """End the session, and the connection of whoever publishes it at once. Idempotent."""
        self.dismissed.set()
        self.stop()

    def stop(self) -> None:
        """End the session; what was said so far is still analysed, and kept. Idempotent."""
        self._stop.set()
        if self._session is not None:
            self._session.stop()

    async def follow(self, after: int = 0) -> AsyncIterator[tuple[int, Event]]:
        """All events after number `after`: the stored ones, then each as it happens.

        Ends after `session.ended`, and what was told after that. How slow the reader is concerns
        nobody else.
        """
        self.watchers += 1
        try:
            while True:
                changed, ended = self._changed, self.ended.is_set()
                first = bisect_right(self._events, after, key=itemgetter(0))
                for seq, event in self._events[first:]:
                    yield seq, event
                    after = seq
                if ended:
                    return
                await changed.wait()
        finally:
            self.watchers -= 1

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
            "paused": bool(self.pausing.by),
            "paused_by": self.pausing.by,
            "reason": self._reason,
            "recorded": self._recorded,
            "film": self.state == "ended" and self._filmed,
        }

    @property
    def over(self) -> bool:
        """Whether it has ended, or whoever publishes it must go at once."""
        return self.state == "ended" or self.dismissed.is_set()

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
            logger.exception("session %s failed", self.id, extra={"told": {"session": self.id}})
            self._warn("session.failed", "the session broke off; what was found before is kept")
        finally:
            await self._finish()

    async def _finish(self) -> None:
        try:
            await self._published()
            self._tell_the_end()
            if self._media is not None:
                await self._media.aclose()
            if self._film is not None:
                await self._film.aclose()
                self._filmed = await asyncio.to_thread(self._store.films.has, self.id)
            await self._published()
        finally:
            self._at_end()
            # And with them the memory of what was heard and seen, and the decoder's threads.
            self._session = self._media = self._film = None
            self.pausing = Pausing(None)
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
        if self._recorded:
            self._film = FilmWriter(self._new_film, self._media, self._end_film)
        self._session = LiveSession(
            self._media,
            analyzer,
            alone=self._alone,
            baseline=self._baseline,
            session_id=self.id,
            on_media=self._film.take if self._film else None,
            on_analysis=self._keep_inputs,
            followed=lambda: self.watchers > 0,
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

    def _new_film(self) -> SealedFile:
        self._begun.result()  # until then there is no key to seal it
        return self._store.films.create(self.id)

    def _end_film(self, error: Exception) -> None:
        full = why_not_stored(error).code == "store.full"
        why = "the disk is full" if full else f"it cannot be written ({error})"
        self._warn("film.failed", f"the film of this session ends here: {why}")

    def _keep_inputs(self, utterance: Utterance, analysis: Analysis) -> None:
        inputs = inputs_of(utterance, analysis)
        self._inputs[utterance.number] = inputs
        if len(self._inputs) > self._limits.max_inputs:
            del self._inputs[next(iter(self._inputs))]
        if self._recorded:  # before the result is, so that who knows of that finds these
            self._store.keep(self.id, utterance.number, inputs, wav(utterance.samples))

    def record(self, event: Event) -> Future[NotStored | None]:
        """Store an event under the next number; when it is durable, it is published."""
        self._numbered += 1
        seq = self._numbered
        self._ending |= isinstance(event, SessionEnded)
        loop = asyncio.get_running_loop()
        storing = self._store.append(self.id, seq, event)
        storing.add_done_callback(
            lambda stored: loop.call_soon_threadsafe(self._publish, seq, event, stored.result())
        )
        return storing

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


def wire(seq: int, event: Event) -> str:
    """An event as it goes over sockets and data channels: its JSON, and its number as `seq`."""
    return f'{{"seq":{seq},{event.model_dump_json()[1:]}'
