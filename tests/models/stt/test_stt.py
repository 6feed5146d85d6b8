"""The embedded recogniser on a synthetic voice and on real ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import numpy.typing as npt
import pytest
import talks

from models.registry import resolve
from models.stt import Hypothesis
from models.stt.evaluation import compared
from models.stt.moonshine import (
    _BEAMS,
    _END,
    _PLACED,
    _START,
    MoonshineTranscriber,
    _Decoded,
    _repeats,
)

Audio = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def moonshine() -> Iterator[MoonshineTranscriber]:
    transcriber = MoonshineTranscriber("moonshine-tiny", resolve("moonshine-tiny"))
    yield transcriber
    transcriber.close()


@pytest.fixture(scope="module")
def sentences(
    decode: Callable[[Path], Audio], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Audio]:
    """Three sentences, by what is said in them."""
    file = tmp_path_factory.mktemp("sentences") / "sentence.flac"
    found = {}
    for text in (talks.SENTENCES[n] for n in (0, 9, 2)):
        (said,) = talks.record(file, [text]).sentences
        found[compared(text)] = decode(file)[round(said.start * 16_000) : round(said.end * 16_000)]
    return found


def test_words_of_clear_sentences(
    moonshine: MoonshineTranscriber, sentences: dict[str, Audio]
) -> None:
    for said, sound in sentences.items():
        transcript = moonshine.transcribe(sound).result(60)
        # Another version of the runtime may write a word otherwise.
        assert jiwer.wer(said, compared(transcript.text)) < 0.3
        assert [word.text for word in transcript.words] == transcript.text.split()
        times = [time for word in transcript.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] <= len(sound) / 16_000
        assert transcript.engine == "moonshine-tiny"
        assert transcript.confidence is not None
        assert 0.6 < transcript.confidence < 1


def test_quiet_words_are_read_also_under_hum(
    moonshine: MoonshineTranscriber, sentences: dict[str, Audio]
) -> None:
    for said, sound in sentences.items():
        hum = np.sin(2 * np.pi * 50 / 16_000 * np.arange(len(sound))).astype(np.float32)
        for loudness in (0.0, 0.1):
            quiet = sound * np.float32(0.01 / np.abs(sound).max()) + np.float32(loudness) * hum
            text = moonshine.transcribe(quiet).result(60).text
            assert jiwer.wer(said, compared(text)) < 0.3, loudness


@pytest.mark.slow
def test_transcript_depends_on_the_utterance_alone(
    moonshine: MoonshineTranscriber, sentences: dict[str, Audio]
) -> None:
    sounds = [*sentences.values(), *(0.02 * sound for sound in sentences.values())]
    alone = [moonshine.transcribe(sound).result(60) for sound in sounds]
    moonshine.transcribe_so_far(sounds[0][:16_000], None).result(60)
    together = [moonshine.transcribe(sound) for sound in sounds]
    assert [answer.result(60) for answer in together] == alone
    with ThreadPoolExecutor(4) as sessions:
        at_once = list(sessions.map(lambda sound: moonshine.transcribe(sound).result(60), sounds))
    assert at_once == alone


def test_texts_so_far_come_nearer_to_what_is_said(
    moonshine: MoonshineTranscriber, sentences: dict[str, Audio]
) -> None:
    said, sound = list(sentences.items())[-1]
    hypothesis: Hypothesis | None = None
    right = []
    for stop in range(8000, len(sound) + 1, 8000):
        hypothesis = moonshine.transcribe_so_far(sound[:stop], hypothesis).result(60)
        right.append(len({*compared(hypothesis.text).split()} & {*said.split()}))
    assert 0 < right[len(right) // 2] < right[-1]
    assert right[-1] >= len(said.split()) - 1


def test_what_was_guessed_right_is_checked_in_one_call(
    moonshine: MoonshineTranscriber,
    sentences: dict[str, Audio],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = 0
    network = moonshine._decoder

    class Counting:
        def run(self, *given: object) -> object:
            nonlocal calls
            calls += 1
            return network.run(*given)

    monkeypatch.setattr(moonshine, "_decoder", Counting())
    sound = sentences["i am so happy to see you"]
    plain = moonshine._decode(sound)
    assert calls == len(plain.tokens) + 1
    for guess, expected in (
        (plain.tokens, 1),
        (plain.tokens[:3], len(plain.tokens) - 2),
        ((*plain.tokens[:3], 500, 501), len(plain.tokens) - 2),
        ((500, 501), len(plain.tokens) + 1),
    ):
        calls = 0
        decoded = moonshine._decode(sound, guess)
        assert decoded.tokens == plain.tokens
        assert decoded.log_probability == pytest.approx(plain.log_probability, abs=0.05)
        assert calls == expected


@pytest.mark.slow
def test_a_long_recording_is_heard_to_its_end(
    moonshine: MoonshineTranscriber, shared: Path, decode: Callable[[Path], Audio]
) -> None:
    folder = shared / "media/speech/librispeech"
    lines = (folder / "transcripts.tsv").read_text(encoding="utf-8").splitlines()[1:9]
    names, said = zip(*(line.split("\t") for line in lines), strict=True)
    sound = np.concatenate([decode(next(folder.glob(f"{name}*"))) for name in names])
    assert len(sound) > 40 * 16_000
    text = moonshine.transcribe(sound).result(120).text
    assert jiwer.wer(compared(" ".join(said)), compared(text)) < 0.2


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros(16_000), np.ones(400)])
def test_nothing_said_gives_no_words(moonshine: MoonshineTranscriber, audio: Audio) -> None:
    transcript = moonshine.transcribe(audio.astype(np.float32)).result(60)
    assert (transcript.text, transcript.words, transcript.confidence) == ("", (), None)


def test_what_makes_no_sense_is_not_told(moonshine: MoonshineTranscriber) -> None:
    sure, end = -0.1, True
    texts = {text: n for n, text in enumerate(moonshine._vocabulary) if n > 258}
    hello, note = texts["\N{LOWER ONE EIGHTH BLOCK}hello".encode()], "\N{EIGHTH NOTE}".encode()
    # Bytes that are in no longer token are tokens themselves, behind the three special ones.
    notes = (texts[note],) if note in texts else tuple(3 + byte for byte in note)

    def words(tokens: tuple[int, ...], log_probability: float = sure, ended: bool = end) -> str:
        return moonshine._words(_Decoded(tokens, log_probability, ended))

    assert words((hello,) * 3) == "hello hello hello"
    assert words((hello,), log_probability=-0.95) == ""
    assert words((hello,), ended=False) == ""
    assert words((hello,) * 4) == ""
    assert words((hello, *notes)) == ""


A, B, C, D = range(3, 7)  # tokens
WHOLE = {A: {C: 0.6, D: 0.4}, B: {C: 1.0}, C: {_END: 1.0}, D: {_END: 1.0}}
"""How likely one token comes after another."""


@pytest.mark.parametrize(
    ("begins", "most", "told", "chance"),
    [
        # The likeliest first token does not begin the likeliest sentence.
        ([{A: 0.6, B: 0.4}] * 2, 9, (B, C), 0.4),
        # What one placing of the sound finds likely counts as much as what the other does.
        ([{A: 0.9, B: 0.1}, {A: 0.01, B: 0.99}], 9, (B, C), math.sqrt(0.1 * 0.99)),
        ([{A: 0.9, B: 0.1}] * 2, 9, (A, C), 0.54),
        ([{A: 0.6, B: 0.4}] * 2, 2, (B, C), 0.4),  # and no end
    ],
)
def test_the_likeliest_sentence_is_searched_for(
    moonshine: MoonshineTranscriber,
    monkeypatch: pytest.MonkeyPatch,
    begins: list[dict[int, float]],
    most: int,
    told: tuple[int, ...],
    chance: float,
) -> None:
    def heard(samples: Audio, placed: object) -> tuple[dict[str, Any], int]:
        memory = {name: np.zeros((len(begins), 1)) for name in moonshine._nothing}
        return {"use_cache_branch": np.array([False]), **memory}, most

    def ask(given: dict[str, Any], remembered: list[str]) -> Audio:
        last = given["input_ids"][:, -1]
        assert all(len(given[name]) == len(last) for name in moonshine._nothing)
        logits = np.full((len(last), 1, 20), -30, np.float32)
        for row, token in enumerate(last):
            begin = begins[row * len(begins) // len(last)]
            for then, probability in (WHOLE | {_START: begin}).get(int(token), {}).items():
                logits[row, 0, then] = math.log(probability)
        return logits

    monkeypatch.setattr(moonshine, "_heard", heard)
    monkeypatch.setattr(moonshine, "_ask", ask)
    decoded = moonshine._search(np.zeros(16_000, np.float32), _BEAMS, _PLACED)
    assert decoded.tokens == told
    assert decoded.ended == (most > 2)
    steps = min(most, len(told) + 1)
    assert decoded.log_probability == pytest.approx(math.log(chance) / steps, abs=1e-4)


def test_one_sentence_is_followed_as_the_words_so_far_are(
    moonshine: MoonshineTranscriber, speech: Audio
) -> None:
    searched = moonshine._search(speech, beams=1, placed=_PLACED[:1])
    greedy = moonshine._decode(speech)
    assert searched.tokens == greedy.tokens
    assert searched.log_probability == pytest.approx(greedy.log_probability, abs=1e-4)


def test_a_sequence_counts_as_repeated_from_the_fourth_time_in_a_row() -> None:
    assert not _repeats(())
    assert not _repeats((7, 1, 2, 1, 2, 1, 2, 8))
    assert _repeats((7, 1, 2, 1, 2, 1, 2, 1, 2))
    assert _repeats((5, 5, 5, 5, 9))
    assert not _repeats((5, 5, 9, 5, 5))


@pytest.mark.slow
def test_sounds_of_the_world_have_no_words(
    moonshine: MoonshineTranscriber, shared: Path, decode: Callable[[Path], Audio]
) -> None:
    """Dogs, rain, clocks, babies, sneezes, helicopters, chain saws, cocks, fire, the sea."""
    clips = sorted((shared / "data/speech_more/esc10").glob("*.opus"))
    told = [moonshine.transcribe(decode(clip)) for clip in clips]
    silent = sum(not transcript.result(300).text for transcript in told)
    assert silent >= 0.95 * len(clips)
