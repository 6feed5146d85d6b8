"""What recognisers share, and those that are downloaded: tiny networks in their true formats."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from starting import run
from talks import Talk
from tiny_recognisers import (
    PHRASES,
    Audio,
    noise,
    save_silero,
    save_whisper,
    spelled,
    tone,
    vouch_for,
)

from models import registry
from models.errors import AnalysisError, MissingWeights, UsageError
from models.stt import Hypothesis, Transcript, load_transcriber
from models.stt.network import NetworkTranscriber, Recognised
from models.stt.silero import SileroTranscriber
from models.stt.whisper import WhisperTranscriber

DOWNLOADED = ["whisper-tiny.en", "silero"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder in which the tiny networks stand for the true ones."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("weights")
    save_whisper(folder / "whisper-tiny.en", steps=150)
    save_silero(folder / "silero-stt-en-v6.jit")
    return folder


@pytest.fixture(scope="module")
def engines(trained: Path) -> Iterator[dict[str, NetworkTranscriber]]:
    """The engines themselves, which do not ask whether what they hear is speech."""
    engines: dict[str, NetworkTranscriber] = {
        "whisper-tiny.en": WhisperTranscriber("whisper-tiny.en", trained / "whisper-tiny.en"),
        "silero": SileroTranscriber("silero", trained / "silero-stt-en-v6.jit"),
    }
    yield engines
    for engine in engines.values():
        engine.close()


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty weights folder."""
    monkeypatch.setenv("LIVE_EMOTION_WEIGHTS", str(tmp_path))
    return tmp_path


def words(engine: NetworkTranscriber, audio: Audio) -> str:
    """What the network itself makes of a sound, speech or not."""
    return " ".join(engine.recognise(audio).text.split())


# Each engine's own words, as a sound and as it writes them.
SAID = {
    "whisper-tiny.en": [(tone(hz), text.strip()) for text, hz in PHRASES.items()],
    "silero": [
        (spelled("h_eeel2__o__ _ wo_r_l_d"), "hello world"),
        # What the network means twice it says so; a letter that goes on is one letter.
        (spelled("lll__ll_l_a_2_t_ ___ t2eed__"), "laat tted"),
        # Shorter than it can hear: silence makes up for it.
        (spelled("_h_hhhaaat"), "hat"),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DOWNLOADED)
def test_words_come_right_and_do_not_mix(engines: dict[str, NetworkTranscriber], name: str) -> None:
    for sound, text in SAID[name]:
        assert words(engines[name], sound) == text
    sounds, texts = zip(*SAID[name] * 4, strict=True)
    with ThreadPoolExecutor(6) as sessions:
        heard = sessions.map(lambda sound: words(engines[name], sound), sounds)
        assert list(heard) == list(texts)


@pytest.mark.parametrize("multilingual", [False, True])
def test_whisper_chooses_the_tokens_that_transformers_would(
    tmp_path: Path, multilingual: bool
) -> None:
    # Untrained, so that what it says is long and hangs on every detail.
    save_whisper(tmp_path / "whisper", multilingual=multilingual)
    engine = WhisperTranscriber("whisper", tmp_path / "whisper")
    options = {"language": "en", "task": "transcribe"} if multilingual else {}
    apart = {*engine._prompt, engine._end}
    for sound in (tone(440), noise(), np.zeros(16_000, np.float32)):
        tokens, log_probability, no_speech = engine._decode(sound)
        features = engine._features(sound, sampling_rate=16_000, return_tensors="pt")
        reference = engine._network.generate(
            features.input_features,
            max_new_tokens=32,
            return_dict_in_generate=True,
            output_scores=True,
            **options,
        )
        expected = reference.sequences[0].tolist()
        assert [t for t in tokens if t not in apart] == [t for t in expected if t not in apart]
        scores = torch.stack(reference.scores)[:, 0].log_softmax(-1)
        total = float(scores.max(-1).values.sum())
        assert log_probability * (len(tokens) + 1) == pytest.approx(total, rel=1e-4)
        assert 0 < no_speech < 1
    engine.close()


def test_whisper_hears_what_is_longer_than_its_window_in_parts(
    engines: dict[str, NetworkTranscriber],
) -> None:
    (first, first_text), (second, second_text), _ = SAID["whisper-tiny.en"]
    pause = np.zeros(16_000, np.float32)
    both = words(engines["whisper-tiny.en"], np.concatenate([first, pause, second]))
    assert both == f"{first_text} {second_text}"


def test_whisper_says_nothing_where_it_believes_that_nobody_speaks(
    engines: dict[str, NetworkTranscriber],
) -> None:
    engine = engines["whisper-tiny.en"]
    assert isinstance(engine, WhisperTranscriber)
    for seed in (0, 50, 51):
        tokens, _, _ = engine._decode(noise(seed=seed))
        assert engine._tokenizer.decode(tokens) != ""  # what it would have said
        assert words(engine, noise(seed=seed)) == ""


NOTHING_SAID = [
    np.zeros(32_000, np.float32),
    *(noise(2.0, level, seed) for seed, level in enumerate((0.001, 0.01, 0.1, 0.3, 1.0))),
]


def pink(level: float) -> Audio:
    spectrum = np.fft.rfft(noise(2.0, 1.0, seed=9))
    samples = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))))
    return (level * samples / samples.std()).astype(np.float32)


NOTHING_SAID += [pink(level) for level in (0.001, 0.01, 0.1, 0.3, 1.0)]

HUM = sum(tone(50 * n, 2.0) / n for n in (1, 2, 3, 5, 7))
CHORDS = np.concatenate(
    [sum(tone(hz, 0.5) for hz in (f, 1.26 * f, 1.5 * f)) / 3 for f in (262, 349, 392, 262)]
)
NOTHING_SAID += [level * sound for sound in (HUM, CHORDS) for level in (0.03, 0.3, 1.0)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*DOWNLOADED, "moonshine-tiny"])
def test_silence_and_noise_have_no_words(
    trained: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("LIVE_EMOTION_WEIGHTS", str(trained))
    engine = load_transcriber(name)
    try:
        assert engine.name == name
        for sound in NOTHING_SAID:
            assert engine.transcribe_so_far(sound, None).result(100) == Hypothesis("")
            assert engine.transcribe(sound).result(100) == Transcript("", (), name)
    finally:
        engine.close()


def test_without_that_care_noise_has_words() -> None:
    # Else the test above would prove nothing.
    engine = load_transcriber("moonshine-tiny")
    assert isinstance(engine, NetworkTranscriber)
    assert any(engine.recognise(sound).text for sound in NOTHING_SAID)
    engine.close()


# --- threads and turns ----------------------------------------------------------------------------


class Ears(NetworkTranscriber):
    """Hears what it was told it would, or what was said; once it is allowed to."""

    def __init__(self, text: str = "words", **options: float) -> None:
        self.text = text
        self.go_on = threading.Event()
        self.go_on.set()
        self.heard: list[Audio] = []
        super().__init__("ears", **options)

    def recognise(self, samples: Audio) -> Recognised:
        assert self.go_on.wait(60)
        self.heard.append(samples)
        return Recognised(self.text, 0.5)

    def recognise_so_far(self, samples: Audio, last: Hypothesis | None) -> Hypothesis:
        return Hypothesis(self.recognise(samples).text)


@pytest.fixture
def ears() -> Iterator[Ears]:
    ears = Ears()
    yield ears
    ears.go_on.set()
    ears.close()


def test_the_engine_gets_the_whole_utterance(ears: Ears, speech: Audio) -> None:
    transcript = ears.transcribe(speech).result(10)
    assert (transcript.text, transcript.engine, transcript.confidence) == ("words", "ears", 0.5)
    assert [word.text for word in transcript.words] == ["words"]
    (heard,) = ears.heard
    assert np.array_equal(heard, speech)


def test_next_to_nothing_and_nothing_have_no_words(ears: Ears) -> None:
    for length in (0, 1, 400, 1599):
        assert ears.transcribe(np.ones(length, np.float32)).result(10) == Transcript("", (), "ears")
    assert ears.heard == []


def test_one_thing_over_and_over_is_no_text(speech: Audio) -> None:
    parrot = Ears("thank you. " * 2)
    assert parrot.transcribe(speech).result(10).text == "thank you. thank you."
    parrot.text = "thank you. " * 30
    assert parrot.transcribe(speech).result(10).text == ""
    parrot.close()


def test_whole_utterances_go_before_texts_so_far_and_each_in_its_turn(
    ears: Ears, speech: Audio
) -> None:
    ears.go_on.clear()
    answers = [ears.transcribe(speech)]  # is begun at once, and holds up the others
    while ears.waiting:
        time.sleep(0.001)
    answers += [
        ears.transcribe_so_far(speech[:-1], None),
        ears.transcribe(speech[:-2]),
        ears.transcribe(speech[:-3]),
        ears.transcribe_so_far(speech[:-4], None),
    ]
    assert ears.waiting == 4
    assert answers[3].cancel()
    ears.go_on.set()
    for answer in (*answers[:3], answers[4]):
        answer.result(10)
    assert [len(speech) - len(heard) for heard in ears.heard] == [0, 2, 1, 4]


def test_several_threads_hear_at_once(speech: Audio) -> None:
    ears = Ears(threads=2)
    both = threading.Barrier(2)
    ears.recognise = lambda samples: Recognised(str(both.wait(20)))  # type: ignore[method-assign]
    texts = [answer.result(30).text for answer in [ears.transcribe(speech) for _ in range(2)]]
    assert sorted(texts) == ["0", "1"]
    ears.close()


def test_one_that_is_stuck_is_given_up_and_the_next_is_heard(speech: Audio) -> None:
    ears = Ears(stuck_s=1)
    ears.go_on.clear()
    stuck, behind = ears.transcribe(speech), ears.transcribe(speech)
    with pytest.raises(TimeoutError, match="no answer for 1 s"):
        stuck.result(20)
    ears.go_on.set()
    assert behind.result(20).text == "words"
    assert not ears.stuck
    ears.close()


def test_a_closed_engine_begins_nothing_more(speech: Audio) -> None:
    ears = Ears()
    ears.go_on.clear()
    running = ears.transcribe(speech)
    while ears.waiting:
        time.sleep(0.001)
    waiting = ears.transcribe(speech)
    threading.Timer(0.2, ears.go_on.set).start()
    ears.close()
    for late in (waiting, ears.transcribe(speech), ears.transcribe_so_far(speech, None)):
        with pytest.raises(AnalysisError, match="closed") as failure:
            late.result(0)
        assert failure.value.stage == "stt"
    assert running.result(20).text == "words"  # begun before


def test_a_network_that_fails_says_so_for_that_utterance_only(
    engines: dict[str, NetworkTranscriber], speech: Audio
) -> None:
    engine = engines["silero"]
    with pytest.raises(AnalysisError, match=r"silero: .*double") as failure:
        engine.transcribe(speech.astype(np.float64)).result(100)  # not float32
    assert failure.value.stage == "stt"
    assert engine.transcribe(speech).result(100).engine == "silero"


# --- which engine ---------------------------------------------------------------------------------


def name_of(asked: str) -> str:
    engine = load_transcriber(asked)
    engine.close()
    return engine.name


@pytest.mark.slow
def test_the_default_is_the_best_that_is_here_and_can_follow(trained: Path, weights: Path) -> None:
    assert name_of("auto") == "moonshine-tiny"
    save_whisper(weights / "whisper-small", multilingual=True)
    assert name_of("auto") == "moonshine-tiny"  # the small Whisper is good, but late
    assert name_of("whisper") == "whisper-small"
    shutil.copytree(trained / "whisper-tiny.en", weights / "whisper-tiny.en")
    assert name_of("auto") == "moonshine-tiny"  # no worse, and much sooner
    assert name_of("whisper-tiny.en") == "whisper-tiny.en"
    # What is downloaded of the larger one has the same files as the package has of the small one.
    shutil.copytree(registry.resolve("moonshine-tiny"), weights / "moonshine-base-en")
    assert name_of("auto") == "moonshine-base"
    assert name_of("moonshine") == "moonshine-base"
    assert name_of("none") == "none"


@pytest.fixture
def without_package(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where no wheel of the embedded recogniser fits, or another version of it is installed."""
    other = weights / "packages" / "moonshine_voice" / "assets" / "tiny-en"
    other.mkdir(parents=True)
    (weights / "packages" / "moonshine_voice" / "__init__.py").write_text("raise SystemError")
    shutil.copy(registry.resolve("moonshine-tiny") / "tokenizer.bin", other)
    for name in ("encoder_model.ort", "decoder_model_merged.ort"):
        (other / name).write_bytes(b"another version")
    monkeypatch.syspath_prepend(str(weights / "packages"))


@pytest.mark.usefixtures("without_package")
def test_without_any_recogniser_the_program_says_what_to_fetch_and_does_without_words(
    caplog: pytest.LogCaptureFixture, speech: Audio
) -> None:
    engine = load_transcriber("auto")
    assert engine.name == "none"
    assert engine.transcribe(speech).result(0) == Transcript("", (), "none")
    assert engine.transcribe_so_far(speech, None).result(0) == Hypothesis("")
    (told,) = caplog.messages
    for part in ("no words", "moonshine-tiny", "44 MB", "models download moonshine-tiny"):
        assert part in told
    assert "\n" not in told
    with pytest.raises(MissingWeights, match="models download moonshine-tiny"):
        load_transcriber("moonshine")


@pytest.mark.parametrize(
    ("asked", "named", "size"),
    [
        ("whisper", "models download whisper-tiny.en", "154 MB"),
        ("moonshine-base", "models download moonshine-base", "141 MB"),
        ("silero", "get https://models.silero.ai/models/en/en_v6.jit", "118 MB"),
    ],
)
def test_missing_weights_are_named_with_their_size_and_how_to_get_them(
    weights: Path, asked: str, named: str, size: str
) -> None:
    with pytest.raises(MissingWeights) as caught:
        load_transcriber(asked)
    line = str(caught.value)
    assert "\n" not in line
    for part in (named, size, str(weights)):
        assert part in line


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ("whisper-tiny.en", "whisper-tiny.en"),
        ("moonshine-base", "moonshine-base-en"),
        ("silero", "silero-stt-en-v6.jit"),
    ],
)
def test_what_is_no_network_is_said_in_one_line(weights: Path, asked: str, place: str) -> None:
    if asked == "silero":
        (weights / place).write_bytes(b"not a network")
        vouch_for(weights / place)
    else:
        save_whisper(weights / place)
        (weights / place / "model.safetensors").write_bytes(b"not a network")
    with pytest.raises(UsageError, match="cannot be read") as caught:
        load_transcriber(asked)
    assert "\n" not in str(caught.value)
    assert str(weights / place) in str(caught.value)


@pytest.mark.parametrize("told", [None, "", "0" * 64, "another's"])
def test_a_program_that_nobody_vouched_for_does_not_run(weights: Path, told: str | None) -> None:
    path = weights / "silero-stt-en-v6.jit"
    save_silero(path)
    load_transcriber("silero").close()
    note = path.with_name(f"{path.name}.sha256")
    if told is None:
        note.unlink()
    elif told == "another's":
        path.write_bytes(path.read_bytes() + b"changed")
    else:
        note.write_text(told)
    with pytest.raises(UsageError, match=r"is a program, .* sha256sum .*\.jit > .*\.jit\.sha256"):
        load_transcriber("silero")


@pytest.mark.slow
def test_the_session_says_which_engine_the_default_is(talk: Talk, weights: Path) -> None:
    status, out, err = run("analyze", "--events", "-", talk.path)
    assert status == 0, err
    events = [json.loads(line) for line in out.splitlines()]
    assert events[0]["stt"] == "moonshine-tiny"
    results = [event for event in events if event["type"] == "utterance.result"]
    assert [result["transcript"]["engine"] for result in results] == ["moonshine-tiny"] * 2
    assert "words moonshine-tiny" in err


def test_an_unknown_engine_is_named_with_the_choices() -> None:
    with pytest.raises(UsageError, match=r"'ears'; choose one of: auto, none, moonshine, .*"):
        load_transcriber("ears")
