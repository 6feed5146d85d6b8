"""The films of sessions, beside the file that keeps what they told.

In: the id of a session that is recorded. Out: a file of its own, sealed with its key, to write or
to read.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from realtime.storage.keys import SessionKey, SessionKeys
from realtime.storage.sealed import SealedFile
from realtime.storage.values import UnkeepableError

logger = logging.getLogger(__name__)


class Films:
    """A folder with a file for each session that has a film. The number of the session is its name.

    When the key of a session is destroyed, nobody can read its film any more; `sweep` removes it.

    Args:
        folder: made with the first film.
        held: the number and the key of a session; None if there is none, or it was deleted.
    """

    def __init__(self, folder: Path, held: Callable[[str], tuple[int, SessionKey] | None]) -> None:
        self._folder = folder
        self._held = held

    def create(self, id: str) -> SealedFile:
        """A new file for the film of a session.

        Raises:
            UnkeepableError: there is no such session.
            OSError: the file cannot be made.
        """
        if (held := self._held(id)) is None:
            raise UnkeepableError(f"there is no session {id}: it may have been deleted")
        number, key = held
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return SealedFile(self._path(number), key, new=True)

    def has(self, id: str) -> bool:
        """Whether there is a film of a session, and something in it."""
        held = self._held(id)
        path = None if held is None else self._path(held[0])
        return path is not None and path.exists() and path.stat().st_size > 0

    def open(self, id: str) -> BinaryIO | None:
        """The film of a session, to read; None if there is none.

        Raises:
            OSError: it cannot be read.
        """
        if (held := self._held(id)) is None:
            return None
        number, key = held
        try:
            return io.BufferedReader(SealedFile(self._path(number), key))
        except FileNotFoundError:
            return None

    def sweep(self, keys: SessionKeys) -> None:
        """Remove the films of sessions that were deleted."""
        for film in self._folder.glob("*"):
            if film.name.isdecimal() and keys.of(int(film.name)) is None:
                try:
                    film.unlink()
                except OSError as error:
                    logger.error("the film of a deleted session is still there: %s", error)

    def _path(self, number: int) -> Path:
        return self._folder / str(number)
