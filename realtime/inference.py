"""The threads in which the networks work for all sessions in turn.

In: calls, each in the lane of its utterance. Out: their futures. The calls of one lane run one
after the other, in their order; the lane with the most urgent call goes first, and among equals
each in its turn.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from enum import IntEnum
from typing import Any, TypeVar

from models.worker import STUCK_S, Worker

T = TypeVar("T")

_TRIM_EVERY_S = 10.0  # when the thread has nothing to do


class Rank(IntEnum):
    """How urgent a call is, the most urgent first."""

    RESULT = 0
    FACES = 1
    PROVISIONAL = 2
    SOUND = 3


class Inference:
    """The threads. Each call uses one core: see `models.acceleration.share_cores`.

    Args:
        stuck_s: seconds after which a call is given up, with TimeoutError; the others go on.
        threads: how many calls run at once, each of another lane.
    """

    def __init__(self, stuck_s: float = STUCK_S, threads: int = 1) -> None:
        self._lanes: deque[Lane] = deque()  # those with waiting calls, whose turn is next first
        self._change = threading.Condition()
        self._closed = False
        self._trimmed = time.monotonic()
        self._workers = [Worker("inference", self._next, stuck_s) for _ in range(threads)]

    @property
    def stuck(self) -> bool:
        """Whether any of them is, see `Worker.stuck`."""
        return any(worker.stuck for worker in self._workers)

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn; sounds, which wait for all others, do not count."""
        with self._change:
            return sum(rank < Rank.SOUND for lane in self._lanes for rank, _, _ in lane.calls)

    @property
    def behind(self) -> int:
        """How many results wait, for each thread, rounded down."""
        with self._change:
            ranks = [{rank for rank, _, _ in lane.calls} for lane in self._lanes]
        return sum(Rank.RESULT in each for each in ranks) // len(self._workers)

    def lane(self) -> Lane:
        """A lane for one utterance."""
        return Lane(self)

    def close(self) -> None:
        """Cancel what waits, and wait for the calls that run, see `Worker.close`."""
        with self._change:
            self._closed = True
            waiting = [call for lane in self._lanes for call in lane.calls]
            self._lanes.clear()
            self._change.notify_all()
        for _, future, _ in waiting:
            future.cancel()
        for worker in self._workers:
            worker.close()

    def add(self, lane: Lane, rank: Rank, future: Future[Any], call: Callable[[], Any]) -> None:
        """Let `call` wait in `lane`; its future is cancelled if no call is begun any more."""
        with self._change:
            if not self._closed:
                lane.calls.append((rank, future, call))
                if lane not in self._lanes:
                    self._lanes.append(lane)
                self._change.notify()
                return
        future.cancel()

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        if not self._lanes and time.monotonic() - self._trimmed > _TRIM_EVERY_S:
            _give_memory_back()
            self._trimmed = time.monotonic()
        with self._change:
            while not (free := [lane for lane in self._lanes if not lane.running]):
                if self._closed:
                    return None
                self._change.wait()
            # A call that waits behind others lends them its urgency.
            lane = min(free, key=lambda lane: min(rank for rank, _, _ in lane.calls))
            self._lanes.remove(lane)
            _, future, call = lane.calls.popleft()
            if lane.calls:
                self._lanes.append(lane)
            lane.running = True
        # Also if it is given up. If it was cancelled while it waited, that is at once.
        future.add_done_callback(lambda _: self._let_go(lane))
        return future, call

    def _let_go(self, lane: Lane) -> None:
        with self._change:
            lane.running = False
            self._change.notify()


def _give_memory_back() -> None:
    """Return what is free to the system; takes 2 to 10 ms.

    glibc keeps it: frames, crops and activations are made in one thread and freed in another, which
    leaves holes in its heaps.
    """
    with contextlib.suppress(OSError, AttributeError):  # another system, or another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


class Lane:
    """The calls of one utterance."""

    def __init__(self, inference: Inference) -> None:
        self.calls: deque[tuple[Rank, Future[Any], Callable[[], Any]]] = deque()
        self.running = False
        """Whether one that was taken out of these has not ended yet."""
        self._inference = inference

    def submit(self, rank: Rank, call: Callable[[], T]) -> Future[T]:
        """Run `call` after those submitted before."""
        future: Future[T] = Future()
        self._inference.add(self, rank, future, call)
        return future
