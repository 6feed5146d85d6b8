"""What `bench` found: figures for a program, and the table of them for a person.

In: what `realtime.bench.local` has measured. Out: a `Measurement`; `str` of it is the table.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, computed_field

from realtime.bench.profile import Profile

PROMPT_S = 0.3
"""Seconds from the close of an utterance in which most answers, 95 of 100, are to be there."""


class Percentiles(BaseModel):
    """Of one duration, in seconds, over all utterances.

    Between two measured values they are interpolated linearly, as `numpy.percentile` does.
    """

    p50: float
    p95: float
    p99: float

    @staticmethod
    def of(values: Sequence[float]) -> Percentiles:
        """Of at least one value."""
        p50, p95, p99 = np.percentile(values, [50, 95, 99]).tolist()
        return Percentiles(p50=p50, p95=p95, p99=p99)


class Machine(BaseModel):
    """What the figures hold for.

    Attributes:
        cores: those that this process may use.
        memory_gib: of the whole machine.
    """

    processor: str
    cores: int
    memory_gib: float
    system: str
    python: str
    torch: str

    @staticmethod
    def here() -> Machine:
        """This one."""
        import psutil
        import torch

        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
        return Machine(
            processor=_processor(),
            cores=cores or 1,
            memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
            system=platform.platform(terse=True),
            python=platform.python_version(),
            torch=torch.__version__,
        )

    def __str__(self) -> str:
        return (
            f"{self.processor}, {self.cores} cores, {self.memory_gib} GiB; {self.system}; "
            f"Python {self.python}, torch {self.torch}"
        )


class Trial(BaseModel):
    """Some streams at once, at live pace, in one process and with one set of models.

    Attributes:
        streams: how many.
        utterances: how many were answered, in all streams together.
        failed: how many of them with a failure.
        missing: how many utterances that there are were not answered.
        overloads: how often a stream warned that it could not keep up.
        close_to_result: from the decision that an utterance is over to its result.
        end_to_result: from the end of the utterance itself, the hangover included.
        stages: stage to how long it took; stages overlap.
        cpu: CPU seconds of this process for one second of one stream, decoding included.
        children_cpu: the same of the processes it has started, as a Ray cluster is.
        resident_mib: resident memory of this process, where it was highest.
    """

    streams: int
    utterances: int
    failed: int
    missing: int
    overloads: int
    close_to_result: Percentiles
    end_to_result: Percentiles
    stages: dict[str, Percentiles]
    cpu: float
    children_cpu: float
    resident_mib: float

    @computed_field  # type: ignore[prop-decorator]
    @property
    def shortcomings(self) -> list[str]:
        """Why this many streams are too many; empty if they are not."""
        late = self.close_to_result.p95 >= PROMPT_S
        counted = {
            "failed": self.failed,
            "missing": self.missing,
            "overload warnings": self.overloads,
        }
        found = [f"p95 not under {1000 * PROMPT_S:.0f} ms"] if late else []
        return found + [f"{count} {what}" for what, count in counted.items() if count]


class Speed(BaseModel):
    """The whole recording, as fast as it goes.

    Attributes:
        media_s: its length.
        analyze_s: wall seconds the program took, the mean of two runs.
        reference_s: wall seconds the reference path took, between those two.
    """

    media_s: float
    analyze_s: float
    reference_s: float

    @computed_field  # type: ignore[prop-decorator]
    @property
    def analyze(self) -> float:
        """The program's speed, times real time."""
        return self.media_s / self.analyze_s

    @computed_field  # type: ignore[prop-decorator]
    @property
    def reference(self) -> float:
        """The reference path's speed, times real time."""
        return self.media_s / self.reference_s

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratio(self) -> float:
        """How many times as fast as the reference path the program is."""
        return self.reference_s / self.analyze_s


class Soak(BaseModel):
    """One long session, at full speed.

    Attributes:
        hours: of media.
        resident_mib: resident memory of this process, once a minute of media.
    """

    hours: float
    resident_mib: list[float]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def growth_mib(self) -> float:
        """By how much this process grew, from the second to the last quarter of the time."""
        return _growth(self.resident_mib)


def _growth(values: Sequence[float]) -> float:
    """Between medians, because a peak is no growth; the first quarter is for warming up."""
    quarter = len(values) // 4
    return float(np.median(values[-quarter:]) - np.median(values[quarter : 2 * quarter]))


class Measurement(BaseModel):
    """How quick a machine is on a recording.

    Attributes:
        recording: name of the file.
        utterances: how many there are in it.
        profile: the emotion model.
        stt: the engine that writes down the words.
        start_up_s: wall seconds from the start of a fresh process, on a machine that has run the
            program before, until its models are loaded and have written down a second of speech.
        trials: one stream, then more and more until they were too many.
        work: stage to how long it takes for one utterance, if nothing is done ahead.
        speed: without waiting for the clock.
        listening_cpu: CPU seconds for one second of sound of detecting speech and finding where
            utterances begin and end, measured alone. Part of `Trial.cpu`.
        stream: where the time of one stream at live pace goes; None where the system cannot tell.
        soak: one long session, if that was asked for.
    """

    recording: str
    utterances: int
    profile: str
    stt: str
    machine: Machine
    start_up_s: float
    trials: list[Trial]
    work: dict[str, Percentiles]
    speed: Speed
    listening_cpu: float
    stream: Profile | None = None
    soak: Soak | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def prompt_streams(self) -> int:
        """The most streams that were answered promptly, as were all fewer that were tried."""
        prompt = 0
        for trial in self.trials:
            if trial.shortcomings:
                break
            prompt = trial.streams
        return prompt

    @computed_field  # type: ignore[prop-decorator]
    @property
    def stream_mib(self) -> float:
        """Resident memory that a further stream adds to this process, while it keeps up."""
        one = self.trials[0]
        prompt = [trial for trial in self.trials[1:] if trial.streams <= self.prompt_streams]
        most = (prompt or self.trials[1:])[-1]
        return (most.resident_mib - one.resident_mib) / (most.streams - one.streams)

    def __str__(self) -> str:
        one, most = self.trials[0], self.trials[-1]
        tried = ", ".join(str(trial.streams) for trial in self.trials)
        return "\n".join(
            [
                f"{self.recording}: {self.speed.media_s:.1f} s, {self.utterances} utterances; "
                f"model {self.profile}, words {self.stt}",
                str(self.machine),
                "",
                row("at live pace, ms", ["p50", "p95", "p99"]),
                _delays("end to result, 1 stream", one.end_to_result),
                close_to_result(one),
                *(_delays(f"  {name}", taken) for name, taken in one.stages.items()),
                *(close_to_result(trial) for trial in self.trials[1:]),
                row(
                    "streams answered in time",
                    [str(self.prompt_streams)],
                    f"p95 under {1000 * PROMPT_S:.0f} ms, nothing lost; tried: {tried}",
                ),
                "",
                row("one utterance, nothing ahead, ms", ["p50", "p95", "p99"]),
                *(_delays(stage, taken) for stage, taken in self.work.items()),
                "",
                row("at full speed, times real time", []),
                row("analyze", [f"{self.speed.analyze:.2f}"]),
                row("reference path", [f"{self.speed.reference:.2f}"]),
                row("ratio", [f"{self.speed.ratio:.2f}"]),
                "",
                row("one stream at live pace", []),
                row("CPU, % of a core", [f"{100 * one.cpu:.1f}"]),
                row("  VAD and endpointing of it", [f"{100 * self.listening_cpu:.1f}"]),
                row(
                    "memory, MiB",
                    [f"{one.resident_mib:.0f}"],
                    f"{most.resident_mib:.0f} with {most.streams} streams",
                ),
                row("  a further stream adds", [f"{self.stream_mib:.0f}"]),
                *(_soak(self.soak) if self.soak else ()),
                row("start-up, s", [f"{self.start_up_s:.1f}"]),
                *(_profile(self.stream) if self.stream else ()),
            ]
        )


def close_to_result(trial: Trial) -> str:
    """A row: how soon these streams were answered, and what they lacked."""
    name = f"close to result, {trial.streams} stream{'s' if trial.streams > 1 else ''}"
    return _delays(name, trial.close_to_result, ", ".join(trial.shortcomings))


def _delays(name: str, delays: Percentiles, note: str = "") -> str:
    values = [f"{1000 * value:.0f}" for value in (delays.p50, delays.p95, delays.p99)]
    return row(name, values, note)


def _soak(soak: Soak) -> list[str]:
    return [
        row(f"  growth in {soak.hours:g} h of media", [f"{soak.growth_mib:+.1f}"]),
    ]


def _profile(profile: Profile) -> list[str]:
    def shares(*seconds: float) -> list[str]:
        return [f"{1000 * each / profile.seconds:.1f}" for each in seconds]

    return [
        "",
        row("of a second of one stream, ms", ["CPU", "ready", "blocked"]),
        *(row(name, shares(c.cpu, c.ready, c.blocked)) for name, c in profile.stages.items()),
        "",
        row("the same by thread, ms", ["CPU"]),
        *(row(name, shares(cpu)) for name, cpu in profile.threads.items()),
    ]


def row(name: str, values: Sequence[str], note: str = "") -> str:
    """A row of a table."""
    cells = "".join(f"{value:>8}" for value in values)
    return f"{name:<36}{cells}  {note}".rstrip()


def _processor() -> str:
    """The name of the processor, as far as the system tells it."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
