"""What every source of media is: an asynchronous stream of blocks, frames and notices.

In: a file, a device or a peer, by its subclass. Out: `Media` in media-time order.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from realtime.media import Media


@dataclass(frozen=True, kw_only=True, slots=True)
class Isolation:
    """What the process that decodes untrusted media may use.

    Attributes:
        memory_mb: memory beyond what it needs to start, in 2^20 bytes. Only Linux enforces it.
        max_frame_mpx: size of one picture, in 10^6 pixels.
        max_hours: of media.
        stall_s: how long it may take to give anything, before it counts as stuck and is ended.
    """

    memory_mb: int
    max_frame_mpx: float
    max_hours: float
    stall_s: float


class Source(ABC):
    """One stream of media, read once from its beginning to its end.

    Iterate with ``async for item in source``. The audio blocks follow each other from sample 0
    without gap or overlap. Iteration ends with the source; it raises `SourceError` if the source
    breaks midway, and what was delivered before stays valid. Call `aclose()` in any case.

    Attributes:
        name: what to show: a file's name, a URL without its password, "webcam".
        duration: seconds, if known in advance.
        live: the media comes at the pace of the wall clock, so that one can fall behind.
        has_audio: False only for a camera whose microphone is switched off.
        has_video: False if there are no pictures to expect.
    """

    name: str
    duration: float | None = None
    live: bool = True
    has_audio: bool = True
    has_video: bool = True

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[Media]:
        """Deliver the media, in media-time order."""

    @abstractmethod
    async def aclose(self) -> None:
        """Stop, and release what is held; a consumer that still waits sees the end. Idempotent."""


class ThreadedSource(Source):
    """A source that blocks while it opens and reads, which it therefore does in its own thread.

    One thread opens, reads and closes, so nothing in a subclass needs a lock. At most
    `HANDOVER_ITEMS` wait for the consumer; the thread waits when they are that many.
    """

    HANDOVER_ITEMS = 64
    """About 2 s of media: enough to bridge a busy event loop, small beside the rings."""

    CLOSE_WAIT_S = 0.8
    """How long `aclose` waits for the thread, after the consumer has been let go. Only a read from
    a dead network and a driver that hangs last longer; that thread ends, and releases what it
    holds, when its own read timeout is over."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._queue: asyncio.Queue[Media | Exception | None] = asyncio.Queue()
        self._room = threading.Semaphore(self.HANDOVER_ITEMS)
        self._stop = threading.Event()
        self._closing = asyncio.Event()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"source {self.name}", daemon=True)

    @abstractmethod
    def _open(self) -> None:
        """Open in the thread and set the attributes; `UsageError` if it cannot be."""

    @abstractmethod
    def _read(self) -> Iterator[Media]:
        """Read in the thread until the source ends; `SourceError` if it breaks."""

    @abstractmethod
    def _close(self) -> None:
        """Release in the thread whatever `_open` got, also after it failed half-way."""

    async def start(self) -> None:
        """Open the source; raises what `_open` raises, and leaves nothing behind then."""
        self._thread.start()
        try:
            await self._opened
        except BaseException:
            self._stop.set()
            raise

    async def __aiter__(self) -> AsyncIterator[Media]:
        """Deliver the media, in media-time order."""
        while True:
            item = await self._queue.get()
            if item is None or isinstance(item, Exception):
                self._queue.put_nowait(item)  # whoever asks again hears the same answer
                if item is None:
                    return
                raise item
            self._room.release()
            yield item

    async def aclose(self) -> None:
        """Stop the thread and release what it holds."""
        self._stop.set()
        self._closing.set()
        self._room.release()  # the thread may be waiting for room
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)  # whatever the thread waits for, the consumer need not
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._ended.wait(), self.CLOSE_WAIT_S)

    def _run(self) -> None:
        end: Exception | None = None
        try:
            try:
                self._open()
                self._post(self._settle_open, None)
                for item in self._read():
                    self._hand_over(item)
            finally:
                self._close()
        except _Stopped:
            pass
        except Exception as error:
            end = error
        try:
            self._post(self._settle_open, end)
            self._post(self._offer, end)
            self._post(self._ended.set)
        except _Stopped:
            pass

    def _settle_open(self, error: Exception | None) -> None:
        if self._opened.done():
            return
        if error is None:
            self._opened.set_result(None)
        else:
            self._opened.set_exception(error)

    def _hand_over(self, item: Media) -> None:
        self._room.acquire()
        if self._stop.is_set():
            raise _Stopped
        self._post(self._offer, item)

    def _offer(self, item: Media | Exception | None) -> None:
        if not self._closing.is_set():
            self._queue.put_nowait(item)

    def _post(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:  # the loop was closed under us
            raise _Stopped from None


class _Stopped(Exception):  # noqa: N818 - it is no error
    """Raised inside the thread when nobody wants its media any more."""
