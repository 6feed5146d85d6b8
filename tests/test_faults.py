"""Faults in the middle of a session, with the real models: what is lost, and what is not."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import httpx
import networks
import pytest
import talks
from talks import Talk
from web_client import rest_of, serving

from models.faces import FaceTracker
from models.stt.moonshine import MoonshineTranscriber
from models.stt.network import Recognised
from realtime import session as session_module
from realtime.analyzers.local import LocalAnalyzer
from realtime.events import (
    Event,
    SessionEnded,
    SourceWarning,
    TranscriptPartial,
    UtteranceFailed,
    UtteranceProvisional,
    UtteranceResult,
)
from realtime.inference import Rank
from realtime.media import Samples
from realtime.session import LiveSession
from realtime.sources import open_source
from web.errors import ApiError

pytestmark = pytest.mark.slow

STUCK_S = 10.0  # longer than anything here takes on a busy machine


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody says three sentences."""
    to = tmp_path_factory.mktemp("faults") / "three.mp4"
    return talks.film(to, talks.SENTENCES[:3]).path


@pytest.fixture(scope="module")
def analyzer() -> Iterator[LocalAnalyzer]:
    analyzer = networks.load(stuck_s=STUCK_S)
    yield analyzer
    analyzer.close()


@pytest.fixture(scope="module")
def undisturbed(clip: Path, analyzer: LocalAnalyzer) -> list[Event]:
    return asyncio.run(events_of(clip, analyzer))


async def events_of(
    clip: Path,
    analyzer: LocalAnalyzer,
    *,
    pace: Any = "fast",
    watch: Callable[[Event], None] = lambda event: None,
) -> list[Event]:
    events = []
    async for event in LiveSession(await open_source(str(clip), pace), analyzer).events():
        events.append(event)
        watch(event)
    return events


def outcomes(events: list[Event]) -> list[UtteranceResult | UtteranceFailed]:
    return [event for event in events if isinstance(event, UtteranceResult | UtteranceFailed)]


def found(events: list[Event]) -> dict[int, dict[str, Any]]:
    """The results by number, without what the wall clock says, and without how sure the speaker is:
    that depends on all that was heard of them before."""
    without = {"session": True, "latency": True, "speaker": {"confidence"}}
    return {
        event.utterance: event.model_dump(exclude=without)
        for event in outcomes(events)
        if isinstance(event, UtteranceResult)
    }


def lasting(events: list[Event]) -> list[str]:
    """What must be the same whatever comes between, sorted because kinds overtake each other."""
    return sorted(
        json.dumps(event.model_dump(exclude={"session": True, "latency": True}))
        for event in events
        if not isinstance(event, TranscriptPartial | UtteranceProvisional | SourceWarning)
    )


# --- the networks ---


@pytest.mark.parametrize("fault", ["throws", "stuck"])
async def test_a_network_that_fails_once_costs_one_utterance_of_one_session(
    clip: Path,
    analyzer: LocalAnalyzer,
    undisturbed: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    second = found(undisturbed)[2]
    let_go = threading.Event()
    failing = threading.Lock()  # taken once, for good
    add = FaceTracker.add

    def fail_once(self: FaceTracker, time_s: float, image: Any) -> Any:
        if second["start"] < time_s < second["end"] and failing.acquire(blocking=False):
            if fault == "throws":
                raise RuntimeError("shapes do not match")
            assert let_go.wait(120)
        return add(self, time_s, image)

    monkeypatch.setattr(FaceTracker, "add", fail_once)
    both = await asyncio.gather(events_of(clip, analyzer), events_of(clip, analyzer))
    let_go.set()

    for events in both:
        assert [event.utterance for event in outcomes(events)] == [1, 2, 3]
        assert isinstance(events[-1], SessionEnded)
        assert events[-1].reason == "end"
    (failed,) = [e for events in both for e in outcomes(events) if isinstance(e, UtteranceFailed)]
    assert (failed.utterance, failed.stage) == (2, "faces")
    assert (
        failed.message
        == {
            "throws": "RuntimeError: shapes do not match",
            "stuck": "the network was given up: no answer for 10 s",
        }[fault]
    )
    hit, spared = sorted(both, key=lambda events: len(found(events)))
    assert lasting(spared) == lasting(undisturbed)
    assert found(hit) == {n: result for n, result in found(undisturbed).items() if n != 2}


async def test_the_server_says_while_its_networks_are_stuck() -> None:
    let_go = threading.Event()
    async with serving(load=lambda: networks.load(stuck_s=8)) as client:
        assert (await client.json("/healthz"))["status"] in ("loading", "ok")
        analyzer = await client.hub.ready()
        assert await client.json("/healthz") == {"status": "ok"}
        analyzer.inference.lane().submit(Rank.RESULT, lambda: let_go.wait(120))
        answers = [await healthz(client.http)]
        while answers[-1][0] == 200:
            answers.append(await healthz(client.http))
        status, body = answers[-1]
        assert (status, body["error"]["code"]) == (503, "stuck")
        while answers[-1][0] == 503:  # until another thread has taken over
            answers.append(await healthz(client.http))
        assert answers[-1] == (200, {"status": "ok"})
        let_go.set()


async def healthz(http: httpx.AsyncClient) -> tuple[int, Any]:
    await asyncio.sleep(0.05)
    answer = await http.get("/healthz")
    return answer.status_code, answer.json()


async def test_the_server_says_that_its_models_are_not_there() -> None:
    def broken() -> LocalAnalyzer:
        raise OSError("no such disk")

    async with serving(load=broken) as client:
        with pytest.raises(ApiError):
            await client.hub.ready()
        status, code, message = await client.error("GET", "/healthz")
    assert (status, code) == (503, "models_failed")
    assert "no such disk" in message


# --- the recogniser ---


@pytest.mark.parametrize("fault", ["throws", "stuck"])
async def test_a_recogniser_that_fails_once_costs_one_utterance_of_one_session(
    clip: Path,
    analyzer: LocalAnalyzer,
    undisturbed: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    second = found(undisturbed)[2]
    length = round((second["end"] - second["start"]) * 16_000)
    let_go = threading.Event()
    failing = threading.Lock()  # taken once, for good
    recognise = MoonshineTranscriber.recognise

    def fail_once(self: MoonshineTranscriber, samples: Samples) -> Recognised:
        if len(samples) == length and failing.acquire(blocking=False):
            if fault == "throws":
                raise RuntimeError("shapes do not match")
            assert let_go.wait(120)
        return recognise(self, samples)

    monkeypatch.setattr(MoonshineTranscriber, "recognise", fail_once)
    both = await asyncio.gather(events_of(clip, analyzer), events_of(clip, analyzer))
    let_go.set()

    (failed,) = [e for events in both for e in outcomes(events) if isinstance(e, UtteranceFailed)]
    assert (failed.utterance, failed.stage) == (2, "stt")
    assert (
        failed.message
        == {
            "throws": "moonshine-tiny: RuntimeError: shapes do not match",
            "stuck": "the speech recogniser was given up: no answer for 10 s",
        }[fault]
    )
    hit, spared = sorted(both, key=lambda events: len(found(events)))
    assert lasting(spared) == lasting(undisturbed)
    assert found(hit) == {n: result for n, result in found(undisturbed).items() if n != 2}


async def test_while_the_recogniser_is_stuck_utterances_fail_and_the_session_goes_on(
    talk: Talk, analyzer: LocalAnalyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = await events_of(talk.path, analyzer)
    let_go = threading.Event()
    recognise = MoonshineTranscriber.recognise

    def stuck(self: MoonshineTranscriber, samples: Samples) -> Recognised:
        assert let_go.wait(120)
        return recognise(self, samples)

    monkeypatch.setattr(MoonshineTranscriber, "recognise", stuck)
    events = await events_of(talk.path, analyzer)
    assert [event.utterance for event in outcomes(events)] == [1, 2]
    for failed in outcomes(events):
        assert isinstance(failed, UtteranceFailed)
        assert failed.stage == "stt"
        assert failed.message == "the speech recogniser was given up: no answer for 10 s"
    assert isinstance(events[-1], SessionEnded)
    assert events[-1].reason == "end"
    let_go.set()
    assert lasting(await events_of(talk.path, analyzer)) == lasting(undisturbed)


# --- clocks and readers ---


async def test_a_wall_clock_that_is_set_changes_nothing(
    clip: Path,
    analyzer: LocalAnalyzer,
    undisturbed: list[Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.time
    set_by = 0.0

    def set_the_clock(event: Event) -> None:
        nonlocal set_by
        set_by = 3600.0 if set_by <= 0 else -3600.0

    monkeypatch.setattr(time, "time", lambda: now() + set_by)
    events = await events_of(clip, analyzer, pace="live", watch=set_the_clock)
    assert lasting(events) == lasting(undisturbed)
    for result in outcomes(events):
        assert isinstance(result, UtteranceResult)
        took = [result.latency.close_to_result, result.latency.end_to_result or 0]
        assert all(0 <= seconds < 60 for seconds in [*took, *result.latency.stages.values()])


async def test_a_reader_that_stops_halts_its_session_and_loses_nothing(
    clip: Path,
    analyzer: LocalAnalyzer,
    undisturbed: list[Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "_WAITING_EVENTS", 3)
    session = LiveSession(await open_source(str(clip), "fast"), analyzer)
    async with aclosing(session.events()) as told:
        events = [await anext(told)]
        reached = 0.0
        while not 0 < session.now <= reached:  # until it goes no further
            reached = session.now
            await asyncio.sleep(2)
        events += [event async for event in told]
    assert reached < found(undisturbed)[3]["start"]
    assert lasting(events) == lasting(undisturbed)


async def test_a_follower_that_reads_nothing_holds_up_nobody(
    clip: Path, undisturbed: list[Event]
) -> None:
    async with serving(load=networks.load) as client:
        id = (await client.upload(clip)).json()["id"]
        async with client.connect(f"/api/sessions/{id}/events") as silent:
            silent.transport.pause_reading()
            events = await client.events(id)
            silent.transport.resume_reading()
            await silent.close()
    results = [event for event in events if event["type"] == "utterance.result"]
    assert [event["utterance"] for event in results] == [1, 2, 3]
    assert [r["transcript"]["text"] for r in results] == [
        result["transcript"]["text"] for result in found(undisturbed).values()
    ]


async def test_a_server_that_ends_first_tells_what_was_said_last(monologue: Talk) -> None:
    async with AsyncExitStack() as stack:
        async with serving(load=networks.load) as client:
            answer = await client.upload(monologue.path, pace="live")
            feed = await stack.enter_async_context(
                client.connect(f"/api/sessions/{answer.json()['id']}/events")
            )
            async for message in feed:
                event = json.loads(message)
                if event["type"] == "transcript.partial":
                    break  # enough was said to count as speech
            rest = asyncio.create_task(rest_of(feed))
        events = await rest
    (result,) = [event for event in events if event["type"] == "utterance.result"]
    assert result["reason"] == "end"
    assert result["transcript"]["text"]
    assert (events[-1]["type"], events[-1]["reason"]) == ("session.ended", "stopped")
    assert events[-1]["average"]["emotions"] == result["emotions"]
