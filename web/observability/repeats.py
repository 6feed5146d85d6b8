"""A log that repeats itself, summed up.

In: warnings and errors, perhaps a million of a kind, as strangers may cause. Out: the first few of
each kind, then how many more there were.
"""

from __future__ import annotations

import copy
import logging
import re
import threading
import time

MOST = 3
"""So many of a kind are logged at once; the others are counted for `WINDOW_S`."""

WINDOW_S = 10.0

MAX_KINDS = 200
"""So many kinds are told apart; memory is bounded however many there are."""


class Repeats(logging.Filter):
    """Lets through the first warnings of a kind, and soon logs how many more there were.

    Two are of a kind if they differ in nothing but numbers. Each handler needs a filter of its own.
    """

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler
        self._kinds: dict[str, tuple[logging.LogRecord, int]] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log `record` now."""
        if record.levelno < logging.WARNING or hasattr(record, "sum"):
            return True
        kind = f"{record.name} {record.levelno} {record.msg} {record.args}"[:1000]
        kind = re.sub(r"0x[0-9a-f]+|\d+", "#", kind)
        with self._lock:
            if not self._kinds:
                self._timer = threading.Timer(WINDOW_S, self.sum_up)
                self._timer.daemon = True
                self._timer.start()
            if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
                kind = ""
            first, count = self._kinds.get(kind, (record, 0))
            self._kinds[kind] = first, count + 1
        return count < MOST

    def sum_up(self) -> None:
        """Log how many more there were of each kind, and count anew."""
        with self._lock:
            kinds, self._kinds = self._kinds, {}
        for first, count in kinds.values():
            if count > MOST:
                record = copy.copy(first)
                record.msg = f"… {count - MOST:,} more like this: {first.msg}"
                record.exc_info = record.exc_text = record.stack_info = None
                record.created, record.sum = time.time(), True
                self._handler.handle(record)
