"""The running average against the plain mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.emotions import EMOTIONS, EmotionScores
from realtime.average import RunningAverage

probability = st.floats(0, 1)
scores = st.builds(
    EmotionScores,
    probabilities=st.fixed_dictionaries(dict.fromkeys(EMOTIONS, probability)),
    thresholds=st.fixed_dictionaries(dict.fromkeys(EMOTIONS, probability)),
    modalities=st.just(("acoustic",)),
)


@given(st.lists(scores, min_size=1, max_size=20))
def test_average_is_the_mean_and_expressed_is_what_exceeds_its_threshold(
    many: list[EmotionScores],
) -> None:
    average = RunningAverage()
    for one in many:
        average.add(one)
    assert average.utterances == len(many)
    for label in EMOTIONS:
        mean = sum(one.probabilities[label] for one in many) / len(many)
        assert average.emotions[label] == pytest.approx(mean)
        threshold = sum(one.thresholds[label] for one in many) / len(many)
        assert average.thresholds[label] == pytest.approx(threshold)
        above = average.emotions[label] > average.thresholds[label]
        assert (label in average.expressed) == above


def test_before_the_first_utterance_there_is_no_number() -> None:
    average = RunningAverage()
    assert average.utterances == 0
    assert average.emotions == {}
    assert average.expressed == ()
