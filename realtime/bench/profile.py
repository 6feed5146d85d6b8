"""Where the time of a running program goes: by stage, and by thread.

In: this process at work. Out: a `Profile`.

A thread looks at what all the others are doing, again and again, and adds what each of them took
since the last look to the stage it is in. The program itself knows nothing of it. The thread can
look only while the others have let go of the interpreter, which favours the stages that do: of one
stream, by clocks around each stage, the VAD took 24 ms of a second where this says 30, and levels 7
where it says 16. The sums by thread are exact.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import CodeType, FrameType

from pydantic import BaseModel

_PERIOD_S = 0.005
"""Between two looks, on average. At random times, or regular work would be missed or doubled."""

_STAGES = (
    # The first that is anywhere on a thread's stack counts: file or folder, function, stage.
    ("models/stt/", "recognise_so_far", "recogniser, partial texts"),
    ("models/stt/", "", "recogniser"),
    ("models/sounds/", "", "sounds"),
    ("models/people/", "", "who speaks"),
    ("models/prosody.py", "", "prosody"),
    ("models/mer/visual.py", "", "face network"),
    ("models/mer/acoustic.py", "", "voice network"),
    ("models/mer/textual.py", "", "language network"),
    ("models/mer/", "", "fusion"),
    ("models/faces.py", "align", "face crops"),
    ("models/faces.py", "follow", "faces, followed"),
    ("models/faces.py", "", "faces, searched"),
    ("models/vad.py", "", "VAD"),
    ("realtime/listener.py", "", "endpointing, levels"),
    ("realtime/sources/", "", "source"),
    ("realtime/", "", "session, events"),
)

_ROOT = f"{Path(__file__).parents[2]}/"
_OTHER = "other"
_NATIVE = "threads of libraries"
"""Those that Python has not begun: of the decoder and of the networks' runtimes."""

_WAITING = ("threading.py", "queue.py", "selectors.py")
"""A thread that stands in one of these waits for work, or for the clock."""


class Cost(BaseModel):
    """Seconds, of all threads together.

    Attributes:
        cpu: on a core.
        ready: ready to go on, but all cores were taken.
        blocked: in the midst of it, but waiting for the interpreter's lock, a thread or a file.
    """

    cpu: float = 0.0
    ready: float = 0.0
    blocked: float = 0.0


class Profile(BaseModel):
    """What this process needed in a time.

    Attributes:
        seconds: how long that was.
        stages: stage to what it cost, the dearest first.
        threads: thread to its CPU seconds, the dearest first; threads of one name are one.
    """

    seconds: float
    stages: dict[str, Cost]
    threads: dict[str, float]


@contextmanager
def profiled() -> Iterator[Profile | None]:
    """Profile what happens in the block; what it gives is complete after that.

    None where the system does not tell what each thread takes: only Linux does.
    """
    if not Path("/proc/self/schedstat").is_file():
        yield None
        return
    profile = Profile(seconds=0.0, stages={}, threads={})
    sampler = _Sampler()
    began = time.perf_counter()
    sampler.start()
    try:
        yield profile
    finally:
        sampler.stop()
        profile.seconds = time.perf_counter() - began
        profile.stages = dict(sorted(sampler.stages.items(), key=lambda one: -one[1].cpu))
        profile.threads = dict(sorted(sampler.threads.items(), key=lambda one: -one[1]))


class _Sampler(threading.Thread):
    """Looks at all threads but itself, again and again."""

    def __init__(self) -> None:
        super().__init__(name="profiler", daemon=True)
        self.stages: defaultdict[str, Cost] = defaultdict(Cost)
        self.threads: defaultdict[str, float] = defaultdict(float)
        self._before: dict[int, tuple[float, float]] = {}
        self._at = 0.0
        self._unseen: defaultdict[str, float] = defaultdict(float)
        self._seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._over = threading.Event()

    def run(self) -> None:
        """Until it is stopped."""
        self._at, self._before = time.perf_counter(), dict(_tasks())
        while not self._over.wait(random.uniform(0, 2 * _PERIOD_S)):
            self._look()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()
        for name, cpu in self._unseen.items():  # it was for what it was seen at in other looks
            looks = self._seen[name] or Counter([_OTHER])
            for stage, count in looks.items():
                self.stages[stage].cpu += cpu * count / looks.total()

    def _look(self) -> None:
        now = time.perf_counter()
        passed, self._at = now - self._at, now
        frames = sys._current_frames()
        begun = {thread.native_id: thread for thread in threading.enumerate()}
        for number, taken in _tasks():
            if number == self.native_id:
                continue
            before = self._before.get(number, (0.0, 0.0))
            self._before[number] = taken
            cpu, ready = taken[0] - before[0], taken[1] - before[1]
            thread = begun.get(number)
            name = thread.name if thread else _NATIVE
            self.threads[name] += cpu
            frame = frames.get(thread.ident or 0) if thread else None
            if thread is None:
                self.stages[_NATIVE].cpu += cpu
            elif frame is None or frame.f_code.co_filename.endswith(_WAITING):
                self._unseen[name] += cpu  # in a piece of work that began and ended between looks
            else:
                stage = _stage(frame)
                self._seen[name][stage] += 1
                cost = self.stages[stage]
                cost.cpu += cpu
                cost.ready += ready
                cost.blocked += max(0.0, passed - cpu - ready)


def _tasks() -> Iterator[tuple[int, tuple[float, float]]]:
    """The threads of this process: number, and seconds on a core and ready for one."""
    for task in os.listdir("/proc/self/task"):
        try:
            cpu, ready, _ = Path(f"/proc/self/task/{task}/schedstat").read_text().split()
        except (OSError, ValueError):  # it is gone
            continue
        yield int(task), (int(cpu) / 1e9, int(ready) / 1e9)


def _stage(frame: FrameType | None) -> str:
    """What a thread is doing whose innermost frame this is."""
    first = len(_STAGES)
    while frame is not None and "/asyncio/" not in frame.f_code.co_filename:
        first = min(first, _place(frame.f_code))
        frame = frame.f_back
    return _STAGES[first][2] if first < len(_STAGES) else _OTHER


@cache
def _place(code: CodeType) -> int:
    """Which of `_STAGES` a function belongs to; their number if to none."""
    path = code.co_filename.removeprefix(_ROOT)
    return next(
        (
            place
            for place, (where, name, _) in enumerate(_STAGES)
            if path.startswith(where) and name in ("", code.co_name)
        ),
        len(_STAGES),
    )
