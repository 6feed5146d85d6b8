"""A thread that works through calls one by one, and is replaced if one of them gets stuck.

In: calls with their futures. Out: their results and errors; TimeoutError for one given up.
"""

from __future__ import annotations

import atexit
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

    A worker that nobody has closed is closed before the interpreter ends.

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
        self._busy = threading.RLock()  # held by the thread during a call
        self._thread = self._start(partial(self._work, self._busy))
        self._start(self._watch)
        atexit.register(self.close)

    @property
    def stuck(self) -> bool:
        """Whether a call has taken half the time after which it will be given up."""
        running = self._running
        late = running is not None and time.monotonic() - running.began > self._stuck_s / 2
        return late or not self._thread.is_alive()

    def close(self) -> None:
        """Begin no further call, and wait for the one that runs, unless it is stuck. Idempotent.

        The thread itself ends when `take` gives None. It has to be out of native code before the
        interpreter ends: Python then unwinds the frames of its threads, and those of C++ abort the
        process ("terminate called without an active exception").
        """
        self._closed.set()
        running = self._running
        patience_s = self._stuck_s / 2  # from where on a call counts as stuck
        if running is not None:
            patience_s -= time.monotonic() - running.began
        if self._busy.acquire(timeout=max(0.0, patience_s)):
            self._busy.release()
        else:
            with self._lock:
                running, self._running = self._running, None
            if running is not None:  # it did not end just now
                running.future.set_exception(TimeoutError("stuck when everything was closed"))
        atexit.unregister(self.close)

    def _start(self, run: Callable[[], None]) -> threading.Thread:
        # Daemons: a thread that is stuck must not keep the program from ending.
        thread = threading.Thread(target=run, name=self._name, daemon=True)
        thread.start()
        return thread

    def _work(self, busy: threading.RLock) -> None:
        while (taken := self._take()) is not None:
            with busy:
                if self._closed.is_set():
                    taken[0].cancel()
                elif not self._carry_out(*taken):
                    return
                del taken  # and with it, what it holds

    def _carry_out(self, future: Future[Any], call: Callable[[], Any]) -> bool:
        """Make the call; False if it was given up meanwhile, and another thread has taken over."""
        if not future.set_running_or_notify_cancel():
            return True
        running = self._running = _Running(future, time.monotonic())
        try:
            tell = partial(future.set_result, call())
        except BaseException as error:
            tell = partial(future.set_exception, error)
        with self._lock:
            if self._running is not running:
                return False
            self._running = None
        tell()
        return True

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
                self._busy = threading.RLock()
                self._thread = self._start(partial(self._work, self._busy))
            logger.error(
                "%s gave no answer for %g s: begun anew",
                *(self._name, self._stuck_s),
                extra={"told": {"stage": self._name}},
            )
            running.future.set_exception(TimeoutError(f"no answer for {self._stuck_s:g} s"))
            del running


class _Running(NamedTuple):
    future: Future[Any]
    began: float  # on the clock of `time.monotonic`
