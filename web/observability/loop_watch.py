"""Whether something holds the event loop: a callback, a garbage collection, a thread that keeps the
interpreter.

In: nothing but time. Out: for how long, at most, and how often for too long.
"""

from __future__ import annotations

import asyncio
import logging
import time
from types import TracebackType

logger = logging.getLogger(__name__)

HELD_S = 0.02
"""Longer than this nothing may hold the loop: media arrive every 20 ms."""

BEAT_S = 0.005

WATCH_LOOP = "LIVE_EMOTION_WATCH_LOOP"
"""The environment variable that turns the watch on in a server. It is not asyncio's debug mode,
which makes so many more objects that the garbage collector alone holds the loop for as long."""


class LoopWatch:
    """Beats on the running loop while it is entered, and measures how late each beat comes.

    It counts at most the processor time that the process has had meanwhile: if the machine gives it
    none, nothing in it holds the loop.

    Attributes:
        longest_s: for which the loop was held.
        times: that it was held for more than `HELD_S`; each is logged.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.times = 0
        self._beating: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LoopWatch:
        # If asyncio's debug mode is on as well, it tells which callback it was.
        asyncio.get_running_loop().slow_callback_duration = HELD_S
        self._beating = asyncio.create_task(self._beat(), name="loop watch")
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._beating is not None
        self._beating.cancel()
        await asyncio.wait([self._beating])

    async def _beat(self) -> None:
        while True:
            due, worked = time.monotonic() + BEAT_S, time.process_time()
            await asyncio.sleep(BEAT_S)
            held_s = min(time.monotonic() - due, time.process_time() - worked)
            self.longest_s = max(self.longest_s, held_s)
            if held_s > HELD_S:
                self.times += 1
                logger.warning("the event loop was held for %.0f ms", held_s * 1000)
