"""A thread that works through calls one by one, and is replaced if one of them gets stuck.

In: calls with their futures. Out: their results and errors; TimeoutError for one given up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

logger = logging.getLogger(__name__)

STUCK_S = 30.0
"""A call that takes longer is taken to be stuck, unless asked for otherwise: on a busy machine the
slowest network takes a third of it."""


class Worker:
    """Carries out what `take` gives.

    No thread can be ended from outside. One that is stuck is left to itself: another one goes on
    with the next call, and should the first come back, it ends, and what it brings is dropped.

    Args:
        name: of the thread.
        take: waits for the next call, and gives it with its future; None: there will be no more.
        stuck_s: seconds after which a call is given up.
    """

    def __init__(
        self,
        name: str,
        take: Callable[[], tuple[Future[Any], Callable[[], Any]] | None],
        stuck_s: float,
    ) -> None:
        self._name = name
        self._take = take
        self._stuck_s = stuck_s
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._closed = threading.Event()
        self._thread = self._start(self._work)
        self._start(self._watch)

    @property
    def stuck(self) -> bool:
        """Whether a call has taken half the time after which it will be given up."""
        running = self._running
        late = running is not None and time.monotonic() - running.began > self._stuck_s / 2
        return late or not self._thread.is_alive()

    def close(self) -> None:
        """Stop to watch; the thread ends when `take` gives None."""
        self._closed.set()

    def _start(self, run: Callable[[], None]) -> threading.Thread:
        # Daemons: a thread that is stuck must not keep the program from ending.
        thread = threading.Thread(target=run, name=self._name, daemon=True)
        thread.start()
        return thread

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            future, call = taken
            if not future.set_running_or_notify_cancel():
                continue
            running = self._running = _Running(future, time.monotonic())
            try:
                tell = partial(future.set_result, call())
            except BaseException as error:
                tell = partial(future.set_exception, error)
            with self._lock:
                if self._running is not running:
                    return  # it was given up, and another thread has taken over
                self._running = None
            tell()
            del taken, future, call, running, tell  # and with them, what they hold

    def _watch(self) -> None:
        left = self._stuck_s  # until a call could be stuck
        while not self._closed.wait(left):
            with self._lock:
                running, left = self._running, self._stuck_s
                if running is None:
                    continue
                left -= time.monotonic() - running.began
                if left > 0:
                    continue
                self._running, left = None, self._stuck_s
                self._thread = self._start(self._work)
            logger.error("%s gave no answer for %g s: begun anew", self._name, self._stuck_s)
            running.future.set_exception(TimeoutError(f"no answer for {self._stuck_s:g} s"))
            del running


class _Running(NamedTuple):
    future: Future[Any]
    began: float  # on the clock of `time.monotonic`
