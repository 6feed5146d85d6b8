"""The standard streams, which may be closed, full or unable to print what is to be shown.

In: text. Out: the same text, as long as there is a place for it.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO, cast

from models.naming import shown

if TYPE_CHECKING:
    from rich.console import Console


class Output(io.TextIOBase):
    """A text stream that takes everything, also when its disk is full or its reader has gone.

    Args:
        stream: where the text goes.
        name: what to call it in a message.

    Attributes:
        problem: why it takes no more, in one line; None as long as it does. What is written
            afterwards is dropped.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self.problem: str | None = None
        self._stream = stream
        self._name = name

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream."""
        return self._stream.encoding

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Of the stream."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write `text`, if that is possible."""
        if self.problem is None:
            try:
                self._stream.write(text)
            except OSError as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, if that is possible."""
        if self.problem is None and not self._stream.closed:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        """Close the stream. Idempotent."""
        super().close()  # which flushes
        try:
            self._stream.close()
        except OSError as error:  # some disks tell only now
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if self.problem is not None:
            return
        if isinstance(error, BrokenPipeError):
            self.problem = f"{self._name} was closed by whoever read it"
        else:
            self.problem = (
                f"{self._name} takes no more ({error.strerror or error}): make room, or write "
                "elsewhere"
            )


def cannot_be_written(error: OSError) -> bool:
    """Whether this is how a full disk or a lost terminal shows."""
    return error.filename is None and error.errno in _NO_MORE


_NO_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def standard_output() -> Output:
    """The standard output."""
    return _standard(sys.stdout, "standard output")


def standard_error() -> Output:
    """The standard error."""
    return _standard(sys.stderr, "standard error")


class _Standard(Output):
    def close(self) -> None:
        """Leave the stream open: others write to it, too."""
        self.flush()


def open_standard_streams() -> None:
    """Let those with which the program was not started lead nowhere.

    A file opened later would else get the number of one of them, and with it what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one


def _standard(stream: TextIO | None, name: str) -> Output:
    # Whoever starts the program without it wants nothing to be shown.
    return _Standard(stream or open(os.devnull, "w", encoding="utf-8"), name)


def console_on(output: Output) -> Console:
    """rich's console, whose text goes to `output`."""
    from rich.console import Console

    return Console(file=cast("TextIO", output))


def complain(problem: str) -> None:
    """Tell what is wrong in one line. Where it cannot be written either, the exit status tells."""
    print(f"error: {shown(problem)}", file=standard_error(), flush=True)
