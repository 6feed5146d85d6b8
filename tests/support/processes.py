"""Processes that this one has begun, found while they come and go."""

from __future__ import annotations

from collections.abc import Callable

import psutil


def begun(
    is_meant: Callable[[psutil.Process], bool], *, recursive: bool = False
) -> list[psutil.Process]:
    """Those that are meant; with `recursive` also of those begun by these.

    One that ends while it is asked is none of them.
    """
    found = []
    for process in psutil.Process().children(recursive=recursive):
        try:
            if is_meant(process):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def decoders() -> list[psutil.Process]:
    """What decodes for this process, also what ended and was not waited for."""
    return begun(
        lambda child: (
            child.status() == psutil.STATUS_ZOMBIE or "isolated" in " ".join(child.cmdline())
        )
    )


def running_server() -> psutil.Process:
    """The one that this process runs."""
    (found,) = begun(lambda child: "run_live.py" in child.cmdline())
    return found
