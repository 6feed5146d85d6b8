"""Connections to the file of a store.

In: its path. Out: SQLite's connections, and those that only read.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from realtime.storage.keys import SessionKeys
from realtime.storage.tables import SessionTables

BUSY_S = 1.0
"""How long another program that looks into the file may hold up a write."""


class Reader:
    """A connection that reads.

    Attributes:
        db: the connection.
        tables: what it reads.
        turn: held by whoever uses either.
    """

    def __init__(self, path: Path, keys: SessionKeys) -> None:
        self.db = connect(path)
        self.db.execute("PRAGMA query_only = ON")
        self.tables = SessionTables(self.db, keys)
        self.turn = threading.Lock()


def connect(path: Path) -> sqlite3.Connection:
    """A connection that any thread may use, one at a time; its transactions are its user's."""
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA temp_store = MEMORY")  # nothing that was said goes into other files
    return db
