"""What was found, read back: the events of a stored session one by one, and tables for pandas.

In: a store, or a file of events (JSON Lines). Out: `Results`, and the `Recorded` sessions in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pydantic import ValidationError

from models.errors import UsageError
from realtime.events import Event, SessionStarted, parse_event
from realtime.formats.findings import gather
from realtime.formats.tables import (
    FACES,
    NOTES,
    SOUNDS,
    UTTERANCES,
    Columns,
    Row,
    face_rows,
    note_rows,
    sound_rows,
    utterance_rows,
)
from realtime.storage.store import SessionStore
from realtime.storage.values import StoredSession

if TYPE_CHECKING:
    from pandas import DataFrame

PAGE = 25
"""Events read at once. Those of a larger page outlive the collector's first generations, and it
looks through the whole memory of the server again and again."""

UNKNOWN = datetime.fromtimestamp(0, timezone.utc)
"""When a session began of which nobody has said it."""

_SQLITE = b"SQLite format 3\0"


class Results:
    """What is in a store, or in a file of events: ``Results.load("session.sqlite").utterances()``.

    A store must not be in use by a server. Each table is read anew when it is asked for.

    Args:
        path: of the store, or of the file.
        session: of this session alone.
    """

    def __init__(self, path: Path, session: str | None = None) -> None:
        self._path = path
        self._session = session

    @classmethod
    def load(cls, path: str | Path, session: str | None = None) -> Results:
        """The results in a file.

        Raises:
            UsageError: it cannot be read, is something else, or does not know that session.
        """
        results = cls(Path(path), session)
        with results.sessions():
            return results

    def utterances(self) -> DataFrame:
        """One row an utterance; the columns are `realtime.formats.tables.UTTERANCES`."""
        with self.sessions() as sessions:
            return _table(UTTERANCES, utterance_rows(gather(sessions, {})))

    def faces(self) -> DataFrame:
        """One row a face; the columns are `realtime.formats.tables.FACES`."""
        with self.sessions() as sessions:
            return _table(FACES, face_rows(gather(sessions, {})))

    def sounds(self) -> DataFrame:
        """One row a sound; the columns are `realtime.formats.tables.SOUNDS`."""
        with self.sessions() as sessions:
            return _table(SOUNDS, sound_rows(gather(sessions, {})))

    def notes(self) -> DataFrame:
        """One row a note; the columns are `realtime.formats.tables.NOTES`."""
        with self.sessions() as sessions:
            return _table(NOTES, note_rows(gather(sessions, {})))

    def events(self) -> DataFrame:
        """One row an event, as it was told; the columns are the fields of all its kinds."""
        with self.sessions() as sessions:
            told = (event for session in sessions for _, event in session.read())
            return _pandas().DataFrame([event.model_dump(mode="json") for event in told])

    @contextmanager
    def sessions(self) -> Iterator[list[Recorded]]:
        """The sessions, oldest first, which can be read while this lasts."""
        try:
            file = self._path.open("rb")
        except OSError as error:
            raise UsageError(f"{self._path} cannot be read ({error.strerror})") from None
        with file:
            stored = file.read(len(_SQLITE)) == _SQLITE
            if not stored:
                yield self._chosen(_in_file(file, self._path))
        if stored:
            with closing(SessionStore(self._path)) as store:
                yield self._chosen(_in_store(store))

    def _chosen(self, sessions: list[Recorded]) -> list[Recorded]:
        chosen = [one for one in sessions if self._session in (None, one.id)]
        if self._session is not None and not chosen:
            raise UsageError(f"{self._path} has no session {self._session}")
        return chosen


@dataclass(frozen=True)
class Recorded:
    """A session out of a store or a file.

    Attributes:
        name, kind, source, started, time: as of a `StoredSession`.
        read: gives its events, each with its number, anew each time it is called.
    """

    id: str
    name: str
    kind: str
    source: str
    started: datetime
    time: float
    read: Callable[[], Iterator[tuple[int, Event]]]

    def to_json(self) -> dict[str, Any]:
        """What there is to say of it."""
        began = self.started.isoformat(timespec="milliseconds")
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.name,
            "source": self.source,
            "started": began if self.started != UNKNOWN else None,
            "time": self.time,
        }


def read_events(store: SessionStore, id: str) -> Iterator[tuple[int, Event]]:
    """The events of a session, each with its number, read as they are asked for."""
    after = 0
    while page := store.events(id, after, PAGE):
        yield from page
        after = page[-1][0]


def _in_store(store: SessionStore) -> list[Recorded]:
    rows: list[StoredSession] = []
    before = None
    while page := store.sessions(1000, before):
        rows += page
        before = page[-1].started, page[-1].id
    return [
        Recorded(
            id=row.id,
            name=row.name,
            kind=row.kind,
            source=row.source,
            started=row.started,
            time=row.time,
            read=partial(read_events, store, row.id),
        )
        for row in reversed(rows)
    ]


def _in_file(file: BinaryIO, path: Path) -> list[Recorded]:
    """The sessions of a file, which tells them one after the other, but not when they began."""
    parts: dict[str, tuple[int, int]] = {}  # of the file, in bytes
    names: dict[str, str] = {}
    times: dict[str, float] = {}
    file.seek(0)
    offset = 0
    for number, line in enumerate(file, 1):
        try:
            event = parse_event(line)
        except ValidationError:
            if parts and not line.endswith(b"\n"):
                break  # it is being written
            raise UsageError(
                f"{path} is no store of sessions, and its line {number} is no event: give a store, "
                "or a file that --events wrote"
            ) from None
        id = event.session
        begin, _ = parts.get(id, (offset, offset))
        offset += len(line)
        parts[id] = begin, offset
        times[id] = max(times.get(id, 0.0), event.time)
        if isinstance(event, SessionStarted):
            names[id] = event.source
    return [
        Recorded(
            id=id,
            name=names.get(id, path.name),
            kind="source",
            source=names.get(id, path.name),
            started=UNKNOWN,
            time=times[id],
            read=partial(_part, file, *part),
        )
        for id, part in parts.items()
    ]


def _part(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[int, Event]]:
    number = 0
    while begin < end:
        file.seek(begin)  # others may read between
        line = file.readline()
        begin += len(line)
        number += 1
        yield number, parse_event(line)


def _table(columns: Columns, rows: Iterable[Row]) -> DataFrame:
    kinds = {str: "string", int: "Int64", float: "float64", bool: "bool"}
    table = _pandas().DataFrame(list(rows), columns=[*columns])
    return table.astype({name: kinds[kind] for name, kind in columns.items()})


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise UsageError(
            "tables need pandas, which is not installed: pip install pandas"
        ) from error
    return pandas
