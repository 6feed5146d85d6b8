"""Analysis on a Ray cluster: the same utterances and digits, whatever dies meanwhile.

A cluster of this machine alone, with the real models in its replicas.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import networks
import numpy as np
import psutil
import pytest
import yaml
from checkout import REPO
from playing import by_kind, events_of, lasting, results
from processes import begun
from ray import serve
from ray.serve.schema import ServeDeploySchema
from recordings import read, sound_of
from starting import run
from talks import Talk

import run_live
from models.errors import AnalysisError
from realtime.analyzers.cluster import ClusterAnalyzer
from realtime.analyzers.deployments import APPLICATION, Batching, application, packed, unpacked
from realtime.analyzers.local import LocalAnalyzer
from realtime.events import Event, TranscriptPartial, UtteranceFailed, UtteranceResult
from realtime.session import LiveSession
from realtime.sources import open_source

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]


@pytest.fixture(scope="module")
def local() -> Iterator[LocalAnalyzer]:
    analyzer = networks.load()
    yield analyzer
    analyzer.close()


@pytest.fixture(scope="module")
def clip(long_talk: Talk) -> Path:
    """Twelve utterances."""
    return long_talk.path


@pytest.fixture(scope="module")
def here(clip: Path, local: LocalAnalyzer) -> list[Event]:
    """What the program finds without a cluster."""
    return asyncio.run(events_of(clip, local))


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterAnalyzer]:
    with pytest.MonkeyPatch.context() as environment:
        # Other tests that run meanwhile are at live pace: they come first. So it may take a replica
        # long to come back.
        environment.setenv("RAY_worker_niceness", "5")
        analyzer = ClusterAnalyzer.load(None, "embedded", "moonshine-tiny", stuck_s=400)
    yield analyzer
    analyzer.close()


def replicas(name: str) -> list[psutil.Process]:
    """The processes of a deployment of this cluster."""
    return begun(
        lambda process: (
            process.name().startswith("ray::ServeRepl")
            and f"{APPLICATION}:{name}" in " ".join(process.cmdline())
        ),
        recursive=True,
    )


async def test_the_same_utterances_and_digits_as_in_one_process(
    clip: Path, here: list[Event], cluster: ClusterAnalyzer
) -> None:
    there = await events_of(clip, cluster)
    assert len(results(there)) == 12
    assert by_kind(lasting(there)) == by_kind(lasting(here))


async def test_what_was_begun_too_early_is_dropped(
    halting: Path, local: LocalAnalyzer, cluster: ClusterAnalyzer
) -> None:
    """At live pace, at which an utterance is analysed as soon as a pause begins."""
    there = await events_of(halting, cluster, pace="live")
    assert len(results(there)) == 2
    assert any(isinstance(event, TranscriptPartial) for event in there)
    assert by_kind(lasting(there)) == by_kind(lasting(await events_of(halting, local)))


async def test_no_utterance_is_lost_with_a_replica(
    clip: Path, here: list[Event], cluster: ClusterAnalyzer
) -> None:
    """Each of the three kinds is killed while its utterances are on their way."""
    doomed = {
        ("speech.started", 3): "Recognition",
        ("speech.started", 6): "Faces",
        ("speech.paused", 9): "Emotions",
    }
    happened: Counter[str] = Counter()
    session = LiveSession(await open_source(str(clip), "live"), cluster)
    there: list[Event] = []
    async for event in session.events():
        there.append(event)
        happened[event.type] += 1
        if name := doomed.pop((event.type, happened[event.type]), None):
            (replica,) = replicas(name)
            replica.kill()
        if isinstance(event, UtteranceResult | UtteranceFailed) and event.utterance == 12:
            session.stop()
    assert doomed == {}
    assert [each for each in there if isinstance(each, UtteranceFailed)] == []
    whole = [each for each in results(there) if each.reason == "silence"]
    assert [each.utterance for each in whole[:12]] == list(range(1, 13))
    assert lasting([*whole])[:12] == lasting([*results(here)])[:12]


async def test_what_a_network_trips_over_fails_the_utterance_alone(
    cluster: ClusterAnalyzer,
) -> None:
    with pytest.raises(AnalysisError, match="picture") as failed:
        await cluster.ask("faces", "detect", b"no picture at all", size=0)
    assert failed.value.stage == "faces"
    picture = packed(np.zeros((90, 160, 3), np.uint8))
    assert await cluster.ask("faces", "detect", picture, size=len(picture)) == []


async def test_voices_are_compared_in_the_gateway(
    talk: Talk, other_talk: Talk, cluster: ClusterAnalyzer, local: LocalAnalyzer
) -> None:
    one, other = [sound_of(await read(each.path)) for each in (talk, other_talk)]
    assert not await cluster.another_voice(one, one)
    assert await cluster.another_voice(one, other) == await local.another_voice(one, other)


def test_pictures_lose_nothing() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (37, 61, 3), np.uint8)
    np.testing.assert_array_equal(unpacked(packed(picture)), picture)


def test_the_configuration_is_one_that_serve_takes() -> None:
    path = REPO / "realtime" / "analyzers" / "cluster.yaml"
    schema = ServeDeploySchema.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    (told,) = schema.applications
    assert told.name == APPLICATION
    assert told.import_path == f"{application.__module__}:{application.__name__}"
    assert isinstance(application(told.args), serve.Application)
    recognition, *networks = told.deployments
    assert recognition.name == "Recognition"
    assert [each.name for each in networks] == ["Faces", "Emotions"]
    for each in networks:
        Batching.model_validate(each.user_config)


# --- the command line -----------------------------------------------------------------------------


def test_without_ray_the_option_says_what_to_install(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(sys, "argv", ["run_live.py", "analyze", "--analyzer", "ray", str(clip)])
    assert run_live.main() == 2
    said = capsys.readouterr().err
    assert "pip install 'ray[serve]'" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("cloud", "choose local, ray or ray:ADDRESS"),
        ("ray:127.0.0.1:9", "no Ray cluster at"),
        ("ray:here", "at here"),
    ],
)
def test_a_place_that_is_none_is_said_in_one_line(clip: Path, where: str, message: str) -> None:
    status, out, err = run("analyze", "--analyzer", where, clip)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_two_gateways_share_a_cluster(talk: Talk, cluster: ClusterAnalyzer, tmp_path: Path) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    before = {name: replicas(name) for name in ("Recognition", "Faces", "Emotions")}
    there = ("--analyzer", f"ray:{address}")
    status, told_there, err = run("analyze", *there, "--events", tmp_path / "there", talk.path)
    assert status == 0, err
    _, told_here, _ = run("analyze", "--events", tmp_path / "here", talk.path)
    assert told_here == told_there
    assert {name: replicas(name) for name in before} == before
    status, _, err = run("analyze", *there, "--stt", "whisper-base.en", talk.path)
    assert status == 2
    assert "the cluster runs embedded and moonshine-tiny" in err
    assert asyncio.run(cluster.ask("mer", "about", size=0)) == ("embedded", "moonshine-tiny")
