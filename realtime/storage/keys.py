"""The keys with which the session store seals what it keeps, one for each session.

In: the numbers of sessions, and bytes. Out: the bytes, sealed, and opened again until the key of
their session is destroyed.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from models.errors import UsageError

_SIZE = 32  # bytes of a key: AES-256
_NONCE = 12  # bytes: drawn anew for everything that is sealed
OVERHEAD = _NONCE + 16
"""Bytes that something has more when it is sealed."""

_HEAD = b"live-emotion session keys".ljust(_SIZE)
_NO_KEY = bytes(_SIZE)


class DamagedError(OSError):
    """Something cannot be opened with its key."""


class SessionKey:
    """Seals and opens with one key: AES-GCM, `OVERHEAD` longer than what is sealed."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._aead = AESGCM(key)

    @classmethod
    def new(cls) -> SessionKey:
        """A key that nobody had before."""
        return cls(os.urandom(_SIZE))

    def seal(self, data: bytes) -> bytes:
        """What can be read with this key alone."""
        nonce = os.urandom(_NONCE)
        return nonce + self._aead.encrypt(nonce, data, None)

    def open(self, sealed: bytes) -> bytes:
        """What was sealed.

        Raises:
            DamagedError: it was not sealed with this key, or is damaged.
        """
        try:
            return self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
        except InvalidTag:
            raise DamagedError("a session was sealed with another key, or is damaged") from None


class SessionKeys:
    """A file of keys: 32 bytes for each session that ever was, in the place that its number gives.

    A database copies its rows from page to page and through its log, and leaves copies behind. A
    key lies in one place, is never moved, and is overwritten there. That takes no room on the
    disk, and as long for a session of a gigabyte as for an empty one; whatever copies of its
    events are left anywhere cannot be read any more.

    Safe to use from several threads.

    Args:
        path: the file; made if it is missing.

    Raises:
        UsageError: the file holds something else.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Unbuffered, so that nothing of it is read ahead or written late.
        self._file = open(  # noqa: SIM115 - it stays open
            os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o600),
            "r+b",
            buffering=0,
        )
        self._lock = threading.Lock()
        self._dirty = False
        head = self._at(0)
        if head == _NO_KEY:
            self._put(0, _HEAD)
            self.sync()
            _sync_folder(path.parent)
        elif head != _HEAD:
            self._file.close()
            raise UsageError(
                f"{path} is not a file of keys: choose another file for the sessions with --store"
            )

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()

    def of(self, number: int) -> SessionKey | None:
        """The key of a session; None if it was destroyed, or never made."""
        key = self._at(number)
        return None if key == _NO_KEY else SessionKey(key)

    def reach(self, number: int) -> bool:
        """Whether the file is long enough for the key of that session."""
        return os.fstat(self._file.fileno()).st_size >= (number + 1) * _SIZE

    def put(self, number: int, key: SessionKey) -> None:
        """Give a session its key; durable after `sync`."""
        self._put(number, key.key)

    def destroy(self, number: int) -> None:
        """Overwrite the key of a session; durable after `sync`."""
        if self._at(number) != _NO_KEY:
            self._put(number, _NO_KEY)

    def sync(self) -> None:
        """Make all that was put and destroyed durable."""
        if self._dirty:
            os.fsync(self._file.fileno())
            self._dirty = False

    def _at(self, number: int) -> bytes:
        with self._lock:
            self._file.seek(number * _SIZE)
            return (self._file.read(_SIZE) or b"").ljust(_SIZE, b"\0")

    def _put(self, number: int, data: bytes) -> None:
        self._dirty = True
        with self._lock:
            self._file.seek(number * _SIZE)
            if self._file.write(data) != _SIZE:
                raise OSError(f"{self.path} could not be written")


def _sync_folder(folder: Path) -> None:
    """Make durable that a file is there, where the system lets a folder be synced."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
