"""A session that is over, out of the store; and how any session is told to clients.

In: a row of the store. Out: `Kept`, which answers as a `Hosted` session does that has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from typing import Literal, Protocol, TypeAlias, cast

from typing_extensions import TypedDict  # pydantic, which documents it, wants this one

from realtime.events import EndReason, Event, UtteranceResult
from realtime.reading import read_events
from realtime.storage.store import SessionStore
from realtime.storage.values import StoredSession, UtteranceInputs
from web.errors import ApiError
from web.observability.logs import log_event
from web.sessions.pausing import Pausing, Who

Kind: TypeAlias = Literal["camera", "upload", "source", "call", "ingest"]

State: TypeAlias = Literal["waiting", "running", "ended"]
_PAGE = 1000  # events read at once for those who follow
_LAST = 2**63 - 1  # the highest number that SQLite knows


class Session(TypedDict):
    """A session as the HTTP interface tells it. Times are in seconds of media time; `reason` is why
    it has ended; `recorded` is whether the sound and the faces of its utterances are kept, and
    `film` whether there is a film of it, which there is after the end. `paused_by` tells who has
    paused the analysis: the person, the host or both."""

    id: str
    kind: Kind
    name: str
    source: str
    state: State
    room: str | None
    started: str
    duration: float | None
    time: float
    utterances: int
    last_seq: int
    paused: bool
    paused_by: list[Who]
    reason: EndReason | None
    recorded: bool
    film: bool


class Addition(Protocol):
    """What somebody adds to what a session told: a name for a speaker, say, or a note."""

    def events(self, session: str, time: float, told: Iterable[Event]) -> list[Event]:
        """The events that tell it; `ApiError` if it cannot be so.

        Args:
            session: its id.
            time: media seconds that it has come to.
            told: all its events.
        """


class Kept:
    """A session that has ended, of which only the store knows.

    Attributes:
        id, kind, name, room, owner, source, started, state, ended, pausing, picture, watchers:
            as of a `Hosted` session.
    """

    state: State = "ended"
    picture = None
    watchers = 0

    def __init__(self, row: StoredSession, store: SessionStore) -> None:
        self.id = row.id
        self.kind = cast(Kind, row.kind)
        self.name = row.name
        self.room = row.room
        self.owner = row.owner
        self.source = row.source
        self.started = row.started
        self.pausing = Pausing(None)
        self.ended = asyncio.Event()
        self.ended.set()
        self._row = row
        self._store = store

    def read(self) -> Iterator[tuple[int, Event]]:
        """All that was told, each with its number, read from the disk as it is asked for."""
        return read_events(self._store, self.id)

    def result(self, utterance: int) -> UtteranceResult | None:
        """The result of one utterance."""
        return self._store.result(self.id, utterance)

    def inputs(self, utterance: int) -> UtteranceInputs | None:
        """What the model was given for an utterance, if that was recorded."""
        return self._store.inputs(self.id, utterance)

    def rest(self) -> None:
        """Nobody speaks any more: `ApiError`."""
        raise not_running()

    def stop(self) -> None:
        """It has ended already."""

    async def add(self, addition: Addition) -> list[Event]:
        """Tell something after the end, one addition at a time; gives the events that tell it.

        Raises:
            ApiError: it cannot be so, or the store cannot be written now.
        """

        def work_out() -> list[Event]:
            return addition.events(self.id, self._row.time, (event for _, event in self.read()))

        events = await asyncio.to_thread(work_out)
        for event in events:
            seq = self._row.last_seq + 1
            problem = await asyncio.wrap_future(
                self._store.append(self.id, seq, event, later=False)
            )
            if problem is not None:
                raise ApiError(503, problem.code, problem.message)
            self._row = replace(self._row, last_seq=seq)
            log_event(self.kind, event)
        return events

    async def follow(self, after: int = 0) -> AsyncIterator[tuple[int, Event]]:
        """All events after number `after`."""
        after = min(after, _LAST)
        while page := await asyncio.to_thread(self._store.events, self.id, after, _PAGE):
            for seq, event in page:
                yield seq, event
            after = page[-1][0]

    def to_json(self) -> Session:
        """What there is to say of the session."""
        row = self._row
        return {
            "id": row.id,
            "kind": self.kind,
            "name": row.name,
            "source": row.source,
            "state": self.state,
            "room": row.room,
            "started": row.started.isoformat(timespec="milliseconds"),
            "duration": row.duration,
            "time": row.time,
            "utterances": row.utterances,
            "last_seq": row.last_seq,
            "paused": False,
            "paused_by": [],
            "reason": cast("EndReason | None", row.reason),
            "recorded": row.recorded,
            "film": row.recorded and self._store.films.has(row.id),
        }


def not_running() -> ApiError:
    """Said of a session in which nothing is analysed, not yet or no more."""
    return ApiError(409, "not_running", "the session is not running")
