"""Loading models beside the event loop, in a thread that nobody has to wait for.

In: what loads them. Out: the models. A thread of asyncio's own would keep the program from ending
until all was loaded.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def load_in_thread(load: Callable[[], T]) -> T:
    """What `load` gives, or raises. If this is cancelled, `load` goes on and is forgotten."""
    loaded: Future[T] = Future()
    loaded.set_running_or_notify_cancel()

    def run() -> None:
        try:
            loaded.set_result(load())
        except Exception as error:
            loaded.set_exception(error)

    threading.Thread(target=run, name="loading", daemon=True).start()
    return await asyncio.wrap_future(loaded)
