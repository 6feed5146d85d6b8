"""Runs of the program that begin where its libraries are loaded already: seconds sooner.

In: its arguments and environment. Out: a process with pipes, which reads like `subprocess.Popen`.
Where the start or the interpreter's end is the point, tests start a Python of their own instead.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import reduction
from pathlib import Path
from typing import Any

from checkout import REPO

_PROGRAMS = multiprocessing.get_context("forkserver")
_PROGRAMS.set_forkserver_preload(["loaded"])


class Program:
    """One run of ``run_live.py``, in a process of its own.

    Args:
        arguments: of the command line.
        env: what its environment has more than ours.
        screen: the file that takes its standard output, in place of the pipe.

    Attributes:
        pid: of its process.
        stdout, stderr: what it writes; UTF-8.
        returncode: its exit status, or -N if signal N ended it; None before `wait`.
    """

    def __init__(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        screen: Path | None = None,
    ) -> None:
        read_out, out = os.pipe()
        if screen is not None:
            os.close(out)
            out = os.open(screen, os.O_WRONLY)
        read_err, err = os.pipe()
        environment = {**os.environ, **_own_store(), **(env or {})}
        self._process = _PROGRAMS.Process(
            target=_run,
            args=([*map(str, arguments)], os.getcwd(), environment, _Passed(out), _Passed(err)),
        )
        self._process.start()
        os.close(out)
        os.close(err)
        self.pid: int = self._process.pid or 0
        self.stdout: io.TextIOWrapper = os.fdopen(read_out, encoding="utf-8", errors="replace")
        self.stderr: io.TextIOWrapper = os.fdopen(read_err, encoding="utf-8", errors="replace")
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        self.returncode = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait for its end; `TimeoutError` after so many seconds, when it is killed."""
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            self._process.kill()
            raise TimeoutError(f"the program did not end within {timeout} s")
        return status

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for its end; the rest of what it wrote."""
        with ThreadPoolExecutor(2) as readers, self.stdout, self.stderr:
            texts = [readers.submit(stream.read) for stream in (self.stdout, self.stderr)]
            self.wait(timeout)
            return texts[0].result(), texts[1].result()

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def run(*arguments: str | Path, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run the program to its end: exit status, standard output and standard error."""
    program = Program(*arguments, env=env)
    out, err = program.communicate(timeout=250)
    assert program.returncode is not None
    return program.returncode, out, err


@contextmanager
def doomed_server(*options: str | Path, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of a server, `http://127.0.0.1:8000/`, which is killed when the block ends."""
    program = Program("--no-browser", "--port", "0", *options, env=env)
    try:
        yield address_of(program)
    finally:
        program.send_signal(signal.SIGKILL)
        program.wait(30)


def address_of(program: Program) -> str:
    """Where the dashboard is, which is what a server says first."""
    line = program.stdout.readline()
    assert line.startswith("The dashboard is at http://127.0.0.1:"), line
    return line.split()[4]


def _own_store() -> dict[str, str]:
    return {"LIVE_EMOTION_STORE": str(Path(tempfile.mkdtemp()) / "store.sqlite")}


class _Passed:
    """A file descriptor that is sent along to the process that starts."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> tuple[Callable[[Any], _Passed], tuple[Any]]:
        return _received, (reduction.DupFd(self.fd),)


def _received(sent: Any) -> _Passed:
    return _Passed(sent.detach())


def _run(
    arguments: list[str], folder: str, environment: dict[str, str], out: _Passed, err: _Passed
) -> None:
    """What the new process does instead of what Python does at its start."""
    for number, passed in ((1, out), (2, err)):
        os.dup2(passed.fd, number)
        os.close(passed.fd)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # the environment says where
    sys.path.insert(0, str(REPO))
    sys.argv = ["run_live.py", *arguments]
    import run_live

    run_live.console()
