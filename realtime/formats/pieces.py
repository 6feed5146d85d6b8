"""Files in pieces of a size that is worth sending, or writing.

In: small parts, of text or bytes. Out: bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

PIECE = 64 * 1024
"""Bytes."""


def in_pieces(parts: Iterable[str | bytes]) -> Iterator[bytes]:
    """The same in pieces of `PIECE` bytes and more; none is empty."""
    held = bytearray()
    for part in parts:
        # A name may hold half a character, which UTF-8 has not.
        held += part.encode("utf-8", "replace") if isinstance(part, str) else part
        if len(held) >= PIECE:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)
