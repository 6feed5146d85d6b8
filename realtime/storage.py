"""The session store: one SQLite file that keeps what every session told.

In: sessions, their events and, where that is to be kept, what the model was given. Out: the same,
also after a restart. Writes are queued, and answered as soon as they are durable.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

import filelock

from models.errors import UsageError
from realtime.events import (
    AverageUpdated,
    Event,
    SessionEnded,
    UtteranceResult,
    WireAverage,
    parse_event,
)

logger = logging.getLogger(__name__)

VERSION = 1
"""Of the tables. A file of a newer version is refused; there is no older one yet."""

RETRY_S = 1.0
"""How often a file that could not be written is tried again."""

MAX_BEHIND = 100_000
"""Writes that wait in memory for a disk that is full; what comes after them is not kept."""

_BUSY_S = 1.0  # how long another program that looks into the file may hold up a write
_PAGE = 1000  # events read at once, so that other readers wait a few milliseconds at most

Statement: TypeAlias = tuple[str, tuple[object, ...]]
"""SQL, and its values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSession:
    """What is kept of a session beside its events.

    Attributes:
        kind, name, source, room, owner: as the server calls them.
        started: when it was asked for, UTC.
        duration: of its source in seconds, where that is known in advance.
        recorded: whether the sound and the faces of its utterances are kept.
        time: media seconds of its end; 0 while it runs.
        utterances: how many closed; 0 while it runs.
        last_seq: number of its last event; 0 while it runs.
        reason: why it ended; None while it runs.
    """

    id: str
    kind: str
    name: str
    source: str
    room: str | None
    owner: str | None
    started: datetime
    duration: float | None
    recorded: bool
    time: float = 0.0
    utterances: int = 0
    last_seq: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class UtteranceInputs:
    """What the model was given for one utterance, small enough to keep.

    Attributes:
        faces: media time in seconds and JPEG (160 x 160) of each face.
        waveform: lowest and highest sample of each of some equal parts.
        duration: seconds.
        frame: width and height, in pixels of the source, of the pictures in which the faces were
            found; None if there was no face.
    """

    faces: tuple[tuple[float, bytes], ...]
    waveform: tuple[tuple[float, float], ...]
    duration: float
    frame: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class NotStored:
    """Why something is not durable.

    Attributes:
        code: "store.full": the disk is; "store.failed": anything else.
        message: one line for a person.
    """

    code: Literal["store.full", "store.failed"]
    message: str


@dataclass(slots=True, eq=False)
class _Write:
    """One thing to write, and who waits for it."""

    statements: Sequence[Statement]
    # When it cannot be written now, and many such wait: "always" waits, too, "never" does not.
    waits: Literal["always", "perhaps", "never"] = "perhaps"
    erases: bool = False
    problem: NotStored | None = None
    stored: Future[NotStored | None] = field(default_factory=Future)


class SessionStore:
    """The file, open in this process alone.

    One thread owns the connection that writes. All that waits for it goes into one transaction, so
    that many events share the time that a disk takes to make them durable. What is written in
    order is told in order. Readers have a connection of their own, which never waits for the disk.

    What was said in a session, and by whom, lies in tables of its own, whose pages hold nothing
    else: when they are dropped, all of it is overwritten. Of tables that sessions share, SQLite
    leaves behind, whatever it is told, copies of rows that it has moved from page to page.

    What cannot be written, because the disk is full for example, is told as such at once, and
    tried again later: up to `MAX_BEHIND` writes, sound and faces left out.

    Opening marks the sessions of a server that was killed as cut off.

    Args:
        path: the file; made, with its folder, if it is missing.

    Raises:
        UsageError: the file cannot be used, or another server uses it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()
        self._reading = threading.Lock()
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._behind: list[_Write] = []
        self._problem: NotStored | None = None
        self._again_at = 0.0  # of the monotonic clock
        self._to_erase = False
        self._closed = False
        self._thread = threading.Thread(target=self._write_all, name="session store", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and close the file. Idempotent; afterwards nothing is found."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        with self._reading:
            self._reader.close()
        self._writer.close()
        self._lock.release()

    # --- writing: what is given becomes None when it is durable, or tells why it is not ---

    def begin(self, session: StoredSession) -> Future[NotStored | None]:
        """Keep a session that begins."""
        values = tuple(_value(getattr(session, name)) for name in _COLUMNS)
        marks = ", ".join("?" * len(values))
        about = json.dumps({"name": _value(session.name), "source": _value(session.source)})
        statements: list[Statement] = [
            (f"INSERT OR IGNORE INTO sessions VALUES ({marks})", values),
            (
                f"CREATE TABLE IF NOT EXISTS {_events(session.id)}"
                " (seq INTEGER PRIMARY KEY, type TEXT NOT NULL, json TEXT NOT NULL)",
                (),
            ),
            (f"INSERT OR IGNORE INTO {_events(session.id)} VALUES (0, 'about', ?)", (about,)),
        ]
        if session.recorded:
            statements.append(
                (
                    f"CREATE TABLE IF NOT EXISTS {_media(session.id)}"
                    " (utterance INTEGER PRIMARY KEY, inputs TEXT NOT NULL, sound BLOB NOT NULL)",
                    (),
                )
            )
        return self._put(_Write(statements, waits="always"))

    def append(self, id: str, seq: int, event: Event) -> Future[NotStored | None]:
        """Keep an event of session `id` under its number."""
        return self._put(_Write(_appending(id, seq, event)))

    def keep(
        self, id: str, utterance: int, inputs: UtteranceInputs, sound: bytes
    ) -> Future[NotStored | None]:
        """Keep what the model was given for an utterance of a session that is recorded.

        Args:
            sound: a WAV file, or empty.
        """
        text = json.dumps(
            {
                "faces": [(at, base64.b64encode(data).decode()) for at, data in inputs.faces],
                "waveform": inputs.waveform,
                "duration": inputs.duration,
                "frame": inputs.frame,
            }
        )
        insert = f"INSERT OR IGNORE INTO {_media(id)} VALUES (?, ?, ?)"
        return self._put(_Write([(insert, (utterance, text, sound))], waits="never"))

    def delete(self, id: str) -> Future[NotStored | None]:
        """Delete a session: nothing it told is left in the file, or in the log beside it."""
        statements: list[Statement] = [
            ("DELETE FROM sessions WHERE id = ?", (id,)),
            (f"DROP TABLE IF EXISTS {_events(id)}", ()),
            (f"DROP TABLE IF EXISTS {_media(id)}", ()),
        ]
        return self._put(_Write(statements, waits="always", erases=True))

    # --- reading ---

    def session(self, id: str) -> StoredSession | None:
        """One session."""
        return next(iter(self._sessions("WHERE id = ?", id)), None)

    def sessions(
        self, most: int, before: tuple[datetime, str] | None = None
    ) -> list[StoredSession]:
        """Up to `most` sessions, newest first; of those before a start and id, if that is given."""
        newest = "ORDER BY started DESC, id DESC LIMIT ?"
        if before is None:
            return self._sessions(newest, most)
        return self._sessions(f"WHERE (started, id) < (?, ?) {newest}", *before, most)

    def in_room(self, room: str) -> list[StoredSession]:
        """All sessions of one call, oldest first."""
        return self._sessions("WHERE room = ? ORDER BY started, id", room)

    def ended_before(self, when: datetime) -> list[StoredSession]:
        """Those that began before `when` and run no more."""
        return self._sessions("WHERE started < ? AND reason IS NOT NULL", when)

    def events(self, id: str, after: int = 0, most: int | None = None) -> list[tuple[int, Event]]:
        """The events of a session after number `after`; at most the first `most` of them."""
        found: list[tuple[int, Event]] = []
        while most is None or len(found) < most:
            rows = self._read(
                f"SELECT seq, json FROM {_events(id)} WHERE seq > ? ORDER BY seq LIMIT ?",
                after,
                _PAGE if most is None else min(_PAGE, most - len(found)),
            )
            if not rows:
                break
            found += [(seq, parse_event(text)) for seq, text in rows]
            after = rows[-1][0]
        return found

    def result(self, id: str, utterance: int) -> UtteranceResult | None:
        """The result of one utterance."""
        rows = self._read(
            f"SELECT json FROM {_events(id)} WHERE type = 'utterance.result'"
            " AND json_extract(json, '$.utterance') = ?",
            utterance,
        )
        return UtteranceResult.model_validate_json(rows[0][0]) if rows else None

    def inputs(self, id: str, utterance: int) -> UtteranceInputs | None:
        """What the model was given for an utterance, where that was kept."""
        rows = self._read(f"SELECT inputs FROM {_media(id)} WHERE utterance = ?", utterance)
        if not rows:
            return None
        kept = json.loads(rows[0][0])
        return UtteranceInputs(
            faces=tuple((at, base64.b64decode(data)) for at, data in kept["faces"]),
            waveform=tuple((low, high) for low, high in kept["waveform"]),
            duration=kept["duration"],
            frame=kept["frame"] and tuple(kept["frame"]),
        )

    def sound(self, id: str, utterance: int) -> bytes:
        """What was heard of an utterance, a WAV file; empty where nothing was, or was kept."""
        rows = self._read(f"SELECT sound FROM {_media(id)} WHERE utterance = ?", utterance)
        return bytes(rows[0][0]) if rows else b""

    def _sessions(self, clause: str, *values: object) -> list[StoredSession]:
        found = []
        for row in self._read(f"SELECT {', '.join(_COLUMNS)} FROM sessions {clause}", *values):
            # Nothing there: it has just been deleted.
            for (about,) in self._read(f"SELECT json FROM {_events(row[0])} WHERE seq = 0"):
                found.append(_session(row, about))
        return found

    def _read(self, statement: str, *values: object) -> list[Any]:
        with self._reading:
            if self._closed:
                return []
            try:
                return self._reader.execute(statement, [*map(_value, values)]).fetchall()
            except sqlite3.OperationalError as error:
                if _NO_TABLE in str(error):  # there is no such session, or no media of it
                    return []
                raise

    # --- opening ---

    def _open(self) -> None:
        remedy = "choose another file with --store"
        self._lock = filelock.FileLock(
            f"{self.path}.lock", timeout=0, mode=0o600, thread_local=False
        )
        try:
            with ExitStack() as undo:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
                undo.callback(self._lock.release)
                # It holds what people said: nobody else may read it.
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
                self._writer = _connect(self.path)
                undo.callback(self._writer.close)
                _check(self._writer, self.path)
                _prepare(self._writer)
                self._reader = _connect(self.path)
                self._reader.execute("PRAGMA query_only = ON")
                undo.pop_all()
        except filelock.Timeout:
            raise UsageError(
                f"{self.path} is in use by another server: end that one, or {remedy}"
            ) from None
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(
                f"the sessions cannot be kept in {self.path} ({reason}): {remedy}"
            ) from None

    # --- the thread that writes ---

    def _put(self, write: _Write) -> Future[NotStored | None]:
        if self._closed:
            write.stored.set_result(NotStored("store.failed", "the session store is closed"))
        else:
            self._queue.put(write)
        return write.stored

    def _write_all(self) -> None:
        going = True
        while going:
            group = self._next_group()
            going = None not in group
            writes = [write for write in group if write is not None]
            if writes and going and time.monotonic() < self._again_at:
                self._put_off(writes)
            else:
                self._commit(writes)
            if self._to_erase and (not group or any(write.erases for write in writes)):
                self._erase()
            for write in writes:
                write.stored.set_result(write.problem)

    def _next_group(self) -> list[_Write | None]:
        """All that waits, as soon as something does; nothing when it is time to try again."""
        again = self._behind or self._to_erase
        try:
            group = [self._queue.get(timeout=RETRY_S if again else None)]
        except queue.Empty:
            return []
        with suppress(queue.Empty):
            while True:
                group.append(self._queue.get_nowait())
        return group

    def _commit(self, writes: list[_Write]) -> None:
        """Make all that was put off, and `writes`, durable; or put it off."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for write in (*self._behind, *writes):
                self._execute(write)
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            if self._problem is None:
                logger.error("the sessions cannot be kept in %s: %s", self.path, error)
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")  # which SQLite has perhaps done itself
            self._problem = _problem(error)
            self._again_at = time.monotonic() + RETRY_S
            self._put_off(writes)
        else:
            if self._problem is not None:
                logger.warning("the sessions can be kept in %s again", self.path)
            self._to_erase |= any(write.erases for write in (*self._behind, *writes))
            self._behind.clear()
            self._problem, self._again_at = None, 0.0

    def _execute(self, write: _Write) -> None:
        try:
            for statement, values in write.statements:
                self._writer.execute(statement, values)
        except Exception as error:
            if isinstance(error, sqlite3.OperationalError) and _NO_TABLE not in str(error):
                raise
            # This one can never be written: it must not keep the others out.
            logger.exception("something cannot be kept in %s", self.path)
            write.problem = _problem(error)

    def _put_off(self, writes: list[_Write]) -> None:
        for write in writes:
            write.problem = self._problem
            room = write.waits == "perhaps" and len(self._behind) < MAX_BEHIND
            if room or write.waits == "always":
                self._behind.append(write)

    def _erase(self) -> None:
        """Empty the log, in which deleted words may stand still."""
        with suppress(sqlite3.Error):
            (busy, *_) = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._to_erase = bool(busy)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA temp_store = MEMORY")  # nothing that was said goes into other files
    return db


def _check(db: sqlite3.Connection, path: Path) -> None:
    """Raise a `UsageError` unless the file is ours, or empty."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise UsageError(
            f"{path} was written by a newer version of this program: use that, or choose another "
            "file with --store"
        )
    if version == 0 and db.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise UsageError(
            f"{path} is a database of another program: choose another file with --store"
        )


def _prepare(db: sqlite3.Connection) -> None:
    """Make the tables if they are missing, and end the sessions that a killed server left."""
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")  # what was told outlives a power cut, too
    db.execute("PRAGMA secure_delete = ON")
    db.execute("BEGIN IMMEDIATE")
    if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
        for statement in _TABLES:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
    for (id,) in db.execute("SELECT id FROM sessions WHERE reason IS NULL").fetchall():
        for statement, values in _cutting_off(db, id):
            db.execute(statement, values)
    db.execute("COMMIT")


def _cutting_off(db: sqlite3.Connection, id: str) -> list[Statement]:
    """Tell the end of a session that ran when its server was killed."""
    last_seq, at = db.execute(
        f"SELECT max(seq), max(json_extract(json, '$.time')) FROM {_events(id)}"
    ).fetchone()
    (utterances,) = db.execute(
        f"SELECT count(*) FROM {_events(id)} WHERE type IN ('utterance.result', 'utterance.failed')"
    ).fetchone()
    average = db.execute(
        f"SELECT json FROM {_events(id)} WHERE type = 'average.updated' ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    ended = SessionEnded(
        session=id,
        time=at or 0.0,
        reason="cut_off",
        utterances=utterances,
        average=WireAverage.of(average and AverageUpdated.model_validate_json(average[0])),
    )
    return _appending(id, last_seq + 1, ended)


def _appending(id: str, seq: int, event: Event) -> list[Statement]:
    statements: list[Statement] = [
        # A transaction of which nobody knows whether it came through may be written again.
        (
            f"INSERT OR IGNORE INTO {_events(id)} VALUES (?, ?, ?)",
            (seq, event.type, event.model_dump_json()),
        )
    ]
    if isinstance(event, SessionEnded):
        statements.append(
            (
                "UPDATE sessions SET time = ?, utterances = ?, last_seq = ?, reason = ?"
                " WHERE id = ?",
                (event.time, event.utterances, seq, event.reason, id),
            )
        )
    return statements


def _value(value: object) -> object:
    """As SQLite takes it: times as text that sorts, text without what UTF-8 has not."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _events(id: str) -> str:
    """The table of what session `id` told; number 0 is what the session is called."""
    return _table(f"events_{id}")


def _media(id: str) -> str:
    """The table of what the model was given, of a session that is recorded."""
    return _table(f"media_{id}")


def _table(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""').replace("\0", ""))


def _session(row: Sequence[Any], about: str) -> StoredSession:
    values = dict(zip(_COLUMNS, row, strict=True)) | json.loads(about)
    values["started"] = datetime.fromisoformat(values["started"])
    values["recorded"] = bool(values["recorded"])
    return StoredSession(**values)


def _problem(error: Exception) -> NotStored:
    if "full" in str(error):  # SQLite's word; its code is known from Python 3.11 on
        return NotStored(
            "store.full", "the disk is full: what is told from now on may be lost with the server"
        )
    return NotStored(
        "store.failed",
        f"the session cannot be kept ({error}): what is told from now on may be lost with the "
        "server",
    )


_NO_TABLE = "no such table"  # SQLite's words

_COLUMNS = tuple(
    column.name for column in fields(StoredSession) if column.name not in ("name", "source")
)

_TABLES = (
    """CREATE TABLE sessions (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, room TEXT, owner TEXT, started TEXT NOT NULL,
        duration REAL, recorded INTEGER NOT NULL, time REAL NOT NULL, utterances INTEGER NOT NULL,
        last_seq INTEGER NOT NULL, reason TEXT
    )""",
    "CREATE INDEX sessions_by_start ON sessions (started, id)",
    "CREATE INDEX sessions_by_room ON sessions (room) WHERE room IS NOT NULL",
)
