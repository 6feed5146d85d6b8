"""Where the events of a session go: files, pipes and terminals, any of which may fail.

In: text. Out: the same text, as long as there is a place for it.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from models.errors import UsageError

if TYPE_CHECKING:
    from realtime.events import Event


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


class EventsFile:
    """What ``--events`` names: a file, the standard output or nothing; not opened before `open`.

    Args:
        path: where; ``-`` is the standard output, None is nowhere.
        inputs: what is analysed.
        force: overwrite whatever file is at `path`, unless it is one of the inputs.

    Raises:
        UsageError: `path` holds something that must not be overwritten.
    """

    def __init__(self, path: str | None, inputs: Iterable[str], *, force: bool) -> None:
        self._path = path
        if path is None or path == "-":
            return
        if any(_same(path, given) for given in inputs):
            raise UsageError(
                f"{path} is what is to be analysed: choose another path for the events"
            )
        spare_others(path, "events", _holds_events, force=force)

    @property
    def is_stdout(self) -> bool:
        """Whether events go to the standard output."""
        return self._path == "-"

    def open(self) -> Output | None:
        """Open it, empty; `UsageError` if it cannot be written."""
        if self._path is None:
            return None
        if self.is_stdout:
            if sys.stdout is None:
                raise UsageError("standard output is closed: choose a path for the events")
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(encoding="utf-8")  # as JSON has to be
            return standard_output()
        try:
            stream = open(self._path, "w", encoding="utf-8")  # noqa: SIM115 - closed by `Output`
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(
                f"{self._path} cannot be written ({reason}): choose another path"
            ) from None
        return Output(stream, self._path)


class Outputs:
    """Where the events of sessions are told: in a file of JSON Lines, and on the screen.

    Used as a context manager, which opens and closes the file.

    Attributes:
        screen: what people read: the standard output, or, if the events go there, the standard
            error.
    """

    def __init__(self, events: EventsFile) -> None:
        self.screen = standard_error() if events.is_stdout else standard_output()
        self._events = events
        self._lines: Output | None = None
        self._working: list[Output] = [self.screen]

    def __enter__(self) -> Outputs:
        self._lines = self._events.open()
        if self._lines is not None:
            self._working.insert(0, self._lines)
        return self

    def __exit__(self, *_: object) -> None:
        if self._lines is not None:
            self._lines.close()

    @property
    def working(self) -> bool:
        """Whether any of them still takes something."""
        return bool(self._working)

    def write(self, event: Event) -> None:
        """Write an event to the file, if there is one."""
        if self._lines is not None:
            print(event.model_dump_json(), file=self._lines, flush=True)

    def failures(self) -> Iterator[str]:
        """Why outputs have failed since this was last asked, each in half a line."""
        for output in [*self._working]:
            if output.problem is not None:
                self._working.remove(output)
                yield output.problem


def spare_others(
    path: str | Path, kind: str, is_one: Callable[[Path], bool], *, force: bool
) -> None:
    """Refuse to overwrite a file that is of another kind than what is to be written.

    Args:
        kind: what the file is to hold, in words.
        is_one: whether a file that is not empty holds that.
        force: overwrite it, whatever it holds.

    Raises:
        UsageError: something would be lost.
    """
    file = Path(path)
    try:
        lost = file.is_file() and file.stat().st_size > 0 and not is_one(file)
    except (OSError, ValueError):  # it cannot be read
        lost = True
    if lost and not force:
        raise UsageError(
            f"{path} exists and holds no {kind}: choose another path, or overwrite it with --force"
        )


def holds_drawing(file: Path) -> bool:
    """Whether `file` is a picture that Matplotlib has drawn; photographs are not."""
    with file.open("rb") as content:
        return b"matplotlib" in content.read(_LONGEST_LINE).lower()


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


def _same(path: str, other: str) -> bool:
    """Whether both are one file, by whatever links."""
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):  # one of them is no file
        return False


def _holds_events(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8") as lines:
            first = json.loads(lines.readline(_LONGEST_LINE))
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and first.get("type") == "session.started"


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


_LONGEST_LINE = 1 << 16
"""Characters of the first event, the source's name and address included."""
