"""Where the events of a session go: files, pipes, terminals, the network, any of which may fail.

In: events, and text. Out: the same, as long as there is a place for it.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from models.console import Output, standard_error, standard_output
from models.errors import UsageError
from models.overwriting import BEGINNING, spare_others

if TYPE_CHECKING:
    from realtime.events import Event


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


class Outlet(Protocol):
    """What sends events to other programs.

    Attributes:
        problem: why it sends no more, in half a line; None as long as it does.
    """

    problem: str | None

    def send(self, event: Event) -> None:
        """Send an event, if it is one to be sent."""

    def close(self) -> None:
        """Let go of the network. Idempotent."""


class Outputs:
    """Where the events of sessions are told: in a file of JSON Lines, on the screen, by outlets.

    Used as a context manager, which opens and closes the file, and closes the outlets.

    Attributes:
        screen: what people read: the standard output, or, if the events go there, the standard
            error.
    """

    def __init__(self, events: EventsFile) -> None:
        self.screen = standard_error() if events.is_stdout else standard_output()
        self._events = events
        self._lines: Output | None = None
        self._outlets: list[Outlet] = []
        self._working: list[Output | Outlet] = [self.screen]

    def __enter__(self) -> Outputs:
        self._lines = self._events.open()
        if self._lines is not None:
            self._working.insert(0, self._lines)
        return self

    def __exit__(self, *_: object) -> None:
        if self._lines is not None:
            self._lines.close()
        for outlet in self._outlets:
            outlet.close()

    def add(self, outlet: Outlet) -> None:
        """Tell the events there, too."""
        self._outlets.append(outlet)
        self._working.append(outlet)

    @property
    def working(self) -> bool:
        """Whether any of them still takes something."""
        return bool(self._working)

    def write(self, event: Event) -> None:
        """Write an event to the file, if there is one, and send it by the outlets."""
        if self._lines is not None:
            print(event.model_dump_json(), file=self._lines, flush=True)
        for outlet in self._outlets:
            outlet.send(event)

    def failures(self) -> Iterator[str]:
        """Why outputs have failed since this was last asked, each in half a line."""
        for output in [*self._working]:
            if output.problem is not None:
                self._working.remove(output)
                yield output.problem


def _same(path: str, other: str) -> bool:
    """Whether both are one file, by whatever links."""
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):  # one of them is no file
        return False


def _holds_events(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8") as lines:
            first = json.loads(lines.readline(BEGINNING))
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and first.get("type") == "session.started"
