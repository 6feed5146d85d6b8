"""What the session store keeps, and the SQL of it.

In: sessions and events. Out: statements for SQLite, and what its rows mean. `realtime.storage`
executes them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, TypeAlias

from realtime.events import AverageUpdated, Event, SessionEnded, SpeakerChanged, WireAverage

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


def cutting_off(db: sqlite3.Connection, id: str) -> list[Statement]:
    """Tell the end of a session that ran when its server was killed."""
    last_seq, at = db.execute(
        f"SELECT max(seq), max(json_extract(json, '$.time')) FROM {events_table(id)}"
    ).fetchone()
    (utterances,) = db.execute(
        f"SELECT count(*) FROM {events_table(id)}"
        " WHERE type IN ('utterance.result', 'utterance.failed')"
    ).fetchone()
    average = db.execute(
        f"SELECT json FROM {events_table(id)} WHERE type = 'average.updated'"
        " ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    ended = SessionEnded(
        session=id,
        time=at or 0.0,
        reason="cut_off",
        utterances=utterances,
        average=WireAverage.of(average and AverageUpdated.model_validate_json(average[0])),
    )
    return appending(id, last_seq + 1, ended)


def appending(id: str, seq: int, event: Event) -> list[Statement]:
    """Keep one event; the end, and what is told after it, is noted with its session, too."""
    statements: list[Statement] = [
        # A transaction of which nobody knows whether it came through may be written again.
        (
            f"INSERT OR IGNORE INTO {events_table(id)} VALUES (?, ?, ?)",
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
    elif isinstance(event, SpeakerChanged | AverageUpdated):
        statements.append(
            (
                "UPDATE sessions SET last_seq = max(last_seq, ?)"
                " WHERE id = ? AND reason IS NOT NULL",
                (seq, id),
            )
        )
    return statements


def as_value(value: object) -> object:
    """As SQLite takes it: times as text that sorts, text without what UTF-8 has not."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def events_table(id: str) -> str:
    """The table of what session `id` told; number 0 is what the session is called."""
    return _table(f"events_{id}")


def media_table(id: str) -> str:
    """The table of what the model was given, of a session that is recorded."""
    return _table(f"media_{id}")


def _table(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""').replace("\0", ""))


def read_session(row: Sequence[Any], about: str) -> StoredSession:
    """The session of a row of `COLUMNS`, and of what its event number 0 holds."""
    values = dict(zip(COLUMNS, row, strict=True)) | json.loads(about)
    values["started"] = datetime.fromisoformat(values["started"])
    values["recorded"] = bool(values["recorded"])
    return StoredSession(**values)


def why_not_stored(error: Exception) -> NotStored:
    """What an error of SQLite's means for what was to be kept."""
    if "full" in str(error):  # SQLite's word; its code is known from Python 3.11 on
        return NotStored(
            "store.full", "the disk is full: what is told from now on may be lost with the server"
        )
    return NotStored(
        "store.failed",
        f"the session cannot be kept ({error}): what is told from now on may be lost with the "
        "server",
    )


NO_TABLE = "no such table"  # SQLite's words

COLUMNS = tuple(
    column.name for column in fields(StoredSession) if column.name not in ("name", "source")
)

TABLES = (
    """CREATE TABLE sessions (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, room TEXT, owner TEXT, started TEXT NOT NULL,
        duration REAL, recorded INTEGER NOT NULL, time REAL NOT NULL, utterances INTEGER NOT NULL,
        last_seq INTEGER NOT NULL, reason TEXT
    )""",
    "CREATE INDEX sessions_by_start ON sessions (started, id)",
    "CREATE INDEX sessions_by_room ON sessions (room) WHERE room IS NOT NULL",
)
