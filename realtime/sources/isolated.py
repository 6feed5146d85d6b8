"""Media that is decoded in a process of its own, which it may crash or wedge without harm.

In: what `FileSource` takes, and the limits of that process. Out: the same media, item for item.
The process imports PyAV and NumPy, nothing of the models, and never outlives its source.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, astuple
from pathlib import Path
from typing import IO, Any

import numpy as np

from models.errors import AnalyserError, SourceError, UsageError
from realtime.media import (
    AudioBlock,
    FrameThinner,
    GreyPicture,
    Media,
    SourceNotice,
    VideoFrame,
)
from realtime.sources.base import Isolation
from realtime.sources.file import About, FileSource, Pace, Recording

logger = logging.getLogger(__name__)

START_S = 60.0
"""How long the process may take to start: half a second, but much longer on a crowded machine."""


class IsolatedSource(FileSource):
    """A recording or a stream from the network, like `FileSource`, decoded in its own process.

    A file that crashes the decoder, wedges it or makes it take too much memory ends this source
    with an error of one line, and nothing else.

    Raises `UsageError` from `start()` for what cannot be opened, has no sound or is beyond a limit.
    """

    def __init__(
        self,
        spec: str,
        *,
        pace: Pace,
        thinner: FrameThinner,
        timeout_s: float,
        isolation: Isolation,
        audio_track: str | None = None,
    ) -> None:
        super().__init__(
            spec, pace=pace, thinner=thinner, timeout_s=timeout_s, audio_track=audio_track
        )
        self._isolation = isolation
        self._job = {
            "spec": spec,
            "timeout_s": timeout_s,
            "audio_track": audio_track,
            "rate": thinner.rate,
            "film_rate": thinner.film_rate,
            "longest_side": thinner.longest_side,
            **asdict(isolation),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: type[AnalyserError] = UsageError
        self._due = math.inf  # when, on the clock of time.monotonic, the process owes a message
        self._stuck = False
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the source; `UsageError` if it cannot be, has no sound or is beyond a limit."""
        self._watching = asyncio.create_task(self._watch(), name=f"watch {self.name}")
        try:
            await super().start()
        except BaseException:
            self._kill()
            raise

    async def aclose(self) -> None:
        """End the process, and release what is held."""
        self._stop.set()
        self._kill()
        await super().aclose()
        if self._watching is not None:
            self._watching.cancel()

    def _open(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # a Ctrl-C in the terminal is for us alone
        )
        if self._stop.is_set():  # by someone who saw no process to kill
            self._kill()
        self._receive(START_S)
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps(self._job).encode() + b"\n")
            stdin.flush()
        except OSError:
            raise self._lost() from None
        _, *about = self._receive(self._isolation.stall_s)[0]
        self._begin(About(*about))
        self._failure = SourceError

    def _read(self) -> Iterator[Media]:
        while (message := self._receive(self._isolation.stall_s))[0] != ["end"]:
            yield _item(*message)

    def _close(self) -> None:
        if self._process is not None:
            self._process.kill()
            with self._process:  # which closes its pipes and waits for its end
                pass

    def _receive(self, patience_s: float) -> tuple[list[Any], bytearray]:
        """The next message of the process; an error instead, if it tells of one or is lost."""
        assert self._process is not None
        assert self._process.stdout is not None
        self._due = time.monotonic() + patience_s
        try:
            head, body = _read_message(self._process.stdout)
        except (EOFError, OSError, ValueError):
            raise self._lost() from None
        finally:
            self._due = math.inf
        match head:
            case ["error", message]:
                raise self._failure(message)
            case ["memory"]:
                raise self._failure(
                    f"{self.name} takes more memory to decode than there is: "
                    "make its pictures smaller, or convert it"
                )
            case ["failed", reason]:
                failure = f"{self.name}: its decoder failed ({reason}): {_REMEDY}"
                logger.warning("a decoder failed (%s)", reason.partition(":")[0])  # and no name
                raise self._failure(failure)
        return head, body

    def _lost(self) -> AnalyserError:
        """What to say when the process gives nothing more."""
        assert self._process is not None
        self._process.kill()
        status = self._process.wait()
        if self._stuck:
            fate = f"was stuck for {self._isolation.stall_s:g} s and was ended"
        elif status == -9:
            fate = "was killed, as a system does that has no memory left"
        else:
            fate = f"crashed (exit status {status})"
        return self._failure(f"{self.name}: its decoder {fate}: {_REMEDY}")

    async def _watch(self) -> None:
        """End the process when a message of it is overdue: it does not even notice a hangup."""
        while not self._ended.is_set():
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ended.wait(), self._isolation.stall_s / 8)
            if time.monotonic() > self._due:
                self._stuck = True
                self._kill()
                return

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()


_REMEDY = "check that it plays elsewhere, or convert it"


def _environment() -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path),
        # What each thread reserves, of address space alone, would count as memory.
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }


_PROGRAM = """\
import sys
sys.path = [*filter(None, sys.path)]  # not from the current directory
from realtime.sources.isolated import decode
decode()
"""


# --- in the decoder's process ---------------------------------------------------------------------


def decode() -> None:
    """Decode what standard input names, and write its media to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Windows it reaches every process
    out = sys.stdout.buffer
    _write_message(out, ["ready"])
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_follow_parent, daemon=True).start()
    memory_limited = _limit_memory(job["memory_mb"])
    try:
        recording = Recording(
            job["spec"],
            thinner=FrameThinner(
                rate=job["rate"], film_rate=job["film_rate"], longest_side=job["longest_side"]
            ),
            timeout_s=job["timeout_s"],
            audio_track=job["audio_track"],
            max_frame_mpx=job["max_frame_mpx"],
            max_hours=job["max_hours"],
            memory_limited=memory_limited,
        )
        _write_message(out, ["about", *astuple(recording.open())])
        for item in recording:
            _write_item(out, item)
        last = ["end"]
    except (UsageError, SourceError) as error:
        last = ["error", str(error)]
    except MemoryError:
        last = ["memory"]
    except Exception as error:  # which a file brought about that is damaged in a new way
        last = ["failed", " ".join(f"{type(error).__name__}: {error}".split())]
    with suppress(OSError):  # the parent is gone
        _write_message(out, last)
    os._exit(0)  # nothing is left to do, and what a bad file left behind may crash


def _follow_parent() -> None:
    """End with the parent, whose death closes standard input."""
    os.read(0, 1)
    os._exit(0)


def _limit_memory(memory_mb: int) -> bool:
    """Allow so many 2^20 bytes beyond what is taken now; no core dumps. Whether the system can."""
    if sys.platform == "win32":
        return False
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return False
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + (memory_mb << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    return True


# --- between the two ------------------------------------------------------------------------------
# A message is a list in JSON and, of a block or a frame, its bytes. Nothing is unpickled: a file
# may have taken over the process that sends.

_LENGTHS = struct.Struct("<II")  # of the JSON and of the bytes

_LONGEST = 1 << 28
"""Bytes of one message: many more than a frame has."""


def _write_item(out: IO[bytes], item: Media) -> None:
    match item:
        case AudioBlock(start, samples):
            _write_message(out, ["block", start], samples.data.cast("B"))
        case VideoFrame(time, image, scale, film):
            images = [image, *(picture.image for picture in film)]
            pixels = b"".join(np.ascontiguousarray(one).tobytes() for one in images)
            times = [picture.time for picture in film]
            _write_message(out, ["frame", time, image.shape, scale, times], pixels)
        case SourceNotice(time, code, message):
            _write_message(out, ["notice", time, code, message])


def _item(head: list[Any], body: bytearray) -> Media:
    match head:
        case ["block", start]:
            return AudioBlock(start, np.frombuffer(body, np.float32))
        case ["frame", time, (height, width, _), scale, times]:
            pixels = np.frombuffer(body, np.uint8).reshape(-1, height, width)
            film = map(GreyPicture, times, pixels[3:])
            return VideoFrame(time, pixels[:3].reshape(height, width, 3), scale, tuple(film))
        case _:
            _, time, code, message = head
            return SourceNotice(time, code, message)


def _write_message(out: IO[bytes], head: list[Any], body: memoryview | bytes = b"") -> None:
    text = json.dumps(head).encode()
    out.write(_LENGTHS.pack(len(text), len(body)) + text)
    out.write(body)
    out.flush()


def _read_message(source: IO[bytes]) -> tuple[list[Any], bytearray]:
    """The next message; `EOFError` or `ValueError` where there is none."""
    lengths = _LENGTHS.unpack(_read_exactly(source, _LENGTHS.size))
    if max(lengths) > _LONGEST:
        raise ValueError("this is no message")
    text, body = (_read_exactly(source, length) for length in lengths)
    return json.loads(text), body


def _read_exactly(source: IO[bytes], length: int) -> bytearray:
    data = bytearray(length)
    if source.readinto(data) != length:  # type: ignore[attr-defined]
        raise EOFError
    return data
