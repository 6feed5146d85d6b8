"""The tables of the session store: what is written into them, and how a session is read.

In: sessions, their events, what their utterances were made from. Out: rows, in which all that was
said or found, and of whom, is sealed with the key of its session.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from realtime.events import (
    AverageUpdated,
    Event,
    NoteChanged,
    SessionEnded,
    SpeakerChanged,
    UtteranceResult,
    WireAverage,
)
from realtime.storage.keys import SessionKey, SessionKeys
from realtime.storage.values import StoredSession, UnkeepableError, UtteranceInputs

PIECES = (("media", "utterance", 1), ("events", "seq", 100))
"""What goes at once of a session that is deleted: table, key, rows. A row of `media` has up to
0.4 MB, 100 of `events` some 0.1 MB."""

_SESSION = "number, id, room, started, time, utterances, last_seq, reason, about"
_ABOUT = ("kind", "name", "source", "owner", "duration", "recorded")


class SessionTables:
    """The tables, over one connection. What is not sealed: random ids, counts, and when it began.

    Everything that writes belongs into a `transaction`, before whose end the keys are synced.
    """

    def __init__(self, db: sqlite3.Connection, keys: SessionKeys) -> None:
        self.db = db
        self.keys = keys

    # --- writing ---

    def begin(self, session: StoredSession, key: SessionKey) -> None:
        """Keep a session that begins, and from now on all of it sealed with `key`."""
        about = {name: as_value(getattr(session, name)) for name in _ABOUT}
        values = (
            *(session.id, session.room, session.started),
            *(session.time, session.utterances, session.last_seq, session.reason),
        )
        row = self.db.execute(
            "INSERT INTO sessions (id, room, started, time, utterances, last_seq, reason, about)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*map(as_value, values), key.seal(json.dumps(about).encode())),
        )
        assert row.lastrowid is not None
        self.keys.put(row.lastrowid, key)

    def append(self, id: str, seq: int, event: Event) -> None:
        """Keep an event; the end, and what is told after it, is noted with its session, too.

        Raises:
            UnkeepableError: the session has another event of that number, or was deleted.
        """
        number, key = self._still_held(id)
        content = event.model_dump_json().encode()
        utterance = event.utterance if isinstance(event, UtteranceResult) else None
        try:
            self.db.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?)",
                (number, seq, utterance, key.seal(content)),
            )
        except sqlite3.IntegrityError:
            # A transaction of which nobody knows whether it came through may be written again.
            (there,) = self.db.execute(
                "SELECT content FROM events WHERE session = ? AND seq = ?", (number, seq)
            ).fetchone()
            if key.open(there) != content:
                raise UnkeepableError(f"session {id} has another event {seq} already") from None
        if isinstance(event, SessionEnded):
            self.db.execute(
                "UPDATE sessions SET time = ?, utterances = ?, last_seq = ?, reason = ?"
                " WHERE number = ?",
                (event.time, event.utterances, seq, event.reason, number),
            )
        elif isinstance(event, SpeakerChanged | AverageUpdated | NoteChanged):
            self.db.execute(
                "UPDATE sessions SET last_seq = max(last_seq, ?)"
                " WHERE number = ? AND reason IS NOT NULL",
                (seq, number),
            )

    def keep(self, id: str, utterance: int, inputs: UtteranceInputs, sound: bytes) -> None:
        """Keep what an utterance was made from; `UnkeepableError` if its session was deleted."""
        number, key = self._still_held(id)
        self.db.execute(
            "INSERT INTO media VALUES (?, ?, ?, ?)",
            (number, utterance, key.seal(inputs.to_json()), key.seal(sound)),
        )

    def destroy_key(self, id: str) -> None:
        """Make a session unreadable, if it is there; works on a full disk, too."""
        if (number := self._number(id)) is not None:
            self.keys.destroy(number)

    def delete(self, id: str) -> None:
        """Make a session unreadable, and note that what is left of it is to be removed."""
        if (number := self._number(id)) is not None:
            self.keys.destroy(number)
            self._withdraw(number)

    def remove_piece(self) -> bool:
        """Remove a little of what deleted sessions left; False if there is nothing."""
        found = self.db.execute("SELECT session FROM removals LIMIT 1").fetchone()
        if found is None:
            return False
        for table, key, most in PIECES:
            removed = self.db.execute(
                f"DELETE FROM {table} WHERE session = ?1 AND {key} IN"
                f" (SELECT {key} FROM {table} WHERE session = ?1 LIMIT ?2)",
                (*found, most),
            )
            if removed.rowcount:
                return True
        self.db.execute("DELETE FROM removals WHERE session = ?", found)
        return True

    def recover(self) -> None:
        """End the sessions of a server that was killed; go on deleting where it stopped."""
        for number, id, reason in self.db.execute(
            "SELECT number, id, reason FROM sessions"
        ).fetchall():
            if self.keys.of(number) is None:
                self._withdraw(number)
            elif reason is None:
                self._cut_off(id)

    def _withdraw(self, number: int) -> None:
        self.db.execute("DELETE FROM sessions WHERE number = ?", (number,))
        self.db.execute("INSERT INTO removals VALUES (?)", (number,))

    def _cut_off(self, id: str) -> None:
        number, key = self._still_held(id)
        last_seq, time, utterances, average = 0, 0.0, 0, None
        for seq, sealed in self.db.execute(
            "SELECT seq, content FROM events WHERE session = ? ORDER BY seq", (number,)
        ):
            content = key.open(sealed)
            event = json.loads(content)
            last_seq, time = seq, max(time, event["time"])
            utterances += event["type"] in ("utterance.result", "utterance.failed")
            if event["type"] == "average.updated":
                average = content
        ended = SessionEnded(
            session=id,
            time=time,
            reason="cut_off",
            utterances=utterances,
            average=WireAverage.of(
                None if average is None else AverageUpdated.model_validate_json(average)
            ),
        )
        self.append(id, last_seq + 1, ended)

    # --- reading ---

    def held(self, id: str) -> tuple[int, SessionKey] | None:
        """The number and the key of a session; None if there is none, or it was deleted."""
        number = self._number(id)
        key = None if number is None else self.keys.of(number)
        return None if number is None or key is None else (number, key)

    def sessions(self, clause: str, *values: object) -> Generator[StoredSession, None, None]:
        """The sessions that an SQL clause chooses, without those that were deleted."""
        for row in self.db.execute(
            f"SELECT {_SESSION} FROM sessions {clause}", [*map(as_value, values)]
        ):
            if (key := self.keys.of(row[0])) is not None:
                yield _session(row, key)

    def _number(self, id: str) -> int | None:
        row = self.db.execute("SELECT number FROM sessions WHERE id = ?", (as_value(id),))
        found: tuple[int] | None = row.fetchone()
        return found and found[0]

    def _still_held(self, id: str) -> tuple[int, SessionKey]:
        if (held := self.held(id)) is None:
            raise UnkeepableError(f"there is no session {id}: it may have been deleted")
        return held


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All that is written inside becomes durable at its end, or none of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:  # SQLite has perhaps rolled back itself
            db.execute("ROLLBACK")


def as_value(value: object) -> object:
    """As SQLite takes it: times as text that sorts, text without what UTF-8 has not."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _session(row: Sequence[Any], key: SessionKey) -> StoredSession:
    _, id, room, started, time, utterances, last_seq, reason, about = row
    return StoredSession(
        id=id,
        room=room,
        started=datetime.fromisoformat(started),
        time=time,
        utterances=utterances,
        last_seq=last_seq,
        reason=reason,
        **json.loads(key.open(about)),
    )
