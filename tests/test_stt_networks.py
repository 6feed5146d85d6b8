"""The recognisers that are downloaded, on tiny networks in the true formats of theirs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_recognisers import (
    PHRASE_SECONDS,
    PHRASES,
    Audio,
    noise,
    save_moonshine,
    save_silero,
    save_whisper,
    spelled,
    tone,
)

from models.errors import AnalysisError, MissingWeights, UsageError
from models.stt import Transcriber, Transcript, load_transcriber
from models.stt.moonshine import MoonshineTranscriber
from models.stt.silero import SileroTranscriber
from models.stt.speech_only import SpeechOnly
from models.stt.whisper import WhisperTranscriber
from models.stt.whole import WholeUtteranceTranscriber

REPO = Path(__file__).resolve().parent.parent
DOWNLOADED = ["whisper-tiny.en", "moonshine-tiny", "silero"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder in which the tiny networks stand for the true ones."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("weights")
    save_whisper(folder / "whisper-tiny.en", steps=150)
    save_moonshine(folder / "moonshine-tiny", steps=150)
    save_silero(folder / "silero-stt-en-v6.jit")
    return folder


@pytest.fixture(scope="module")
def engines(trained: Path) -> Iterator[dict[str, WholeUtteranceTranscriber]]:
    """The engines themselves, which do not ask whether what they hear is speech."""
    engines: dict[str, WholeUtteranceTranscriber] = {
        "whisper-tiny.en": WhisperTranscriber("whisper-tiny.en", trained / "whisper-tiny.en"),
        "moonshine-tiny": MoonshineTranscriber("moonshine-tiny", trained / "moonshine-tiny"),
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


def transcribe(engine: Transcriber, audio: Audio, piece: int = 3200) -> Transcript:
    stream = engine.stream()
    for start in range(0, len(audio), piece):
        assert stream.accept(audio[start : start + piece]).result(0) == ""
    return stream.finish().result(100)


# Each engine's own words, as a sound and as it writes them.
SAID = {
    "whisper-tiny.en": [(tone(hz), text.strip()) for text, hz in PHRASES.items()],
    "moonshine-tiny": [(tone(hz, PHRASE_SECONDS), text.strip()) for text, hz in PHRASES.items()],
    "silero": [
        (spelled("h_eeel2__o__ _ wo_r_l_d"), "hello world"),
        # What the network means twice it says so; a letter that goes on is one letter.
        (spelled("lll__ll_l_a_2_t_ ___ t2eed__"), "laat tted"),
        # Shorter than it can hear: silence makes up for it.
        (spelled("_h_hhhaaat"), "hat"),
    ],
}


@pytest.mark.parametrize("name", DOWNLOADED)
def test_words_come_right_however_the_sound_is_cut(
    engines: dict[str, WholeUtteranceTranscriber], name: str
) -> None:
    for sound, text in SAID[name]:
        expected = Transcript(text, (), name)
        assert transcribe(engines[name], sound) == expected
        assert transcribe(engines[name], sound, piece=701) == expected
        assert transcribe(engines[name], sound, piece=len(sound)) == expected


@pytest.mark.parametrize("name", DOWNLOADED)
def test_utterances_at_the_same_time_do_not_mix(
    engines: dict[str, WholeUtteranceTranscriber], name: str
) -> None:
    sounds, texts = zip(*SAID[name] * 4, strict=True)
    with ThreadPoolExecutor(6) as sessions:
        heard = sessions.map(lambda sound: transcribe(engines[name], sound).text, sounds)
        assert list(heard) == list(texts)


@pytest.mark.parametrize("name", DOWNLOADED)
def test_the_callers_samples_may_change_after_they_were_handed_over(
    engines: dict[str, WholeUtteranceTranscriber], name: str
) -> None:
    sound, text = SAID[name][0]
    buffer = sound.copy()
    stream = engines[name].stream()
    stream.accept(buffer)
    buffer[:] = 0
    assert stream.finish().result(100).text == text


@pytest.mark.parametrize("name", DOWNLOADED)
def test_next_to_nothing_and_nothing_have_no_words(
    engines: dict[str, WholeUtteranceTranscriber], name: str
) -> None:
    for length in (0, 1, 400, 1599):
        assert transcribe(engines[name], np.ones(length, np.float32)).text == ""


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
    engines: dict[str, WholeUtteranceTranscriber],
) -> None:
    (first, first_text), (second, second_text), _ = SAID["whisper-tiny.en"]
    pause = np.zeros(16_000, np.float32)
    both = transcribe(engines["whisper-tiny.en"], np.concatenate([first, pause, second]))
    assert both.text == f"{first_text} {second_text}"


def test_moonshine_writes_what_transformers_pipeline_writes(
    engines: dict[str, WholeUtteranceTranscriber], trained: Path
) -> None:
    from transformers import (
        MoonshineForConditionalGeneration,
        PreTrainedTokenizerFast,
        Wav2Vec2FeatureExtractor,
        pipeline,
    )

    folder = trained / "moonshine-tiny"
    reference = pipeline(
        "automatic-speech-recognition",
        model=MoonshineForConditionalGeneration.from_pretrained(folder),
        tokenizer=PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json")),
        feature_extractor=Wav2Vec2FeatureExtractor.from_pretrained(folder),
        generate_kwargs={"num_beams": 1},  # it would look for five
    )
    for hz in (300, 400, 900, 1300, 2000, 4000):
        sound = tone(hz, PHRASE_SECONDS)
        text = reference(sound.copy())["text"].removeprefix("<s>").removesuffix("</s>")
        assert transcribe(engines["moonshine-tiny"], sound).text == " ".join(text.split())


def test_whisper_says_nothing_where_it_believes_that_nobody_speaks(
    engines: dict[str, WholeUtteranceTranscriber],
) -> None:
    engine = engines["whisper-tiny.en"]
    assert isinstance(engine, WhisperTranscriber)
    for seed in (0, 50, 51):
        tokens, _, _ = engine._decode(noise(seed=seed))
        assert engine._tokenizer.decode(tokens) != ""  # what it would have said
        assert transcribe(engine, noise(seed=seed)).text == ""


def test_one_thing_over_and_over_is_no_text() -> None:
    class Parrot(WholeUtteranceTranscriber):
        def recognise(self, samples: Audio) -> str:
            return " thank you." * (len(samples) // 1600)

    parrot = Parrot("parrot")
    assert transcribe(parrot, tone(440, 0.2)).text == "thank you. thank you."
    assert transcribe(parrot, tone(440, 3)).text == ""
    parrot.close()


NOTHING_SAID = [
    np.zeros(32_000, np.float32),
    *(noise(2.0, level, seed) for seed, level in enumerate((0.001, 0.01, 0.1, 0.3, 1.0))),
]


def pink(level: float) -> Audio:
    spectrum = np.fft.rfft(noise(2.0, 1.0, seed=9))
    samples = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))))
    return (level * samples / samples.std()).astype(np.float32)


NOTHING_SAID += [pink(level) for level in (0.001, 0.01, 0.1, 0.3, 1.0)]


@pytest.mark.parametrize("name", [*DOWNLOADED, "sphinx"])
def test_silence_and_noise_have_no_words(
    trained: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("LIVE_EMOTION_WEIGHTS", str(trained))
    engine = load_transcriber(name)
    try:
        assert engine.name == name
        for sound in NOTHING_SAID:
            stream = engine.stream()
            partial = stream.accept(sound)
            assert partial.result(100) == ""
            assert stream.finish().result(100) == Transcript("", (), name)
    finally:
        engine.close()


def test_without_that_care_noise_has_words(engines: dict[str, WholeUtteranceTranscriber]) -> None:
    # Else the test above would prove nothing.
    texts = [transcribe(engines["moonshine-tiny"], sound).text for sound in NOTHING_SAID]
    assert any(texts)


def test_speech_reaches_the_engine_whole(shared: Path, decode: Callable[[Path], Audio]) -> None:
    class Ears(WholeUtteranceTranscriber):
        def recognise(self, samples: Audio) -> str:
            heard.append(samples)
            return "words"

    heard: list[Audio] = []
    speech = decode(shared / "media/speech/LJ001-0008.wav")
    engine = SpeechOnly(Ears("ears"))
    for piece in (3200, 701, 100_000):
        stream = engine.stream()
        for start in range(0, len(speech), piece):
            stream.accept(speech[start : start + piece])
        assert stream.finish().result(10) == Transcript("words", (), "ears")
        assert np.array_equal(heard.pop(), speech)
    engine.close()


def test_a_word_of_three_hundredths_of_a_second_is_still_looked_at(
    shared: Path, decode: Callable[[Path], Audio]
) -> None:
    # Less than a window of the detector: made whole with silence, and no crash.
    engine = load_transcriber("sphinx")
    stream = engine.stream()
    stream.accept(decode(shared / "media/speech/LJ001-0008.wav")[8000:8400])
    assert stream.finish().result(100).engine == "sphinx"
    engine.close()


@pytest.mark.parametrize("name", DOWNLOADED)
def test_a_closed_engine_fails_what_waits_for_it(trained: Path, name: str) -> None:
    engine: WholeUtteranceTranscriber = {
        "whisper-tiny.en": lambda: WhisperTranscriber(name, trained / name),
        "moonshine-tiny": lambda: MoonshineTranscriber(name, trained / name),
        "silero": lambda: SileroTranscriber(name, trained / "silero-stt-en-v6.jit"),
    }[name]()
    sound, _ = SAID[name][0]
    before, after = engine.stream(), engine.stream()
    before.accept(np.tile(sound, 20))
    after.accept(sound)
    running, waiting = before.finish(), after.finish()
    engine.close()
    with pytest.raises(AnalysisError, match="closed") as failure:
        waiting.result(100)
    assert failure.value.stage == "stt"
    with pytest.raises(AnalysisError, match="closed"):
        engine.stream().finish().result(100)
    running.exception(100)  # begun before: ends, either way


def test_a_network_that_fails_says_so_for_that_utterance_only(
    engines: dict[str, WholeUtteranceTranscriber],
) -> None:
    engine = engines["silero"]
    stream = engine.stream()
    stream.accept(np.ones((2, 4000), np.float32)[0].astype(np.float64))  # not float32
    with pytest.raises(AnalysisError, match="silero: RuntimeError"):
        stream.finish().result(100)
    sound, text = SAID["silero"][0]
    assert transcribe(engine, sound).text == text


# --- which engine ---------------------------------------------------------------------------------


def name_of(asked: str) -> str:
    engine = load_transcriber(asked)
    engine.close()
    return engine.name


def test_the_default_is_the_best_that_is_here_and_can_follow(trained: Path, weights: Path) -> None:
    assert name_of("auto") == "sphinx"
    save_whisper(weights / "whisper-small", multilingual=True)
    assert name_of("auto") == "sphinx"  # the small Whisper is good, but late
    assert name_of("whisper") == "whisper-small"
    for better in ("whisper-tiny.en", "moonshine-tiny"):
        shutil.copytree(trained / better, weights / better)
        assert name_of("auto") == better
    assert name_of("moonshine") == "moonshine-tiny"
    assert name_of("whisper-tiny.en") == "whisper-tiny.en"


@pytest.mark.parametrize(
    ("asked", "named", "size"),
    [
        ("whisper", "whisper-tiny.en", "154 MB"),
        ("moonshine", "moonshine-tiny", "110 MB"),
        ("moonshine-base", "moonshine-base", "248 MB"),
        ("silero", "silero-stt", "118 MB"),
    ],
)
def test_missing_weights_are_named_with_their_size_and_the_command_that_fetches_them(
    weights: Path, asked: str, named: str, size: str
) -> None:
    with pytest.raises(MissingWeights) as caught:
        load_transcriber(asked)
    line = str(caught.value)
    assert "\n" not in line
    for part in (named, size, f"models download {named}"):
        assert part in line


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ("whisper-tiny.en", "whisper-tiny.en"),
        ("moonshine-base", "moonshine-base"),
        ("silero", "silero-stt-en-v6.jit"),
    ],
)
def test_what_is_no_network_is_said_in_one_line(weights: Path, asked: str, place: str) -> None:
    if asked == "silero":
        (weights / place).write_bytes(b"not a network")
    else:
        save_whisper(weights / place)
        (weights / place / "model.safetensors").write_bytes(b"not a network")
    with pytest.raises(UsageError, match="cannot be read") as caught:
        load_transcriber(asked)
    assert "\n" not in str(caught.value)
    assert str(weights / place) in str(caught.value)


def test_the_session_says_which_engine_the_default_is(
    shared: Path, trained: Path, weights: Path
) -> None:
    shutil.copytree(trained / "moonshine-tiny", weights / "moonshine-tiny")
    command = [sys.executable, str(REPO / "run_live.py"), "analyze", "--events", "-"]
    clip = str(shared / "media/talker_700.mp4")
    done = subprocess.run([*command, clip], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["stt"] == "moonshine-tiny"
    results = [event for event in events if event["type"] == "utterance.result"]
    assert [result["transcript"]["engine"] for result in results] == ["moonshine-tiny"] * 2
    assert "words moonshine-tiny" in done.stderr


def test_an_unknown_engine_is_named_with_the_choices() -> None:
    with pytest.raises(UsageError, match=r"'ears'; choose one of: auto, moonshine, .*, sphinx"):
        load_transcriber("ears")
