"""Whether a Matroska or WebM file was copied whole, which FFmpeg does not tell.

In: how the file begins, and its size. Out: yes or no, and its elements. Pure.
Format: RFC 8794 (EBML) and RFC 9559 (Matroska).
"""

from __future__ import annotations

HEAD_BYTES = 4096
"""So much of a file is enough: its first element is some 40 bytes."""

_SEGMENT = 0x18538067


def is_whole(head: bytes, size: int) -> bool:
    """True unless the file holds less than its segment, which is all the rest of it, says.

    A browser that records does not know how much will come, and says so; then True, too.

    Args:
        head: the first `HEAD_BYTES` bytes of the file.
        size: of the whole file, in bytes.
    """
    at = 0
    while at < len(head) - 12:
        identity, at, length = element(head, at)
        if identity == _SEGMENT or length is None:
            return length is None or at + length <= size
        at += length
    return True


def element(data: bytes, at: int) -> tuple[int, int, int | None]:
    """The identity of the element at `at`, where its content begins, and the length of that.

    The length is None where whoever wrote it did not know it. `data` must hold 12 bytes of it.
    """
    identity, at = _number(data, at, keep_marker=True)
    length, after = _number(data, at)
    unknown = length == (1 << 7 * (after - at)) - 1
    return identity, after, None if unknown else length


def _number(data: bytes, at: int, *, keep_marker: bool = False) -> tuple[int, int]:
    """A number of variable length, and where it ends: zero bits count the bytes that follow."""
    length = 9 - data[at].bit_length() if data[at] else 8
    value = int.from_bytes(data[at : at + length], "big")
    return value if keep_marker else value & ~(1 << 7 * length), at + length
