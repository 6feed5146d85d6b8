"""All sessions of this server, the models they share, and the store that keeps them.

In: sources. Out: `Hosted` sessions, whose events can be followed from any number on, by any number
of readers, while they run and after; those that ended long ago are `Kept`, and answer alike.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Literal, TypeAlias
from weakref import WeakValueDictionary

from models.errors import UsageError
from models.libraries import unloadable
from models.naming import shown
from models.vad import load_vad
from realtime.analysis import Analyzer
from realtime.events import Event
from realtime.loading import load_in_thread
from realtime.sources import Source
from realtime.storage.store import SessionStore
from realtime.storage.values import StoredSession
from web.errors import ApiError
from web.sessions.ended import Addition, Kept, Kind
from web.sessions.hosted import Hosted
from web.sessions.speakers import Correction
from web.sessions.uploads import sweep
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
        # By session: who comes second reads what the first has told.
        self._adding: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
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
        """Begin to load the models, delete what a killed server left, and return soon."""
        self._loading = asyncio.create_task(self._load_models())
        if self.settings.keep_days is not None:
            self._tidying = asyncio.create_task(self._tidy(timedelta(days=self.settings.keep_days)))
        await asyncio.to_thread(sweep)

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

    async def admit(self, owner: str | None = None) -> None:
        """Do nothing if a session could begin now, else raise the `ApiError` that says why not.

        The host has a place beyond `max_sessions` while guests have taken all of those.

        Args:
            owner: the guest whom it is to show; None: the host.
        """

        def others() -> list[str | None]:
            """The owners of all who have a place; a guest who comes again keeps theirs."""
            running = [h for h in self._sessions.values() if h.state != "ended"]
            placed = [h.owner for h in running if not h.connecting]
            return [other for other in placed if owner is None or other != owner]

        if len(others()) >= self.max_sessions:
            await self._measure_again()
        running = len(others())
        most = self.max_sessions + (owner is None and None not in others())
        if running >= most:
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
        connecting: bool = False,
        at_end: Callable[[], None] = lambda: None,
    ) -> Hosted:
        """Analyse `source` in a session of its own, which begins as soon as the models are there.

        The source, and `at_end`, which is called when nobody reads the source any more, are taken
        over in any case.

        Args:
            name: of the person, or of what is played.
            room: of the call it belongs to.
            owner: the guest whom it shows; None: the host.
            connecting: whether its media has yet to find its way; until then it takes no place.

        Raises:
            ApiError: too many sessions are running, or the models could not be loaded.
        """
        try:
            await self.admit(owner)
        except BaseException:
            await source.aclose()
            at_end()
            raise
        hosted = Hosted(
            source,
            self.settings,
            self.store,
            kind=kind,
            name=shown(name),
            room=room,
            owner=owner,
            at_end=at_end,
        )
        hosted.connecting = connecting
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

    async def correct(self, id: str, correction: Correction) -> AnySession:
        """Tell something of a speaker of a session, which runs or has ended; gives the session.

        Raises:
            ApiError: there is no such session or speaker, or the store cannot be written now.
        """
        session = self.get(id)
        if isinstance(session, Hosted) and await session.correct_running(correction):
            return session
        await self.add(id, correction)
        return self.get(id)

    async def add(self, id: str, addition: Addition) -> list[Event]:
        """Tell something of a session, which runs or has ended; gives the events that tell it.

        Raises:
            ApiError: there is no such session, it cannot be so, or the store cannot be written now.
        """
        async with self._adding.setdefault(id, asyncio.Lock()):
            return await self.get(id).add(addition)

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
            when = datetime.now(timezone.utc) - keep
            # One after the other: what is live does not wait for thousands that are old.
            for id in await asyncio.to_thread(self.store.ended_before, when):
                try:
                    await self.forget(id)
                except Exception as error:
                    logger.error("an old session is still kept: %s", error)
            await asyncio.sleep(TIDY_EVERY_S)

    def _make_room(self) -> None:
        ended = [hosted.id for hosted in self._sessions.values() if hosted.state == "ended"]
        for id in ended[: max(0, len(ended) - self.settings.limits.max_ended)]:
            del self._sessions[id]

    async def _load_models(self) -> None:
        try:
            self.analyzer, self.max_sessions = await load_in_thread(self._load_and_measure)
            self.state = "ready"
        except (UsageError, ImportError) as error:
            self.problem = str(unloadable(error) if isinstance(error, ImportError) else error)
            logger.error("the models cannot be loaded: %s", self.problem)
            self.state = "failed"
        except Exception as error:
            logger.exception("the models cannot be loaded")
            self.state, self.problem = "failed", f"the models cannot be loaded: {error!r}"
        # What stays to the end need not be looked through by each collection: 130 ms of the loop.
        gc.freeze()
        # What connections leave behind is collected in thousands of objects, 10 to 30 ms of the
        # loop. With Python's (700, 10, 10) it was tens of thousands, and up to 200 ms.
        gc.set_threshold(700, 2, 1)

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
        """The models, and how many live streams they may serve here."""
        load_vad()  # otherwise the first session would, in the event loop
        analyzer = self._load()
        return analyzer, self.settings.limits.max_sessions or analyzer.capacity()


AnySession: TypeAlias = Hosted | Kept
"""What has an id here: it runs or has just ended, or only the store knows it."""


def _order(session: AnySession) -> tuple[datetime, str]:
    return session.started, session.id
