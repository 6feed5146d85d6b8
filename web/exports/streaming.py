"""Answers that are made while they are sent.

In: the pieces of a file, which take time to make. Out: a response that needs memory for one piece,
and leaves the event loop free.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi.responses import StreamingResponse

from realtime.formats.pieces import in_pieces

T = TypeVar("T")


class Turns:
    """One thread for all files that are being made: they take turns, a piece each.

    Several threads at once would keep the interpreter from the event loop for 5 ms each.
    """

    def __init__(self) -> None:
        self._one: CapacityLimiter | None = None  # which belongs to the loop

    async def take(self, make: Callable[[], T]) -> T:
        """What `make` gives, when it has had its turn."""
        self._one = self._one or CapacityLimiter(1)
        return await to_thread.run_sync(make, limiter=self._one)

    def stream(self, parts: Iterable[str | bytes], media_type: str, file: str) -> StreamingResponse:
        """An answer of `parts`, in UTF-8, to be saved as `file`; shown, if that is empty."""
        return StreamingResponse(
            self._pieces(parts),
            media_type=media_type,
            headers={"Content-Disposition": f'attachment; filename="{file}"'} if file else None,
        )

    async def _pieces(self, parts: Iterable[str | bytes]) -> AsyncIterator[bytes]:
        pieces = in_pieces(parts)
        while piece := await self.take(lambda: next(pieces, b"")):
            yield piece
