"""The versions of the session store's file, and how an older file becomes one of today.

In: a file as any version of this program left it. Out: the tables that `realtime.storage.tables`
knows.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.errors import UsageError
from realtime.storage.keys import DamagedError, SessionKey, SessionKeys
from realtime.storage.tables import SessionTables, transaction

logger = logging.getLogger(__name__)

VERSION = 2
"""Of the tables, as `PRAGMA user_version` tells it. A file of a newer version is refused."""

_TABLES_2 = (
    # A number is never given twice: it is the place of the session's key. What `about` holds, and
    # `content`, `inputs` and `sound` below, is sealed with that key.
    """CREATE TABLE sessions (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, room TEXT,
        started TEXT NOT NULL, time REAL NOT NULL, utterances INTEGER NOT NULL,
        last_seq INTEGER NOT NULL, reason TEXT, about BLOB NOT NULL
    )""",
    "CREATE INDEX sessions_by_start ON sessions (started, id)",
    "CREATE INDEX sessions_by_room ON sessions (room, started, id) WHERE room IS NOT NULL",
    """CREATE TABLE events (
        session INTEGER NOT NULL, seq INTEGER NOT NULL, utterance INTEGER, content BLOB NOT NULL,
        PRIMARY KEY (session, seq)
    ) WITHOUT ROWID""",
    # Of results alone: `utterance` is null for other events.
    "CREATE INDEX results ON events (session, utterance) WHERE utterance IS NOT NULL",
    """CREATE TABLE media (
        session INTEGER NOT NULL, utterance INTEGER NOT NULL, inputs BLOB NOT NULL,
        sound BLOB NOT NULL, PRIMARY KEY (session, utterance)
    ) WITHOUT ROWID""",
    # The sessions that were deleted, until their events and media are removed.
    "CREATE TABLE removals (session INTEGER PRIMARY KEY)",
)


def check(db: sqlite3.Connection, path: Path) -> None:
    """Raise a `UsageError` unless the file is ours, or empty."""
    version = _version(db)
    if version > VERSION:
        raise UsageError(
            f"{path} was written by a newer version of this program: use that, or choose another "
            "file with --store"
        )
    if version == 0 and db.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise UsageError(
            f"{path} is a database of another program: choose another file with --store"
        )


def check_keys(tables: SessionTables, path: Path) -> None:
    """Raise a `UsageError` unless the keys are those with which the file was sealed."""
    keys = tables.keys
    (last,) = tables.db.execute("SELECT max(number) FROM sessions").fetchone()
    belong = last is None or keys.reach(last)
    try:
        next(tables.sessions("ORDER BY number DESC"), None)
    except DamagedError:
        belong = False
    if not belong:
        raise UsageError(
            f"{keys.path} does not hold the keys of {path}, which cannot be read without them: put "
            "the two files that were written together into one folder, or choose another file with "
            "--store"
        )


def bring_up_to_date(db: sqlite3.Connection, keys: SessionKeys, path: Path) -> None:
    """Take the file from version to version, up to today's."""
    while (version := _version(db)) < VERSION:
        _STEPS[version](db, keys, path)


def _create(db: sqlite3.Connection, keys: SessionKeys, path: Path) -> None:
    with transaction(db):
        _create_tables_2(db)
        db.execute("PRAGMA user_version = 2")


def _from_1(db: sqlite3.Connection, keys: SessionKeys, path: Path) -> None:
    """From two tables a session, not sealed, to one set of tables.

    A session is moved in a transaction: beside the file, its log takes up to twice the room of the
    largest session. The old list of sessions tells which are still to be moved.
    """
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'sessions_1'").fetchone():
        with transaction(db):
            db.execute("DROP INDEX sessions_by_start")
            db.execute("DROP INDEX sessions_by_room")
            db.execute("ALTER TABLE sessions RENAME TO sessions_1")
            _create_tables_2(db)
    rows = db.cursor()
    rows.row_factory = sqlite3.Row
    left = rows.execute("SELECT * FROM sessions_1 ORDER BY started, id").fetchall()
    if left:
        logger.warning(
            "%s was written by an earlier version: what is in it (%d sessions, %d MB) is moved "
            "into new tables, once",
            *(path, len(left), path.stat().st_size // 10**6),
        )
    for session in left:
        with transaction(db):
            _move_from_1(db, keys, session)
            keys.sync()
    with transaction(db):
        db.execute("DROP TABLE sessions_1")
        db.execute("PRAGMA user_version = 2")


def _move_from_1(db: sqlite3.Connection, keys: SessionKeys, session: sqlite3.Row) -> None:
    key = SessionKey.new()
    events, media = (
        '"{}"'.format(f"{what}_{session['id']}".replace('"', '""')) for what in ("events", "media")
    )
    (called,) = db.execute(f"SELECT json FROM {events} WHERE seq = 0").fetchone()
    about = {name: session[name] for name in ("kind", "owner", "duration")}
    about |= {**json.loads(called), "recorded": bool(session["recorded"])}
    kept = ("id", "room", "started", "time", "utterances", "last_seq", "reason")
    number = db.execute(
        f"INSERT INTO sessions ({', '.join(kept)}, about) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*(session[name] for name in kept), key.seal(json.dumps(about).encode())),
    ).lastrowid
    assert number is not None
    keys.put(number, key)
    for seq, kind, text in db.execute(f"SELECT seq, type, json FROM {events} WHERE seq > 0"):
        utterance = json.loads(text)["utterance"] if kind == "utterance.result" else None
        db.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?)",
            (number, seq, utterance, key.seal(text.encode())),
        )
    db.execute(f"DROP TABLE {events}")
    if session["recorded"]:
        for utterance, inputs, sound in db.execute(f"SELECT * FROM {media}"):
            db.execute(
                "INSERT INTO media VALUES (?, ?, ?, ?)",
                (number, utterance, key.seal(inputs.encode()), key.seal(sound)),
            )
        db.execute(f"DROP TABLE {media}")
    db.execute("DELETE FROM sessions_1 WHERE id = ?", (session["id"],))


_STEPS: dict[int, Callable[[sqlite3.Connection, SessionKeys, Path], Any]] = {
    0: _create,
    1: _from_1,
}
"""By the version of a file, what brings it to a later one.

Who changes the tables raises `VERSION` and adds a step here, which starts from version 2 and
leaves the others alone. A step writes its SQL out, so that it stays right when the tables
change again. It may be killed at any moment: it does all in one transaction, or goes on where it
stopped. Its last transaction sets `user_version`.
"""


def _create_tables_2(db: sqlite3.Connection) -> None:
    for statement in _TABLES_2:
        db.execute(statement)


def _version(db: sqlite3.Connection) -> int:
    version: int
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return version
