"""The processes in which the embedded recogniser decodes."""

from __future__ import annotations

from contextlib import suppress

import psutil


def decoders() -> set[psutil.Process]:
    """Those of this process that run."""
    found = set()
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it has just ended
            if "spawn_main" in " ".join(child.cmdline()):
                found.add(child)
    return found
