"""How soon a Ray cluster answers, with more and more streams and replicas, and what that costs.

In: a recording. Out: a `ClusterMeasurement`, which prints as a table or as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import numpy as np
from prometheus_client import REGISTRY
from pydantic import BaseModel
from ray import serve

from models.errors import UsageError
from realtime.analyzers import load_analyzer
from realtime.analyzers.cluster import ClusterAnalyzer
from realtime.analyzers.deployments import APPLICATION, Models, application
from realtime.bench.local import TRIAL_S, play_streams, sound_of, utterances_in
from realtime.bench.report import Machine, Percentiles, Trial, close_to_result, row
from realtime.media import SAMPLE_RATE

_ROUND_TRIPS = 50
_STAGES = {"stt": "sound to the recogniser", "faces": "pictures to search", "mer": "to the model"}


class Crossing(BaseModel):
    """What one utterance costs between a gateway and the replicas of one deployment.

    Attributes:
        calls: questions an utterance.
        bytes: of all of them together, without what the transport adds.
        there_and_back: what one question of the mean size takes, if nothing is done with it.
    """

    calls: float
    bytes: float
    there_and_back: Percentiles


class Scaling(BaseModel):
    """Some streams at once, and so many replicas of each deployment.

    Attributes:
        crossing: stage to what it cost.
    """

    replicas: int
    trial: Trial
    crossing: dict[str, Crossing]


class ClusterMeasurement(BaseModel):
    """How soon a cluster answers.

    Attributes:
        recording: name of the file.
        profile: the emotion model.
        stt: the engine that writes down the words.
        machine: the gateway's.
    """

    recording: str
    profile: str
    stt: str
    machine: Machine
    scalings: list[Scaling]

    def __str__(self) -> str:
        lines = [
            f"{self.recording}; model {self.profile}, words {self.stt}",
            str(self.machine),
        ]
        for scaling in self.scalings:
            several = "s" if scaling.replicas > 1 else ""
            title = f"{scaling.replicas} replica{several} of each, ms"
            if f"\n{title}" not in "\n".join(lines):
                lines += ["", row(title, ["p50", "p95", "p99"])]
            lines.append(close_to_result(scaling.trial))
        lines += ["", row("crossing, an utterance", ["calls", "kB", "ms each"], "median, no work")]
        for stage, cost in self.scalings[0].crossing.items():
            each = f"{1000 * cost.there_and_back.p50:.1f}"
            lines.append(
                row(_STAGES[stage], [f"{cost.calls:.1f}", f"{cost.bytes / 1e3:.0f}", each])
            )
        shares = [(s.trial.cpu, s.trial.children_cpu) for s in self.scalings]
        gateway, cluster = (f"{100 * share:.1f}" for share in np.median(shares, axis=0))
        lines += [
            "",
            row("CPU of a stream, % of a core", [], "median of the above"),
            row("gateway", [gateway]),
            row("processes it has started", [cluster], "a cluster of this machine alone, whole"),
        ]
        return "\n".join(lines)


async def measure_cluster(
    recording: str,
    where: str,
    *,
    profile: str = "embedded",
    stt: str = "auto",
    most_streams: int = 4,
    most_replicas: int = 2,
    on_progress: Callable[[str], None] = lambda step: None,
) -> ClusterMeasurement:
    """Play the first 40 s of a recording live, in 1, 2, 4, ... streams for 1, 2, ... replicas.

    Args:
        recording: a file in which somebody speaks.
        where: the cluster; no other program should use it meanwhile, for its replicas change.
        profile, stt, where: see `load_analyzer`.
        most_streams, most_replicas: powers of 2 are tried up to these.
        on_progress: told each step as it begins.

    Raises:
        UsageError: the recording cannot be opened, is damaged, or nobody speaks in it.
        SourceError: it broke off.
        AnalysisError: no utterance could be analysed.
    """
    name, samples = sound_of(recording)
    closed, _ = await utterances_in(samples)
    utterances = sum(utterance.stop <= TRIAL_S * SAMPLE_RATE for utterance in closed)
    if not utterances:
        raise UsageError(f"nobody speaks in {name}: give a recording in which somebody does")
    on_progress("start-up")
    analyzer = await asyncio.to_thread(load_analyzer, where, profile, stt)
    assert isinstance(analyzer, ClusterAnalyzer)
    scalings = []
    with contextlib.closing(analyzer):
        for replicas in _powers(most_replicas):
            models = Models(profile=profile, stt=analyzer.engine, replicas=replicas)
            await asyncio.to_thread(
                serve.run, application(models), name=APPLICATION, route_prefix=None
            )
            for streams in _powers(most_streams):
                on_progress(f"{streams} streams, {replicas} replicas")
                before = {stage: _crossed(stage) for stage in _STAGES}
                trial = await play_streams(
                    recording, analyzer, streams=streams, utterances=utterances
                )
                crossing = {}
                for stage in _STAGES:
                    calls, size = np.subtract(_crossed(stage), before[stage]).tolist()
                    crossing[stage] = Crossing(
                        calls=calls / trial.utterances,
                        bytes=size / trial.utterances,
                        there_and_back=await _there_and_back(analyzer, int(size / calls)),
                    )
                scalings.append(Scaling(replicas=replicas, trial=trial, crossing=crossing))
        return ClusterMeasurement(
            recording=name,
            profile=profile,
            stt=analyzer.engine,
            machine=Machine.here(),
            scalings=scalings,
        )


def _powers(most: int) -> list[int]:
    return [2**n for n in range(most.bit_length())]


def _crossed(stage: str) -> tuple[float, float]:
    """Questions asked so far, and their bytes."""
    calls = REGISTRY.get_sample_value("live_emotion_crossed_seconds_count", {"stage": stage})
    size = REGISTRY.get_sample_value("live_emotion_crossed_bytes_total", {"stage": stage})
    return calls or 0, size or 0


async def _there_and_back(analyzer: ClusterAnalyzer, size: int) -> Percentiles:
    """Of a question of so many bytes, for which no replica works."""
    sound = np.random.default_rng(0).random(max(1, size // 4), np.float32)
    taken = []
    for _ in range(_ROUND_TRIPS):
        began = time.perf_counter()
        await analyzer.ask("stt", "nothing", sound, size=0)
        taken.append(time.perf_counter() - began)
    return Percentiles.of(taken)
