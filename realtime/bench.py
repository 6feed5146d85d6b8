"""How quick the whole program is on a recording: at live pace, and at full speed.

In: a recording. Out: delays and speed as a `Measurement`, which prints as a table or as JSON.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from realtime.analysis import UtteranceAnalyzer
from realtime.events import SessionEnded, UtteranceFailed, UtteranceResult
from realtime.session import LiveSession
from realtime.sources import open_source


class Spread(BaseModel):
    """Median and worst of one duration over all utterances, in seconds."""

    median: float
    worst: float


class Measurement(BaseModel):
    """What a recording showed.

    Attributes:
        clip_s: length of the recording, seconds of media time.
        live_s: wall seconds it took at live pace.
        fast_s: wall seconds it took at full speed.
        utterances: how many closed; `failed` of them could not be analysed.
        delays: at live pace, wall seconds: ``end to result`` (from the end of the utterance,
            hangover included), ``close to result``, and each stage.
    """

    clip_s: float
    live_s: float
    fast_s: float
    utterances: int
    failed: int
    delays: dict[str, Spread]

    def __str__(self) -> str:
        lines = [
            f"{self.utterances} utterances in {self.clip_s:.1f} s, {self.failed} failed",
            f"at live pace   {self.live_s:.1f} s",
            f"at full speed  {self.fast_s:.1f} s, {self.clip_s / self.fast_s:.1f} x real time",
            "",
            f"{'delay at live pace, s':<24}{'median':>8}{'worst':>8}",
        ]
        lines += [
            f"{name:<24}{spread.median:>8.2f}{spread.worst:>8.2f}"
            for name, spread in self.delays.items()
        ]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Run:
    wall_s: float
    results: list[UtteranceResult]
    failed: int
    media_s: float


async def measure(recording: str, analyzer: UtteranceAnalyzer) -> Measurement:
    """Analyse a recording once live and once at full speed.

    Raises:
        UsageError: it cannot be opened.
    """
    live = await _run(recording, "live", analyzer)
    fast = await _run(recording, "fast", analyzer)
    durations: dict[str, list[float]] = {}
    for result in live.results:
        latency = result.latency
        assert latency.end_to_result is not None, "at live pace it is known"
        durations.setdefault("end to result", []).append(latency.end_to_result)
        durations.setdefault("close to result", []).append(latency.close_to_result)
        for stage, taken in latency.stages.items():
            durations.setdefault(stage, []).append(taken)
    return Measurement(
        clip_s=live.media_s,
        live_s=live.wall_s,
        fast_s=fast.wall_s,
        utterances=len(live.results) + live.failed,
        failed=live.failed,
        delays={
            name: Spread(median=statistics.median(values), worst=max(values))
            for name, values in durations.items()
        },
    )


async def _run(recording: str, pace: Literal["live", "fast"], analyzer: UtteranceAnalyzer) -> _Run:
    source = await open_source(recording, pace)
    began = time.perf_counter()
    results: list[UtteranceResult] = []
    failed, media_s = 0, 0.0
    async for event in LiveSession(source, analyzer).events():
        match event:
            case UtteranceResult():
                results.append(event)
            case UtteranceFailed():
                failed += 1
            case SessionEnded():
                media_s = event.time
    return _Run(time.perf_counter() - began, results, failed, media_s)
