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
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import filelock

from models.errors import UsageError
from realtime.events import Event, UtteranceResult, parse_event
from realtime.stored import (
    COLUMNS,
    NO_TABLE,
    TABLES,
    NotStored,
    Statement,
    StoredSession,
    UtteranceInputs,
    appending,
    as_value,
    cutting_off,
    events_table,
    media_table,
    read_session,
    why_not_stored,
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
        values = tuple(as_value(getattr(session, name)) for name in COLUMNS)
        marks = ", ".join("?" * len(values))
        about = json.dumps({"name": as_value(session.name), "source": as_value(session.source)})
        statements: list[Statement] = [
            (f"INSERT OR IGNORE INTO sessions VALUES ({marks})", values),
            (
                f"CREATE TABLE IF NOT EXISTS {events_table(session.id)}"
                " (seq INTEGER PRIMARY KEY, type TEXT NOT NULL, json TEXT NOT NULL)",
                (),
            ),
            (f"INSERT OR IGNORE INTO {events_table(session.id)} VALUES (0, 'about', ?)", (about,)),
        ]
        if session.recorded:
            statements.append(
                (
                    f"CREATE TABLE IF NOT EXISTS {media_table(session.id)}"
                    " (utterance INTEGER PRIMARY KEY, inputs TEXT NOT NULL, sound BLOB NOT NULL)",
                    (),
                )
            )
        return self._put(_Write(statements, waits="always"))

    def append(self, id: str, seq: int, event: Event) -> Future[NotStored | None]:
        """Keep an event of session `id` under its number."""
        return self._put(_Write(appending(id, seq, event)))

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
        insert = f"INSERT OR IGNORE INTO {media_table(id)} VALUES (?, ?, ?)"
        return self._put(_Write([(insert, (utterance, text, sound))], waits="never"))

    def delete(self, id: str) -> Future[NotStored | None]:
        """Delete a session: nothing it told is left in the file, or in the log beside it."""
        statements: list[Statement] = [
            ("DELETE FROM sessions WHERE id = ?", (id,)),
            (f"DROP TABLE IF EXISTS {events_table(id)}", ()),
            (f"DROP TABLE IF EXISTS {media_table(id)}", ()),
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
                f"SELECT seq, json FROM {events_table(id)} WHERE seq > ? ORDER BY seq LIMIT ?",
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
            f"SELECT json FROM {events_table(id)} WHERE type = 'utterance.result'"
            " AND json_extract(json, '$.utterance') = ?",
            utterance,
        )
        return UtteranceResult.model_validate_json(rows[0][0]) if rows else None

    def inputs(self, id: str, utterance: int) -> UtteranceInputs | None:
        """What the model was given for an utterance, where that was kept."""
        rows = self._read(f"SELECT inputs FROM {media_table(id)} WHERE utterance = ?", utterance)
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
        rows = self._read(f"SELECT sound FROM {media_table(id)} WHERE utterance = ?", utterance)
        return bytes(rows[0][0]) if rows else b""

    def _sessions(self, clause: str, *values: object) -> list[StoredSession]:
        found = []
        for row in self._read(f"SELECT {', '.join(COLUMNS)} FROM sessions {clause}", *values):
            # Nothing there: it has just been deleted.
            for (about,) in self._read(f"SELECT json FROM {events_table(row[0])} WHERE seq = 0"):
                found.append(read_session(row, about))
        return found

    def _read(self, statement: str, *values: object) -> list[Any]:
        with self._reading:
            if self._closed:
                return []
            try:
                return self._reader.execute(statement, [*map(as_value, values)]).fetchall()
            except sqlite3.OperationalError as error:
                if NO_TABLE in str(error):  # there is no such session, or no media of it
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
            self._problem = why_not_stored(error)
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
            if isinstance(error, sqlite3.OperationalError) and NO_TABLE not in str(error):
                raise
            # This one can never be written: it must not keep the others out.
            logger.exception("something cannot be kept in %s", self.path)
            write.problem = why_not_stored(error)

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
        for statement in TABLES:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
    for (id,) in db.execute("SELECT id FROM sessions WHERE reason IS NULL").fetchall():
        for statement, values in cutting_off(db, id):
            db.execute(statement, values)
    db.execute("COMMIT")
