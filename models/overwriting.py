"""Files that are to be written: nothing of another kind is lost by it.

In: paths. Out: an error, or a file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from models.errors import UsageError


def spare_others(
    path: str | Path, kind: str, is_one: Callable[[Path], bool], *, force: bool
) -> None:
    """Refuse to overwrite a file that is of another kind than what is to be written.

    Args:
        kind: what the file is to hold, in words.
        is_one: whether a file that is not empty holds that.
        force: overwrite it, whatever it holds.

    Raises:
        UsageError: something would be lost, or there can be no such file.
    """
    file = Path(path)
    try:
        lost = file.is_file() and file.stat().st_size > 0
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror}): choose another path"
        ) from None
    try:
        lost = lost and not is_one(file)
    except (OSError, ValueError):  # it cannot be read
        lost = True
    if lost and not force:
        raise UsageError(
            f"{path} exists and holds no {kind}: choose another path, or overwrite it with --force"
        )


def holds_drawing(file: Path) -> bool:
    """Whether `file` is a picture that Matplotlib has drawn; photographs are not."""
    with file.open("rb") as content:
        return b"matplotlib" in content.read(BEGINNING).lower()


def holds_no_json(path: str | Path) -> bool:
    """Whether `path` is a file with something in it, which does not begin as an object of JSON."""
    try:
        file = Path(path)
        if not file.is_file():
            return False
        with file.open("rb") as content:
            return content.read(1) not in (b"", b"{")
    except (OSError, ValueError):
        return False  # whoever opens it is told


@contextlib.contextmanager
def writing_json(path: str | None, *, force: bool) -> Iterator[Callable[[str], None]]:
    """How to write one JSON text: to a file, to standard output for ``-``, or to nowhere."""
    if path is None:
        yield lambda text: None
    elif path == "-":
        yield print
    else:
        spare_others(path, "JSON", lambda file: not holds_no_json(file), force=force)
        try:
            # What is there stays until there is something else to write.
            lines = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed below
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written ({error.strerror}): choose another path"
            ) from None

        def write(text: str) -> None:
            if os.path.isfile(path):  # pipes cannot be shortened
                lines.truncate(0)
            print(text, file=lines)

        with lines:
            yield write


BEGINNING = 1 << 16
"""Bytes or characters of a file that tell of what kind it is."""
