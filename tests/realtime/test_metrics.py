"""What Prometheus reads after real sessions."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest
import talks
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from web_client import serving

from realtime.analysis import WAITING_FRAMES
from realtime.analyzers.local import LocalAnalyzer
from realtime.events import SourceWarning, UtteranceFailed
from realtime.inference import Rank
from realtime.media import VideoFrame
from realtime.metrics import observe

pytestmark = pytest.mark.slow

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def load() -> LocalAnalyzer:
    return LocalAnalyzer.load()


async def scrape(http: httpx.AsyncClient) -> Samples:
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples = [s for family in text_string_to_metric_families(answer.text) for s in family.samples]
    found = {(s.name, frozenset(s.labels.items())): s.value for s in samples}
    assert len(found) == len(samples)
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((f"live_emotion_{name}", frozenset(labels.items())), 0.0)


async def test_a_session_is_counted_and_timed(tmp_path: Path) -> None:
    clip = talks.film(tmp_path / "clip.mp4", talks.SENTENCES[:3]).path
    async with serving(load=load) as client:
        await client.hub.ready()
        before = await scrape(client.http)
        upload = await client.upload(clip)
        during = await scrape(client.http)
        events = await client.events(upload.json()["id"])
        after = await scrape(client.http)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    results = [event for event in events if event["type"] == "utterance.result"]
    assert len(results) >= 3
    assert grown("utterances_total", outcome="result", stage="") == len(results)
    assert grown("close_to_result_seconds_count") == len(results)
    assert grown("close_to_result_seconds_bucket", le="+Inf") == len(results)
    took = sum(result["latency"]["close_to_result"] for result in results)
    assert abs(grown("close_to_result_seconds_sum") - took) < 1e-6
    for stage in ("stt", "faces", "mer"):
        took = sum(result["latency"]["stages"][stage] for result in results)
        assert grown("stage_seconds_count", stage=stage) == len(results)
        assert abs(grown("stage_seconds_sum", stage=stage) - took) < 1e-6
    windows = grown("vad_window_seconds_count")
    assert abs(windows * 512 / 16_000 - events[-1]["time"]) < 0.1
    assert grown("vad_window_seconds_sum") > 0

    running = sum(
        value(during, "sessions", kind="upload", state=state) for state in ("waiting", "running")
    )
    assert running == 1
    assert value(before, "sessions", kind="upload", state="ended") == 0
    assert value(after, "sessions", kind="upload", state="ended") == 1
    assert value(after, "streams", pace="fast") == 0
    assert value(after, "inference_waiting") == value(after, "inference_stuck") == 0
    assert ("process_resident_memory_bytes", frozenset[tuple[str, str]]()) in after


async def test_what_waits_and_what_is_given_up_is_counted() -> None:
    picture = np.zeros((72, 90, 3), np.uint8)
    go_on = threading.Event()
    async with serving(load=load) as client:
        analyzer = await client.hub.ready()
        before = await scrape(client.http)
        analyzer.inference.lane().submit(Rank.RESULT, lambda: go_on.wait(60))
        stream = analyzer.stream(live=True)
        taken = [stream.see(VideoFrame(i / 5, picture)) for i in range(WAITING_FRAMES + 7)]
        after = await scrape(client.http)
        go_on.set()
    dropped = taken.count(False)
    assert dropped in (6, 7)  # the first may have been begun
    name = "frames_dropped_total"
    assert value(after, name, where="analysis") - value(before, name, where="analysis") == dropped
    assert value(after, "inference_waiting") >= WAITING_FRAMES


async def test_while_results_wait_fewer_frames_are_looked_at() -> None:
    picture = np.zeros((72, 90, 3), np.uint8)
    go_on = threading.Event()
    looked_at = []
    async with serving(load=load) as client:
        inference = (analyzer := await client.hub.ready()).inference
        threads = max(1, (os.cpu_count() or 1) // 2)
        all_begun = threading.Barrier(threads + 1)
        for _ in range(threads):
            inference.lane().submit(Rank.RESULT, lambda: (all_begun.wait(10), go_on.wait(60)))
        await asyncio.to_thread(all_begun.wait, 10)
        for behind in range(9):
            while inference.behind < behind:
                inference.lane().submit(Rank.RESULT, lambda: None)
            stream = analyzer.stream(live=True)
            taken = [stream.see(VideoFrame(i / 5, picture)) for i in range(8)]
            looked_at.append(taken.count(True))
        go_on.set()
    assert looked_at == [8, 8, 8, 4, 2, 1, 1, 1, 1]


def test_failures_and_warnings_are_counted_by_what_they_are() -> None:
    def count(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"live_emotion_{name}", labels) or 0.0

    failed = {"outcome": "failed", "stage": "stt"}
    before = count("utterances_total", **failed), count("warnings_total", code="overload")
    observe(
        UtteranceFailed(session="s", time=1, utterance=1, start=0, end=1, stage="stt", message="")
    )
    observe(SourceWarning(session="s", time=1, code="overload", message=""))
    after = count("utterances_total", **failed), count("warnings_total", code="overload")
    assert after == (before[0] + 1, before[1] + 1)
