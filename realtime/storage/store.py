"""The session store: one SQLite file that keeps what every session told.

In: sessions, their events and, where that is to be kept, what the model was given. Out: the same,
also after a restart. Writes are queued, and answered as soon as they are durable.
"""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import filelock

from models.errors import UsageError
from realtime.events import Event, UtteranceResult, parse_event
from realtime.storage.connections import BUSY_S, Reader, connect, make_private
from realtime.storage.films import Films
from realtime.storage.keys import SessionKey, SessionKeys
from realtime.storage.tables import SessionTables, as_value, transaction
from realtime.storage.values import (
    NotStored,
    StoredSession,
    UnkeepableError,
    UtteranceInputs,
    why_not_stored,
)
from realtime.storage.versions import bring_up_to_date, check, check_keys

logger = logging.getLogger(__name__)

RETRY_S = 1.0
"""How often a file that could not be written is tried again."""

MAX_BEHIND = 100_000
"""Writes that wait in memory for a disk that is full; what comes after them is not kept."""

SLICE_S = 0.02
"""How long, at most, what is left of deleted sessions is removed at a time."""

_PAGE = 1000  # events read at once, so that other readers wait a few milliseconds at most


@dataclass(slots=True, eq=False)
class _Write:
    """One thing to write, and who waits for it.

    Attributes:
        act: writes it, within a transaction.
        waits: when it cannot be written now, and many such wait: "always" waits, too, "never" does
            not.
        deletes: the session that it deletes.
    """

    act: Callable[[], None]
    waits: Literal["always", "perhaps", "never"] = "perhaps"
    deletes: str | None = None
    problem: NotStored | None = None
    stored: Future[NotStored | None] = field(default_factory=Future)


class SessionStore:
    """The file, open in this process alone, and beside it the file of keys.

    One thread owns the connection that writes. All that waits for it goes into one transaction, so
    that many events share the time that a disk takes to make them durable. What is written in
    order is told in order. Readers never wait for the disk. A lookup of one session, which an event
    loop waits for, has a connection of its own, and so does not wait for those who read much.

    What cannot be written, because the disk is full for example, is told as such at once, and
    tried again later: up to `MAX_BEHIND` writes, sound and faces left out.

    All that was said in a session, and by whom, is sealed with a key of its own, which lies in a
    file of its own. Deleting the session overwrites that key: then it is gone for readers, on the
    disk, and after any kill. The rows that nobody can read any more are removed after that, a few
    at a time, and only while nothing else waits to be written.

    Opening marks the sessions of a server that was killed as cut off, and makes of a file of an
    earlier version one of this.

    Args:
        path: the file; made, with its folder, if it is missing. A symbolic link is followed.

    Attributes:
        path: the file itself, whatever links led to it.
        films: what is kept of the media of whole sessions, in a folder beside the file.

    Raises:
        UsageError: the file cannot be used, or another server uses it.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))
        self._open()
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._behind: list[_Write] = []
        self._problem: NotStored | None = None
        self._again_at = 0.0  # of the monotonic clock
        self.films = Films(Path(f"{self.path}.films"), self._held)
        self._to_sweep = self._to_remove = True  # perhaps a killed server left something
        self._remove_at = 0.0
        self._closed = False
        self._thread = threading.Thread(target=self._write_all, name="session store", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and close the file. Idempotent; afterwards nothing is found.

        What is left of deleted sessions is removed when the file is opened again.
        """
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        for reader in (self._lookup, self._reader):
            with reader.turn:
                reader.db.close()
        self._writer.close()
        self._keys.close()
        self._lock.release()

    # --- writing: what is given becomes None when it is durable, or tells why it is not ---

    def begin(self, session: StoredSession) -> Future[NotStored | None]:
        """Keep a session that begins."""
        act = partial(self._written.begin, session, SessionKey.new())
        return self._put(_Write(act, waits="always"))

    def append(
        self, id: str, seq: int, event: Event, *, later: bool = True
    ) -> Future[NotStored | None]:
        """Keep an event of session `id` under its number.

        Args:
            later: if it cannot be written now, it waits in memory, and is when it can.
        """
        act = partial(self._written.append, id, seq, event)
        return self._put(_Write(act, waits="perhaps" if later else "never"))

    def keep(
        self, id: str, utterance: int, inputs: UtteranceInputs, sound: bytes
    ) -> Future[NotStored | None]:
        """Keep what the model was given for an utterance of a session that is recorded.

        Args:
            sound: a WAV file, or empty.
        """
        act = partial(self._written.keep, id, utterance, inputs, sound)
        return self._put(_Write(act, waits="never"))

    def delete(self, id: str) -> Future[NotStored | None]:
        """Delete a session: when this is told, nobody can find or read any more what it told."""
        return self._put(_Write(partial(self._written.delete, id), waits="always", deletes=id))

    # --- reading ---

    def session(self, id: str) -> StoredSession | None:
        """One session."""
        return next(iter(self._sessions(self._lookup, "WHERE id = ?", id)), None)

    def sessions(
        self, most: int, before: tuple[datetime, str] | None = None
    ) -> list[StoredSession]:
        """Up to `most` sessions, newest first; of those before a start and id, if that is given."""
        newest = "ORDER BY started DESC, id DESC"
        if before is None:
            return self._sessions(self._reader, newest, most=most)
        older = f"WHERE (started, id) < (?, ?) {newest}"
        return self._sessions(self._reader, older, *before, most=most)

    def in_room(self, room: str) -> list[StoredSession]:
        """All sessions of one call, oldest first."""
        return self._sessions(self._reader, "WHERE room = ? ORDER BY started, id", room)

    def ended_before(self, when: datetime) -> list[str]:
        """The ids of those that began before `when` and run no more, oldest first."""
        with self._reader.turn:
            if self._closed:
                return []
            rows = self._reader.db.execute(
                "SELECT id, number FROM sessions WHERE started < ? AND reason IS NOT NULL"
                " ORDER BY started",
                (as_value(when),),
            )
            return [id for id, number in rows if self._keys.of(number) is not None]

    def events(self, id: str, after: int = 0, most: int | None = None) -> list[tuple[int, Event]]:
        """The events of a session after number `after`; at most the first `most` of them."""
        found: list[tuple[int, Event]] = []
        while most is None or len(found) < most:
            rows = self._read(
                id,
                "SELECT seq, content FROM events WHERE session = ? AND seq > ?"
                " ORDER BY seq LIMIT ?",
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
            id, "SELECT content FROM events WHERE session = ? AND utterance = ?", utterance
        )
        return UtteranceResult.model_validate_json(rows[0][0]) if rows else None

    def inputs(self, id: str, utterance: int) -> UtteranceInputs | None:
        """What the model was given for an utterance, where that was kept."""
        rows = self._read(
            id, "SELECT inputs FROM media WHERE session = ? AND utterance = ?", utterance
        )
        return UtteranceInputs.from_json(rows[0][0]) if rows else None

    def sound(self, id: str, utterance: int) -> bytes:
        """What was heard of an utterance, a WAV file; empty where nothing was, or was kept."""
        rows = self._read(
            id, "SELECT sound FROM media WHERE session = ? AND utterance = ?", utterance
        )
        return bytes(rows[0][0]) if rows else b""

    def _held(self, id: str) -> tuple[int, SessionKey] | None:
        with self._lookup.turn:
            return None if self._closed else self._lookup.tables.held(id)

    def _sessions(
        self, reader: Reader, clause: str, *values: object, most: int | None = None
    ) -> list[StoredSession]:
        with reader.turn:
            if self._closed:
                return []
            with closing(reader.tables.sessions(clause, *values)) as found:
                return [*islice(found, most)]

    def _read(self, id: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a session that is there; what is sealed in them is opened."""
        with self._reader.turn:
            held = None if self._closed else self._reader.tables.held(id)
            if held is None:
                return []
            number, key = held
            rows = self._reader.db.execute(statement, (number, *values)).fetchall()
        return [
            tuple(key.open(value) if isinstance(value, bytes) else value for value in row)
            for row in rows
        ]

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
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
                if os.stat(self.path).st_nlink > 1:
                    # SQLite names its log after the file: by another name, it would be missed.
                    raise UsageError(
                        f"{self.path} has another name (a hard link), by which another server "
                        f"could use it: remove that name, or {remedy}"
                    )
                make_private(self.path)
                self._writer = connect(self.path)
                undo.callback(self._writer.close)
                check(self._writer, self.path)
                self._keys = SessionKeys(Path(f"{self.path}.keys"))
                undo.callback(self._keys.close)
                self._written = SessionTables(self._writer, self._keys)
                self._prepare()
                self._lookup = Reader(self.path, self._keys)
                undo.callback(self._lookup.db.close)
                self._reader = Reader(self.path, self._keys)
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

    def _prepare(self) -> None:
        db = self._writer
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # what was told outlives a power cut, too
        db.execute("PRAGMA secure_delete = ON")  # earlier versions did not seal what they kept
        bring_up_to_date(db, self._keys, self.path)
        check_keys(self._written, self.path)
        with transaction(db):
            self._written.recover()
        # Overwrites only pages that are written anyway: the rest of what is deleted is sealed.
        db.execute("PRAGMA secure_delete = FAST")

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
            if going and time.monotonic() < self._again_at:
                self._put_off(writes)
            elif writes or self._behind:
                self._commit(writes)
            for write in writes:
                write.stored.set_result(write.problem)
            if self._to_sweep:
                self._to_sweep = False
                self.films.sweep(self._keys)
            if going and self._to_remove and time.monotonic() >= self._remove_at:
                self._remove_some()

    def _next_group(self) -> list[_Write | None]:
        """All that waits, as soon as something does; nothing when there is other work to do."""
        wait = RETRY_S if self._behind else None
        if self._to_remove:
            wait = max(0.0, self._remove_at - time.monotonic())
        try:
            group = [self._queue.get(timeout=wait)]
        except queue.Empty:
            return []
        with suppress(queue.Empty):
            while True:
                group.append(self._queue.get_nowait())
        return group

    def _commit(self, writes: list[_Write]) -> None:
        """Make all that was put off, and `writes`, durable; or put it off."""
        try:
            with transaction(self._writer):
                for write in (*self._behind, *writes):
                    self._execute(write)
                self._keys.sync()  # no row is durable before its key is
        except (sqlite3.Error, OSError) as error:
            if self._problem is None:
                logger.error("the sessions cannot be kept in %s: %s", self.path, error)
            self._problem = why_not_stored(error)
            self._again_at = time.monotonic() + RETRY_S
            self._put_off(writes)
        else:
            if self._problem is not None:
                logger.warning("the sessions can be kept in %s again", self.path)
            self._to_remove |= any(write.deletes for write in (*self._behind, *writes))
            self._behind.clear()
            self._problem, self._again_at = None, 0.0

    def _execute(self, write: _Write) -> None:
        self._to_sweep |= write.deletes is not None
        try:
            write.act()
        except (sqlite3.OperationalError, OSError):
            raise
        except UnkeepableError as error:
            logger.error("something cannot be kept in %s: %s", self.path, error)
            write.problem = why_not_stored(error)
        except Exception as error:
            # This one can never be written: it must not keep the others out.
            logger.exception("something cannot be kept in %s", self.path)
            write.problem = why_not_stored(error)

    def _put_off(self, writes: list[_Write]) -> None:
        for write in writes:
            write.problem = self._problem
            if write.deletes is not None:
                write.problem = self._destroy_key(write.deletes)
            room = write.waits == "perhaps" and len(self._behind) < MAX_BEHIND
            if room or write.waits == "always":
                self._behind.append(write)

    def _destroy_key(self, id: str) -> NotStored | None:
        """Delete what a session told before its rows can be; a full disk takes that, too."""
        try:
            self._written.destroy_key(id)
            self._keys.sync()
        except (sqlite3.Error, OSError) as error:
            return why_not_stored(error)
        return None

    def _remove_some(self) -> None:
        """Remove some of what is left of deleted sessions; at last, empty the log of it, too."""
        until = time.monotonic() + SLICE_S
        try:
            # A power cut may undo it: then it is done again, and events need not wait for the disk.
            self._writer.execute("PRAGMA synchronous = NORMAL")
            with transaction(self._writer):
                self._to_remove = self._written.remove_piece()
                while self._to_remove and self._queue.empty() and time.monotonic() < until:
                    self._to_remove = self._written.remove_piece()
            if not self._to_remove:
                self._to_remove = not self._empty_log()
                self._remove_at = time.monotonic() + RETRY_S  # if somebody reads in it
        except sqlite3.Error as error:
            logger.debug("nothing can be removed from %s now: %s", self.path, error)
            self._to_remove, self._remove_at = True, time.monotonic() + RETRY_S
        finally:
            self._writer.execute("PRAGMA synchronous = FULL")

    def _empty_log(self) -> bool:
        """Whether nobody reads in the log, so that it could be emptied."""
        self._writer.execute("PRAGMA busy_timeout = 0")
        try:
            busy, *_ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy
        finally:
            self._writer.execute(f"PRAGMA busy_timeout = {BUSY_S * 1000:.0f}")
