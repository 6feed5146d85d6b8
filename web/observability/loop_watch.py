"""What makes the event loop late: a callback, a garbage collection, or the threads beside it.

In: nothing but time. Out: for how long, at most, and how often for too long.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

logger = logging.getLogger(__name__)

HELD_S = 0.02
"""Longer than this nothing may hold the loop: media arrive every 20 ms."""

BEAT_S = 0.005

WATCH_LOOP = "LIVE_EMOTION_WATCH_LOOP"
"""The environment variable that turns the watch on in a server. It is not asyncio's debug mode,
which makes so many more objects that the garbage collector alone holds the loop for as long, and
which blames a callback for the time that other threads take meanwhile."""


@dataclass(slots=True)
class Late:
    """How late something made the loop.

    Attributes:
        longest_s: at most.
        times: how often by more than `HELD_S`.
    """

    longest_s: float = 0.0
    times: int = 0

    def add(self, late_s: float) -> bool:
        """Count once more; whether it was too late."""
        self.longest_s = max(self.longest_s, late_s)
        self.times += late_s > HELD_S
        return late_s > HELD_S


class LoopWatch:
    """Times all that runs on the running loop while it is entered, and what else makes it late.

    Attributes:
        held: by one callback, or one step of a task: the processor time that it took, garbage
            collections aside. Each that took too long is logged. Such work belongs in a thread.
        collected: by one garbage collection, in whichever thread; it stops them all.
        late: how late beats came, for any reason in this process: the two above, many callbacks in
            a row, or other threads that had the interpreter or the cores. It is at most the
            processor time of the process: if the machine gives it none, nothing in it is to blame.
    """

    def __init__(self) -> None:
        self.held = Late()
        self.collected = Late()
        self.late = Late()
        self._collecting_since_s = 0.0
        self._collected_on_loop_s = 0.0
        self._thread = 0
        self._watching = ExitStack()

    async def __aenter__(self) -> LoopWatch:
        self._thread = threading.get_ident()
        gc.callbacks.append(self._on_collection)
        self._watching.callback(gc.callbacks.remove, self._on_collection)
        self._watching.callback(setattr, asyncio.Handle, "_run", asyncio.Handle._run)
        setattr(asyncio.Handle, "_run", self._timed())  # noqa: B010 - assigned, mypy forbids it
        beating = asyncio.create_task(self._beat(), name="loop watch")
        self._watching.callback(beating.cancel)
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watching.close()
        await asyncio.sleep(0)

    def _timed(self) -> Callable[[asyncio.Handle], None]:
        """What every callback of a loop is run by, with a look at the clock before and after."""
        run = asyncio.Handle._run

        def timed(handle: asyncio.Handle) -> None:
            began_s = self._worked()
            run(handle)
            took_s = self._worked() - began_s
            if self.held.add(took_s):
                logger.warning("%r held the event loop for %.0f ms", handle, took_s * 1000)

        return timed

    async def _beat(self) -> None:
        while True:
            due_s, worked_s = time.monotonic() + BEAT_S, time.process_time()
            await asyncio.sleep(BEAT_S)
            self.late.add(min(time.monotonic() - due_s, time.process_time() - worked_s))

    def _worked(self) -> float:
        """The processor time of the loop's thread, without what garbage collections took of it."""
        return time.thread_time() - self._collected_on_loop_s

    def _on_collection(self, phase: str, info: dict[str, int]) -> None:
        # One collection runs at a time, and this is called in its thread.
        if phase == "start":
            self._collecting_since_s = time.thread_time()
            return
        took_s = time.thread_time() - self._collecting_since_s
        self.collected.add(took_s)
        if threading.get_ident() == self._thread:
            self._collected_on_loop_s += took_s
