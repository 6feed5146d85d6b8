"""The end of the program: what it has written is flushed, and no thread can abort it.

In: the exit status it deserves. Out: nothing; the process ends.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import NoReturn


def leave(status: int) -> NoReturn:
    """Exit with `status`; with 1 in place of 0 if the last of the output cannot be written."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more Ctrl-C must not take its place
    if not flush_output() and status == 0:
        status = 1
    if not _daemons_end():
        # One of them loads models, or is stuck in a driver. Python would stop it at its end, which
        # aborts the process if C++ code is on that thread's stack.
        logging.shutdown()
        os._exit(status)
    sys.exit(status)


def _daemons_end() -> bool:
    """Whether all threads end now for which Python would not wait."""
    until = time.monotonic() + ENDING_S
    for thread in threading.enumerate():
        if thread.daemon:
            thread.join(max(0.0, until - time.monotonic()))
    return not any(thread.daemon for thread in threading.enumerate())


ENDING_S = 0.5
"""How long threads that have been told to end may take for it."""


def polite_endings() -> list[signal.Signals]:
    """The signals that ask a command to end: Ctrl-C, a polite kill, and a hangup.

    No hangup, the loss of the terminal, where nohup has said to go on then; nor on Windows.
    """
    endings = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        endings.append(signal.SIGHUP)
    return endings


def flush_output() -> bool:
    """Whether all that was printed could be written; what could not is dropped."""
    whole = True
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):  # a full disk, a closed pipe; a closed stream
            whole = False
            # Python tries again at its end, and would complain.
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
    return whole
