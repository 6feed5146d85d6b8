"""A file that is sealed, block by block, and read and written like any other.

In: a path, the key of a session, bytes. Out: the bytes again, from anywhere in the file, also where
whoever wrote it was killed.
"""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from realtime.storage.keys import OVERHEAD, DamagedError, SessionKey

if TYPE_CHECKING:
    from typing_extensions import Buffer

BLOCK = 16_384
"""Bytes that are sealed together: what a kill may cost at the end of the file."""

_SEALED = BLOCK + OVERHEAD


class SealedFile(io.RawIOBase):
    """One file, open to read or to write; for one thread at a time.

    What is written is with the system when `write` returns. The last block is sealed again each
    time it grows; if that is cut off, the file ends before it.

    Args:
        path: of the file, which only its owner can read.
        key: seals each block.
        new: make the file, and write it; else read it.

    Raises:
        OSError: it is there already, or is not, or the disk is full.
    """

    def __init__(self, path: Path, key: SessionKey, *, new: bool = False) -> None:
        self._key = key
        access = os.O_RDWR | os.O_CREAT | os.O_EXCL if new else os.O_RDONLY
        self._file = open(  # noqa: SIM115 - it stays open
            os.open(path, access | getattr(os, "O_BINARY", 0), 0o600),
            "r+b" if new else "rb",
            buffering=0,
        )
        self._new = new
        self._at = 0
        self._number, self._block = -1, b""  # the block used last
        self._size = self._sound_size()

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()
        super().close()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def writable(self) -> bool:
        """Whether it is new."""
        return self._new

    def tell(self) -> int:
        """Where the next byte is read or written."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to `offset` from the beginning, from here or from the end."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        """Read on, at most to the end of a block."""
        view = memoryview(buffer)
        number, within = divmod(self._at, BLOCK)
        found = self._read(number)[within : within + len(view)] if self._at < self._size else b""
        view[: len(found)] = found
        self._at += len(found)
        return len(found)

    def write(self, data: Buffer) -> int:
        """Write all of `data`."""
        view = memoryview(data)
        left = view
        while left:
            number, within = divmod(self._at, BLOCK)
            piece = bytes(left[: BLOCK - within])
            block = self._read(number) if number * BLOCK < self._size else b""
            self._write(number, block[:within] + piece + block[within + len(piece) :])
            self._at += len(piece)
            self._size = max(self._size, self._at)
            left = left[len(piece) :]
        return len(view)

    def _read(self, number: int) -> bytes:
        if number != self._number:
            self._file.seek(number * _SEALED)
            self._block = self._key.open(self._file.read(_SEALED) or b"")
            self._number = number
        return self._block

    def _write(self, number: int, block: bytes) -> None:
        sealed = self._key.seal(block)
        self._file.seek(number * _SEALED)
        if self._file.write(sealed) != len(sealed):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._number, self._block = number, block

    def _sound_size(self) -> int:
        """Bytes that can be read: without a last block that is damaged."""
        whole, rest = divmod(os.fstat(self._file.fileno()).st_size, _SEALED)
        last = whole if rest else whole - 1
        if last < 0:
            return 0
        try:
            return last * BLOCK + len(self._read(last))
        except DamagedError:
            return last * BLOCK
