"""A session that was stored by a version of this program which did not tell neutral.

In: where the store is to be. Out: a store whose session was cut off after one utterance; its events
are those that version 4 of the schema wrote, byte for byte.
"""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime, timezone
from pathlib import Path

from checkout import REPO

from realtime.storage import SessionStore
from realtime.stored import StoredSession

SESSION = "9f2c51d0a7be"


def store_earlier(path: Path) -> None:
    """Make a store at `path` as the earlier version left it when it was killed."""
    store = SessionStore(path)
    store.begin(
        StoredSession(
            id=SESSION,
            kind="upload",
            name="talk.mp4",
            source="talk.mp4",
            room=None,
            owner=None,
            started=datetime(2026, 1, 5, 10, 12, 7, tzinfo=timezone.utc),
            duration=120.0,
            recorded=False,
        )
    ).result()
    store.close()
    lines = (REPO / "tests" / "support" / "schema_4.jsonl").read_text(encoding="utf-8").splitlines()
    db = sqlite3.connect(path)
    with db:
        for seq, line in enumerate(lines, 1):
            kind = json.loads(line)["type"]
            db.execute(f'INSERT INTO "events_{SESSION}" VALUES (?, ?, ?)', (seq, kind, line))
    db.close()
