"""Connections to the file of a store, which is for its owner alone.

In: its path. Out: SQLite's connections, and those that only read.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from pathlib import Path

from realtime.storage.keys import SessionKeys
from realtime.storage.tables import SessionTables

logger = logging.getLogger(__name__)

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


def make_private(path: Path) -> None:
    """Let nobody else read what people said, also where an earlier version or a copy let them."""
    if os.name != "posix":
        return  # Windows has other rights
    files = [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm", ".lock", ".keys")]
    readable = [file for file in files if file.exists() and file.stat().st_mode & 0o077]
    for file in readable:
        file.chmod(0o600)
    if readable:
        logger.warning(
            "others could read %s: from now on only you can", ", ".join(map(str, readable))
        )
