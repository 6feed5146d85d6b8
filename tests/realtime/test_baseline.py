"""A person's rest: what is learnt of it, and what is left of their scores without it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.emotions import EMOTIONS, EmotionScores
from realtime.average import RunningAverage
from realtime.baseline import RestingBaseline, looks_neutral

probability = st.floats(0, 1)
six = st.fixed_dictionaries(dict.fromkeys(EMOTIONS, probability))


def scores(emotions: dict[str, float], usual: float = 0.1, neutral: float = 0.9) -> EmotionScores:
    """Of the face, where others at rest have `usual`; all else is 0.01."""
    probabilities = {**dict.fromkeys(EMOTIONS, 0.01), **emotions}
    resting = dict.fromkeys(EMOTIONS, usual)
    thresholds = dict.fromkeys(EMOTIONS, 0.5)
    return EmotionScores(probabilities, neutral, thresholds, ("visual",), {}, resting)


def odds(probability: float) -> float:
    return probability / (1 - probability)


def test_somebody_who_looks_sad_at_rest_is_sad_when_they_look_sadder() -> None:
    baseline = RestingBaseline()
    assert baseline.adjust(scores({"sadness": 0.6})).expressed == ("sadness",)
    for _ in range(12):
        baseline.learn(scores({"sadness": 0.6}))
    at_rest, sadder = (baseline.adjust(scores({"sadness": p})) for p in (0.6, 0.97))
    assert (at_rest.resting, at_rest.expressed, sadder.expressed) == (12, (), ("sadness",))
    # 12 of 12 + 4 parts of the excess, in log-odds, over what others have.
    excess = math.log(odds(0.6) / odds(0.1)) * 12 / 16
    assert odds(at_rest.emotions["sadness"]) == pytest.approx(odds(0.6) / math.exp(excess))


def test_the_first_utterances_take_off_little_and_single_ones_do_not_move_it() -> None:
    baseline = RestingBaseline()
    baseline.learn(scores({"anger": 0.3}))
    first = baseline.adjust(scores({"anger": 0.3})).emotions["anger"]
    assert 0.2 < first < 0.3
    for number in range(20):
        baseline.learn(scores({"anger": 0.3 if number % 5 else 0.99}))
    steady = baseline.adjust(scores({"anger": 0.3})).emotions["anger"]
    excess = math.log(odds(0.3) / odds(0.1)) * 21 / 25
    assert odds(steady) == pytest.approx(odds(0.3) / math.exp(excess))


def test_what_is_usual_depends_on_what_others_have_with_the_same_modalities() -> None:
    baseline = RestingBaseline()
    for _ in range(10):
        baseline.learn(scores({"fear": 0.4}, usual=0.4))
    assert baseline.adjust(scores({"fear": 0.7})).emotions["fear"] == 0.7


@given(st.lists(six, max_size=8), six)
def test_nothing_is_added_and_nothing_leaves_0_to_1(
    rest: list[dict[str, float]], emotions: dict[str, float]
) -> None:
    baseline = RestingBaseline()
    for one in rest:
        baseline.learn(scores(one))
    adjusted = baseline.adjust(scores(emotions)).emotions
    assert all(0 <= adjusted[label] <= max(emotions[label], 1e-6) + 1e-9 for label in EMOTIONS)


def test_a_checkpoint_that_tells_no_usual_rest_teaches_nothing() -> None:
    unknown = EmotionScores(
        dict.fromkeys(EMOTIONS, 0.6), 0.9, dict.fromkeys(EMOTIONS, 0.5), ("visual",), {}, {}
    )
    baseline = RestingBaseline()
    baseline.learn(unknown)
    assert baseline.adjust(unknown).emotions == unknown.probabilities


def test_neutral_is_what_is_likelier_neutral_than_not() -> None:
    assert looks_neutral(scores({}, neutral=0.51))
    assert not looks_neutral(scores({}, neutral=0.5))


def test_the_average_counts_what_came_before_as_it_was() -> None:
    average, baseline = RunningAverage(), RestingBaseline()
    one = scores({"sadness": 0.6})
    average.add(one.probabilities, one.neutral, one.thresholds)
    assert average.adjusted is None
    baseline.learn(one)
    adjusted = baseline.adjust(one)
    average.add(one.probabilities, one.neutral, one.thresholds, adjusted)
    mean = (0.6 + adjusted.emotions["sadness"]) / 2
    assert average.adjusted is not None
    assert average.adjusted.emotions["sadness"] == pytest.approx(mean)
    assert (average.adjusted.resting, average.emotions["sadness"]) == (1, 0.6)
