"""A store that an earlier version of this program left behind when it was killed.

In: where it is to be. Out: a file of version 1 of the store, as that version wrote it. One of its
two sessions was cut off after an utterance; its events are of version 4 of the schema, which did
not tell neutral. The other was recorded.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from checkout import REPO

SESSION = "9f2c51d0a7be"
RECORDED = "5a1b00c3d4e5"


def store_earlier(path: Path) -> None:
    """Make the store at `path`."""
    dump = (REPO / "tests" / "support" / "store_1.sql").read_text(encoding="utf-8")
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(dump)
