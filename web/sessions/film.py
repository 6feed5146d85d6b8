"""A film over HTTP, of which a player asks for parts.

In: a file, the header `Range`. Out: the response.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from fastapi import Response
from fastapi.responses import StreamingResponse

from web.errors import ApiError

_PIECE = 2**18  # bytes read at once

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


def film_response(file: BinaryIO, wanted: str | None) -> Response:
    """The part of `file` that is `wanted`, or all of it; the file is closed in any case.

    Args:
        wanted: the header `Range`; what is not one range of bytes counts for nothing.

    Raises:
        ApiError: there is no such part.
    """
    size = file.seek(0, 2)
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "no-store"}
    start, stop, status = 0, size, 200
    if (part := _part(wanted, size)) is not None:
        start, stop = part
        if start >= stop:
            file.close()
            headers = {"Content-Range": f"bytes */{size}"}
            raise ApiError(416, "no_such_range", f"the film has {size} bytes", headers)
        status = 206
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    return StreamingResponse(
        _pieces(file, start, stop), status, headers=headers, media_type="video/mp4"
    )


def _part(wanted: str | None, size: int) -> tuple[int, int] | None:
    """From which byte to before which; None: all of them."""
    found = _RANGE.fullmatch(wanted or "")
    if found is None or not any(found.groups()):
        return None
    first, last = (int(number) if number else None for number in found.groups())
    if first is None:
        return max(0, size - (last or 0)), size
    if last is not None and last < first:
        return None  # which RFC 9110 calls invalid, to be ignored
    return first, size if last is None else min(size, last + 1)


def _pieces(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while start < stop and (piece := file.read(min(_PIECE, stop - start))):
            start += len(piece)
            yield piece
