"""The benchmark's figures, and the plain path they are compared with, on real clips."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path

import networks
import pytest
from recordings import film, tone, write
from talks import Talk
from tiny_recognisers import save_silero

from models.errors import UsageError
from models.stt import Transcriber, load_transcriber
from models.stt.silero import SileroTranscriber
from realtime.bench.local import OverAndOver, measure
from realtime.bench.profile import Cost, Profile
from realtime.bench.reference import ReferencePath, decode_sound
from realtime.bench.report import Machine, Measurement, Percentiles, Soak, Speed, Trial
from realtime.endpointing import EndpointingSettings
from realtime.events import UtteranceResult
from realtime.session import LiveSession
from realtime.sources import open_source


@pytest.mark.parametrize(
    ("values", "p50", "p95", "p99"),
    [
        ([3.0], 3.0, 3.0, 3.0),
        ([2.0, 1.0], 1.5, 1.95, 1.99),
        ([n / 100 for n in range(101)], 0.5, 0.95, 0.99),
        ([0.0] * 19 + [1.0], 0.0, 0.05, 0.81),
    ],
)
def test_percentiles_are_interpolated_linearly(
    values: list[float], p50: float, p95: float, p99: float
) -> None:
    found = Percentiles.of(values)
    assert found.p50 == pytest.approx(p50)
    assert found.p95 == pytest.approx(p95)
    assert found.p99 == pytest.approx(p99)


def trial(streams: int, p95: float, *, failed: int = 0, missing: int = 0) -> Trial:
    taken = Percentiles(p50=0.01, p95=p95, p99=1.0)
    return Trial(
        streams=streams,
        utterances=10,
        failed=failed,
        missing=missing,
        overloads=0,
        close_to_result=taken,
        end_to_result=taken,
        stages={"stt": taken},
        cpu=0.2,
        children_cpu=0.3,
        resident_mib=500 + 30 * streams,
    )


def measurement(*trials: Trial) -> Measurement:
    return Measurement(
        recording="talk.mp4",
        utterances=10,
        profile="embedded",
        stt="moonshine-tiny",
        machine=Machine.here(),
        start_up_s=5.0,
        trials=list(trials),
        work={"faces": Percentiles(p50=0.02, p95=0.03, p99=0.04)},
        speed=Speed(media_s=120, analyze_s=15, reference_s=60),
        listening_cpu=0.01,
        stream=Profile(
            seconds=40.0,
            stages={"VAD": Cost(cpu=0.4, ready=0.04, blocked=0.004)},
            threads={"inference": 4.0},
        ),
    )


def test_streams_count_as_long_as_every_trial_before_was_prompt() -> None:
    prompt, late = trial(2, 0.299), trial(2, 0.3)
    assert prompt.shortcomings == []
    assert late.shortcomings == ["p95 not under 300 ms"]
    assert trial(2, 0.1, failed=1, missing=3).shortcomings == ["1 failed", "3 missing"]
    assert measurement(trial(1, 0.1), prompt, trial(4, 0.1)).prompt_streams == 4
    assert measurement(trial(1, 0.1), late, trial(4, 0.1)).prompt_streams == 1
    assert measurement(trial(1, 0.4), prompt).prompt_streams == 0


def test_what_is_derived_agrees_with_what_was_measured() -> None:
    found = measurement(trial(1, 0.05), trial(2, 0.1), trial(4, 0.5, missing=2))
    assert (found.speed.analyze, found.speed.reference, found.speed.ratio) == (8, 2, 4)
    assert found.stream_mib == pytest.approx(30)
    rows = {line[:36].strip(): line[36:].split() for line in str(found).splitlines()}
    assert rows["close to result, 1 stream"] == ["10", "50", "1000"]
    assert rows["close to result, 4 streams"][:3] == ["10", "500", "1000"]
    assert " ".join(rows["close to result, 4 streams"][3:]).endswith("300 ms, 2 missing")
    assert rows["streams answered in time"][0] == "2"
    assert rows["faces"] == ["20", "30", "40"]
    assert rows["ratio"] == ["4.00"]
    assert rows["CPU, % of a core"] == ["20.0"]
    assert rows["VAD"] == ["10.0", "1.0", "0.1"]
    assert rows["inference"] == ["100.0"]


def test_growth_is_from_the_second_to_the_last_quarter_whatever_peaks() -> None:
    warming, peak = [500.0, 700.0, 800.0], [2000.0]
    soak = Soak(
        hours=0.2,
        resident_mib=[*warming, 800, 810, 820, 801, *peak, 800, 830, 840, 850],
    )
    assert soak.growth_mib == pytest.approx(840 - 810)
    found = measurement(trial(1, 0.1), trial(2, 0.1)).model_copy(update={"soak": soak})
    assert "growth in 0.2 h of media +30.0" in " ".join(str(found).split())


@pytest.mark.slow
async def test_a_recording_played_over_and_over_is_one_session(
    talk: Talk, transcriber: Transcriber
) -> None:
    analyzer = networks.load()
    try:
        source = OverAndOver(str(talk.path), 15)
        session = LiveSession(source, analyzer)
        results = [event async for event in session.events() if isinstance(event, UtteranceResult)]
    finally:
        analyzer.close()
    assert session.now == pytest.approx(3 * talk.duration, abs=0.3)
    assert len(results) == 6
    assert all(len(result.faces) == 5 and result.transcript.text for result in results)
    first, again = results[0], results[2]
    assert again.start - first.start == pytest.approx(talk.duration, abs=0.1)


@pytest.fixture(scope="module")
def transcriber() -> Iterator[Transcriber]:
    transcriber = load_transcriber("moonshine-tiny")
    yield transcriber
    transcriber.close()


@pytest.mark.slow
@pytest.mark.parametrize("clip", ["talk", "other_talk"])
async def test_the_plain_path_finds_the_utterances_of_the_program(
    request: pytest.FixtureRequest, transcriber: Transcriber, clip: str
) -> None:
    talk: Talk = request.getfixturevalue(clip)
    recording = str(talk.path)
    plain = ReferencePath("embedded", transcriber).analyze(recording)
    analyzer = networks.load()
    try:
        source = await open_source(recording, "fast")
        # A short sound at an utterance's end: the one thing in which Silero knows no better.
        settings = EndpointingSettings(min_tail_duration_ms=0)
        session = LiveSession(source, analyzer, endpointing=settings)
        results = [event async for event in session.events() if isinstance(event, UtteranceResult)]
    finally:
        analyzer.close()
    assert [(u.start / 16_000, u.stop / 16_000) for u in plain] == [
        (result.start, result.end) for result in results
    ]
    for utterance, result in zip(plain, results, strict=True):
        assert utterance.faces == len(result.faces) == 5
        # The two decode and resample apart: last bits differ, on which a word may depend.
        alike = SequenceMatcher(None, utterance.text, result.transcript.text).ratio()
        assert alike > 0.85
        assert utterance.emotions.keys() == result.emotions.keys()


@pytest.mark.slow
def test_the_plain_path_does_without_pictures(sentence: Talk, transcriber: Transcriber) -> None:
    reference = ReferencePath("embedded", transcriber)
    (utterance,) = reference.analyze(str(sentence.path))
    assert utterance.faces == 0
    assert utterance.text


@pytest.mark.slow
def test_the_plain_path_takes_another_engine_as_it_is(sentence: Talk, tmp_path: Path) -> None:
    save_silero(tmp_path / "tiny.jit")
    engine = SileroTranscriber("silero", tmp_path / "tiny.jit")
    recording = str(sentence.path)
    try:
        (utterance,) = ReferencePath("embedded", engine).analyze(recording)
    finally:
        engine.close()
    samples, _ = decode_sound(recording)
    heard = engine.recognise(samples[utterance.start : utterance.stop])
    assert utterance.text.split() == heard.text.split()


@pytest.mark.parametrize(
    ("recording", "said"),
    [
        ("webcam", "webcam is not a file"),
        ("tone.mp4", "nobody speaks in tone.mp4"),
        ("silent.mp4", "silent.mp4 has no sound"),
        ("README.md", "README.md cannot be decoded"),
    ],
)
async def test_what_cannot_be_measured_is_said_before_the_models_load(
    tmp_path: Path, recording: str, said: str
) -> None:
    write(tmp_path / "tone.mp4", [(0, tone(2))], codec="aac", frames=film(2))
    write(tmp_path / "silent.mp4", frames=film(1))
    (tmp_path / "README.md").write_text("words")
    steps: list[str] = []
    with pytest.raises(UsageError, match=said):
        await measure(str(tmp_path / recording), on_progress=steps.append)
    assert steps == []
