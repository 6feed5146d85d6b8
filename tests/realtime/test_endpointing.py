"""The endpointer against Silero's own segmentation: to the sample, for any probabilities."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from boundaries import Audio, boundaries, streamed_boundaries
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.vad import WINDOW
from realtime.endpointing import (
    Endpointer,
    EndpointingSettings,
    SpeechChange,
    SpeechDropped,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    UtteranceClosed,
)
from realtime.levelling import Leveller


def changes_of(
    probabilities: list[float], length: int, settings: EndpointingSettings
) -> list[SpeechChange]:
    endpointer = Endpointer(settings)
    changes = [change for p in probabilities for change in endpointer.window(p)]
    return changes + endpointer.end(length)


def silero_boundaries(
    probabilities: list[float], length: int, settings: EndpointingSettings
) -> list[tuple[int, int]]:
    from silero_vad import get_speech_timestamps_from_probs

    found = get_speech_timestamps_from_probs(
        probabilities,
        audio_length_samples=length,
        threshold=settings.threshold,
        neg_threshold=settings.neg_threshold,
        min_speech_duration_ms=settings.min_speech_duration_ms,
        min_silence_duration_ms=settings.min_silence_duration_ms,
        speech_pad_ms=settings.speech_pad_ms,
        max_speech_duration_s=settings.max_speech_duration_s,
    )
    return [(segment["start"], segment["end"]) for segment in found]


# Runs of like windows, as speech comes in runs; single windows would hardly ever make a pause.
runs = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.34, 0.36, 0.42, 0.5, 0.7, 1.0]), st.integers(1, 40)),
    min_size=1,
    max_size=40,
)
any_settings = st.builds(
    EndpointingSettings,
    min_speech_duration_ms=st.sampled_from([0, 32, 100, 250, 400]),
    min_silence_duration_ms=st.sampled_from([0, 32, 100, 300, 500, 900]),
    speech_pad_ms=st.sampled_from([0, 30, 100, 350, 600]),
    max_speech_duration_s=st.sampled_from([2.0, 3.0, 10.0, float("inf")]),
    min_tail_duration_ms=st.just(0),  # what Silero does not have
)


@pytest.mark.slow
@given(runs=runs, settings=any_settings, cut=st.integers(0, WINDOW - 1))
@hypothesis_settings(max_examples=400, deadline=None)
def test_boundaries_are_those_of_silero(
    runs: list[tuple[float, int]], settings: EndpointingSettings, cut: int
) -> None:
    probabilities = [p for p, count in runs for _ in range(count)]
    length = len(probabilities) * WINDOW - cut
    changes = changes_of(probabilities, length, settings)
    assert boundaries(changes) == silero_boundaries(probabilities, length, settings)


@pytest.mark.slow
@given(runs=runs, settings=any_settings)
@hypothesis_settings(max_examples=200, deadline=None)
def test_changes_tell_one_utterance_after_the_other(
    runs: list[tuple[float, int]], settings: EndpointingSettings
) -> None:
    probabilities = [p for p, count in runs for _ in range(count)]
    state, start = "silent", 0
    for change in changes_of(probabilities, len(probabilities) * WINDOW, settings):
        match change:
            case SpeechStarted():
                assert state == "silent"
                state, start = "speaking", change.start
            case SpeechPaused():
                assert state == "speaking"
                state = "paused"
            case SpeechResumed():
                assert state == "paused"
                state = "speaking"
            case SpeechDropped():
                assert state != "silent"
                state = "silent"
            case UtteranceClosed():
                assert state != "silent"
                assert change.start == start
                state = "silent"
    assert state == "silent"


@pytest.mark.slow
@given(runs=runs, settings=any_settings, tail_ms=st.sampled_from([0, 100, 300]))
@hypothesis_settings(max_examples=300, deadline=None)
def test_speaking_until_grows_and_never_passes_the_end_of_what_a_pause_closes(
    runs: list[tuple[float, int]], settings: EndpointingSettings, tail_ms: int
) -> None:
    if settings.min_silence_duration_ms < 2 * settings.speech_pad_ms:
        return  # paddings may be shared
    settings = replace(settings, min_tail_duration_ms=tail_ms)
    endpointer = Endpointer(settings)
    told = 0
    for p in [p for p, count in runs for _ in range(count)]:
        for change in endpointer.window(p):
            if isinstance(change, UtteranceClosed):
                assert change.reason == "limit" or told <= change.stop
            if isinstance(change, UtteranceClosed | SpeechDropped):
                told = 0
        until = endpointer.speaking_until
        if until is not None:
            assert until >= told
            told = until


@pytest.mark.slow
@given(runs=runs, settings=any_settings, tail_ms=st.sampled_from([0, 100, 300]))
@hypothesis_settings(max_examples=300, deadline=None)
def test_what_a_pause_closes_was_foretold_while_it_lasted(
    runs: list[tuple[float, int]], settings: EndpointingSettings, tail_ms: int
) -> None:
    if settings.min_silence_duration_ms < 2 * settings.speech_pad_ms:
        return  # paddings may be shared
    settings = replace(settings, min_tail_duration_ms=tail_ms)
    endpointer = Endpointer(settings)
    foretold: UtteranceClosed | None = None
    for p in [p for p, count in runs for _ in range(count)]:
        changes = endpointer.window(p)
        for change in changes:
            if isinstance(change, UtteranceClosed) and change.reason == "silence" and foretold:
                assert change == foretold
        ends = (SpeechResumed, SpeechDropped, UtteranceClosed)
        told = any(isinstance(change, ends) for change in changes)
        if foretold and endpointer.closing and not told:
            assert endpointer.closing == foretold  # it does not waver while the pause lasts
        closing = endpointer.closing
        foretold = closing if closing and closing.reason == "silence" else None


def test_the_longest_pause_is_foretold_a_second_before_the_limit() -> None:
    endpointer = Endpointer(EndpointingSettings())
    told: list[SpeechChange] = []
    foretold = None
    pauses = {60: 8, 120: 5}  # windows of silence, from these on
    position, silent = 0, 0
    while not any(isinstance(change, UtteranceClosed) for change in told):
        silent = pauses.get(position, silent)
        told += endpointer.window(0.1 if silent else 0.9)
        silent = max(0, silent - 1)
        position += 1
        closing = endpointer.closing
        if closing and closing.reason == "limit" and foretold is None:
            foretold = closing
            assert 8.7 * 16_000 < position * WINDOW < 9.0 * 16_000
    (closed,) = [change for change in told if isinstance(change, UtteranceClosed)]
    assert closed == foretold == UtteranceClosed(0, 60 * WINDOW + 1600, "limit")


def test_a_short_pause_may_be_a_turn_once_enough_was_said_on_both_sides() -> None:
    endpointer = Endpointer(EndpointingSettings())
    told: list[SpeechChange] = []
    turns = []
    silent = [*range(60, 68), *range(130, 136)]
    for position in range(200):
        told += endpointer.window(0.1 if position in silent else 0.9)
        if turn := endpointer.turn:
            turns.append(turn)
            if len(turns) == 1:
                told += endpointer.split(turn)
    assert [(turn.start, turn.pause, turn.resumed) for turn in turns] == [
        (0, 60 * WINDOW, 68 * WINDOW),
        (68 * WINDOW, 130 * WINDOW, 136 * WINDOW),
    ]
    for turn in turns:
        assert 1.6 <= (turn.position - turn.resumed) / 16_000 < 1.6 + WINDOW / 16_000
    closed, started, *_ = told[3:]
    assert closed == UtteranceClosed(0, 60 * WINDOW + 1600, "speaker")
    assert started == SpeechStarted(68 * WINDOW - 1600)
    (last,) = endpointer.end(200 * WINDOW)
    assert last == UtteranceClosed(68 * WINDOW - 1600, 200 * WINDOW, "end")


def test_speech_before_a_pause_that_is_too_short_is_nobodys_turn() -> None:
    endpointer = Endpointer(EndpointingSettings())
    for position in range(140):
        endpointer.window(0.1 if 30 <= position < 38 else 0.9)
        assert endpointer.turn is None


def test_nothing_is_foretold_while_speech_goes_on_or_is_too_short() -> None:
    endpointer = Endpointer(EndpointingSettings())
    for p, closing in ((0.9, False), (0.1, False), (0.9, False)):
        endpointer.window(p)
        assert (endpointer.closing is not None) is closing
    for _ in range(20):
        endpointer.window(0.9)
    assert endpointer.closing is None
    endpointer.window(0.1)
    assert endpointer.closing == UtteranceClosed(0, 23 * WINDOW + 1600, "silence")
    endpointer.window(0.9)
    assert endpointer.closing is None


def test_an_utterance_closes_in_the_window_that_completes_the_hangover() -> None:
    endpointer = Endpointer(EndpointingSettings(min_silence_duration_ms=320))
    for _ in range(20):
        endpointer.window(0.9)
    silent = [endpointer.window(0.1) for _ in range(11)]
    assert silent[0] == [SpeechPaused(20 * WINDOW)]
    assert not any(silent[1:10])
    assert silent[10] == [UtteranceClosed(0, 20 * WINDOW + 1600, "silence")]


def closed_after(*runs: tuple[float, int]) -> UtteranceClosed:
    probabilities = [p for p, count in runs for _ in range(count)]
    changes = changes_of(probabilities, len(probabilities) * WINDOW, EndpointingSettings())
    (closed,) = [change for change in changes if isinstance(change, UtteranceClosed)]
    return closed


def test_a_breath_after_the_last_word_is_not_part_of_the_utterance() -> None:
    padding = 1600
    breath = closed_after((0.9, 40), (0.0, 10), (0.9, 3), (0.0, 30))
    assert breath == UtteranceClosed(0, 40 * WINDOW + padding, "silence")
    syllable = closed_after((0.9, 40), (0.0, 10), (0.9, 4), (0.0, 30))
    assert syllable.stop == 54 * WINDOW + padding
    close_by = closed_after((0.9, 40), (0.0, 7), (0.9, 3), (0.0, 30))
    assert close_by.stop == 50 * WINDOW + padding
    after_a_short_word = closed_after((0.9, 7), (0.0, 10), (0.9, 3), (0.0, 30))
    assert after_a_short_word.stop == 20 * WINDOW + padding


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": 0.5, "neg_threshold": 0.6}, "neg_threshold"),
        ({"min_speech_duration_ms": -1}, "min_speech_duration_ms"),
        ({"min_silence_duration_ms": -5}, "min_silence_duration_ms"),
        ({"speech_pad_ms": -1}, "speech_pad_ms"),
        ({"min_tail_duration_ms": -1}, "min_tail_duration_ms"),
        ({"max_speech_duration_s": 0.3}, "max_speech_duration_s"),
        ({"max_speech_duration_s": float("nan")}, "max_speech_duration_s"),
    ],
)
def test_settings_out_of_range_are_named(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=rf"^{named} must be"):
        EndpointingSettings(**wrong)  # type: ignore[arg-type]


# --- on real recordings, from samples to boundaries ---------------------------------------------


def chunks_of(audio: Audio, size: Callable[[], int]) -> Iterator[Audio]:
    position = 0
    while position < len(audio):
        step = size()
        yield audio[position : position + step]
        position += step


def levelled(audio: Audio) -> Audio:
    leveller = Leveller()
    padded = np.pad(audio, (0, -len(audio) % WINDOW)).reshape(-1, WINDOW)
    return np.concatenate([leveller.window(window) for window in padded])[: len(audio)]


@pytest.mark.slow
def test_real_speech_has_the_boundaries_of_silero_however_it_is_chopped(
    shared: Path, decode: Callable[[Path], Audio]
) -> None:
    import torch
    from silero_vad import get_speech_timestamps, load_silero_vad

    threads = torch.get_num_threads()
    reference_model = load_silero_vad()
    settings = EndpointingSettings()
    clips = sorted(p for p in (shared / "media" / "speech").rglob("*") if p.suffix in _AUDIO)
    assert len(clips) >= 39
    random_size = random.Random(7)
    sizes = itertools.cycle(
        [lambda: 16, lambda: 160, lambda: random_size.randint(1, 5000), lambda: 10_000_000]
    )
    for clip, size in zip(clips, sizes, strict=False):
        audio = decode(clip)
        heard = levelled(audio)  # the same gain for both
        expected = [
            (segment["start"], segment["end"])
            for segment in get_speech_timestamps(
                torch.from_numpy(heard),
                reference_model,
                threshold=settings.threshold,
                neg_threshold=settings.neg_threshold,
                min_speech_duration_ms=settings.min_speech_duration_ms,
                min_silence_duration_ms=settings.min_silence_duration_ms,
                speech_pad_ms=settings.speech_pad_ms,
                max_speech_duration_s=settings.max_speech_duration_s,
            )
        ]
        assert streamed_boundaries(chunks_of(audio, size)) == expected, clip.name
    torch.set_num_threads(threads)


_AUDIO = {".wav", ".flac"}
