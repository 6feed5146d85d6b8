"""How late a live session is.

In: when media came. Out: wall time since any moment of media time.
"""

from __future__ import annotations

import time


class LiveClock:
    """Wall time against media time: how late something is, measured from when it happened.

    The block that arrived with the least delay sets the clock.
    """

    def __init__(self) -> None:
        self._began = float("inf")  # wall time of media time 0

    def arrived(self, media_time: float) -> None:
        """Media up to `media_time` is here."""
        self._began = min(self._began, time.perf_counter() - media_time)

    def since(self, media_time: float) -> float:
        """Wall seconds since the moment that media time stands for."""
        return time.perf_counter() - self._began - media_time
