"""Microphones and cameras by index or name.

In: what a user wrote. Out: the `Device` that is meant, or a `UsageError` that lists them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from models.errors import UsageError
from models.naming import shown


@dataclass(frozen=True, slots=True)
class Device:
    """One microphone or camera.

    Attributes:
        index: the number by which to choose it.
        name: what its driver calls it; any part of it chooses it, too.
        default: taken when none is chosen.
    """

    kind: Literal["microphone", "camera"]
    index: int
    name: str
    default: bool


def choose(devices: list[Device], wanted: str) -> Device:
    """The one device whose index is `wanted`, or whose name contains it, whatever its case."""
    matching = [d for d in devices if str(d.index) == wanted]
    matching = matching or [d for d in devices if wanted.lower() in d.name.lower()]
    exact = [d for d in matching if d.name.lower() == wanted.lower()]
    matching = exact or matching
    if len(matching) == 1:
        return matching[0]
    number = "several devices" if matching else "no device"
    known = ", ".join(f"{d.index} ({d.name})" for d in matching or devices) or "none"
    raise UsageError(
        f'"{shown(wanted)}" names {number}: choose one by its index; there are: {known}'
    )


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep what C libraries print about absent devices from the user's terminal.

    For moments only: it silences the whole process, and it is of use on POSIX alone.
    """
    if sys.platform == "win32":
        yield
        return
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
