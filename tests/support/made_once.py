"""What is made once for all test processes: whoever needs it first makes it, the others wait.

In: where it is to lie, and how it is made. Out: what the making gave.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

T = TypeVar("T")


def made_once(path: Path, make: Callable[[Path], T]) -> T:
    """What `make` gives, which makes the file or folder `path`; called by one process alone."""
    given = path.with_name(f"{path.name}.pickle")
    with FileLock(path.with_name(f"{path.name}.lock")):
        if not given.exists():
            given.write_bytes(pickle.dumps(make(path)))
    made: T = pickle.loads(given.read_bytes())
    return made
