"""The running average against the plain mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.emotions import EMOTIONS
from models.prosody import Prosody
from realtime.average import RunningAverage

probability = st.floats(0, 1)
six = st.fixed_dictionaries(dict.fromkeys(EMOTIONS, probability))


@given(st.lists(st.tuples(six, probability, six), min_size=1, max_size=20))
def test_average_is_the_mean_and_expressed_is_what_exceeds_its_threshold(
    many: list[tuple[dict[str, float], float, dict[str, float]]],
) -> None:
    average = RunningAverage()
    for one in many:
        average.add(*one)
    assert average.utterances == len(many)
    for label in EMOTIONS:
        mean = sum(emotions[label] for emotions, _, _ in many) / len(many)
        assert average.emotions[label] == pytest.approx(mean)
        threshold = sum(thresholds[label] for _, _, thresholds in many) / len(many)
        assert average.thresholds[label] == pytest.approx(threshold)
        above = average.emotions[label] > average.thresholds[label]
        assert (label in average.expressed) == above
    assert average.neutral == pytest.approx(sum(neutral for _, neutral, _ in many) / len(many))
    assert set(average.emotions) == set(average.thresholds) == set(EMOTIONS)


def test_utterances_of_an_earlier_version_are_left_out_of_the_mean_of_neutral() -> None:
    average = RunningAverage()
    half = dict.fromkeys(EMOTIONS, 0.5)
    average.add(half, None, half)
    assert average.neutral is None
    average.add(half, 0.25, half)
    average.add(half, 0.75, half)
    assert (average.utterances, average.neutral) == (3, 0.5)


def test_before_the_first_utterance_there_is_no_number() -> None:
    average = RunningAverage()
    assert average.utterances == 0
    assert average.emotions == {}
    assert average.neutral is None
    assert average.expressed == ()


def test_measures_of_the_voice_are_averaged_over_the_utterances_that_have_them() -> None:
    average, other = RunningAverage(), RunningAverage()
    assert average.prosody is None
    six = dict.fromkeys(EMOTIONS, 0.1)
    average.add(six, 0.5, six)
    assert average.prosody is None
    average.add(six, 0.5, six, prosody=Prosody(pitch_hz=100.0, words_per_s=2.0, pauses=1))
    other.add(six, 0.5, six, prosody=Prosody(pitch_hz=200.0, loudness_lufs=-20.0))
    average.absorb(other)
    assert average.prosody == Prosody(
        pitch_hz=150.0, loudness_lufs=-20.0, words_per_s=2.0, pauses=0.5, paused_s=0.0
    )
