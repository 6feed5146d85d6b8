"""Figures of merit against scikit-learn, and the calibration of probabilities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_score

from models.training.metrics import (
    BINS,
    FINE_THRESHOLDS,
    THRESHOLDS,
    best_threshold,
    calibrated,
    calibration_error,
    f1,
    fit_calibration,
    folds,
    precision_and_recall,
    reliability,
    score,
)

decisions = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60)


# --- metrics ---


@pytest.mark.slow
@settings(deadline=None)
@given(decisions)
def test_f1_and_wacc_are_scikit_learns(pairs):
    yes, truth = (np.array(column) for column in zip(*pairs, strict=True))
    assert f1(yes, truth) == pytest.approx(f1_score(truth, yes, zero_division=0))
    if truth.all() or not truth.any():
        with pytest.raises(ValueError, match="with and without"):
            score(yes, truth)
        return
    found = score(yes, truth)
    assert found.wacc == pytest.approx(balanced_accuracy_score(truth, yes))
    assert found.guess_f1 == pytest.approx(f1_score(truth, np.ones_like(truth)))
    assert found.positives == truth.sum()


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(THRESHOLDS) | st.floats(0, 1), st.booleans()), min_size=1)
)
def test_the_chosen_threshold_has_the_best_f1_of_all_above_it_strictly(pairs):
    probability, truth = (np.array(column) for column in zip(*pairs, strict=True))
    chosen = best_threshold(probability, truth)
    best = max(f1_score(truth, probability > t, zero_division=0) for t in THRESHOLDS)
    assert chosen in THRESHOLDS
    assert f1(probability > chosen, truth) == pytest.approx(best)


def test_thresholds_go_from_5_to_95_percent_in_steps_of_5_or_from_2_in_steps_of_1():
    assert [round(100 * t) for t in THRESHOLDS] == list(range(5, 100, 5))
    assert [round(100 * t) for t in FINE_THRESHOLDS] == list(range(2, 96))
    probability, truth = np.array([0.051, 0.062, 0.071]), np.array([False, False, True])
    assert best_threshold(probability, truth) == 0.05
    assert best_threshold(probability, truth, FINE_THRESHOLDS) == 0.07


@pytest.mark.slow
@settings(deadline=None)
@given(decisions)
def test_precision_and_recall_are_scikit_learns_where_something_is_claimed_and_true(pairs):
    yes, truth = (np.array(column) for column in zip(*pairs, strict=True))
    found = precision_and_recall(yes, truth)
    assert (found is None) == (not yes.any() or not truth.any())
    if found:
        assert found == pytest.approx((precision_score(truth, yes), precision_score(yes, truth)))


def said(seed, *, slope=1.0, offset=0.0, examples=400):
    """Logits, and truths that follow sigmoid(slope * logit + offset)."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-1, 3, examples)
    return logit, rng.random(examples) < calibrated(logit, (slope, offset))


# --- calibration ---


@pytest.mark.slow
@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(0.2, 3), st.floats(-3, 3))
def test_the_calibration_is_the_logistic_regression_on_platts_targets(seed, slope, offset):
    logit, truth = said(seed, slope=slope, offset=offset)
    positives, negatives = truth.sum(), (~truth).sum()
    target = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # scikit-learn knows no targets between 0 and 1, but weights: each example as a bit of both.
    regression = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.tile(logit, 2)[:, None],
        np.repeat([1, 0], len(logit)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    expected = float(regression.coef_[0, 0]), float(regression.intercept_[0])
    assert fit_calibration(logit, truth) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_the_calibration_undoes_what_was_done_to_the_logits_and_lowers_the_error():
    logit, truth = said(1, slope=0.25, offset=-1, examples=20_000)
    pair = fit_calibration(logit, truth)
    assert pair == pytest.approx((0.25, -1), abs=0.05)
    fresh, answers = said(2, slope=0.25, offset=-1, examples=20_000)
    before, after = (
        calibration_error(reliability(calibrated(fresh, each), answers)) for each in ((1, 0), pair)
    )
    assert before > 0.1
    assert after < 0.015


def test_where_people_differ_the_calibration_is_fitted_to_the_part_of_them():
    logit, truth = said(3)
    each = np.stack([truth, truth, truth, ~truth], axis=1)  # of four people one disagrees
    people = fit_calibration(np.repeat(logit, 4), each.ravel())
    assert fit_calibration(logit, each.mean(axis=1)) == pytest.approx(people, abs=0.02)


@pytest.mark.parametrize("truth", ["none", "all", "reversed", "separable"])
def test_a_calibration_never_turns_more_into_less_nor_runs_away(truth):
    logit = np.linspace(-4, 4, 50)
    truths = {"none": logit > 9, "all": logit < 9, "reversed": logit < 0, "separable": logit > 0}
    a, b = fit_calibration(logit, truths[truth])
    assert 0 < a < 1000
    assert abs(b) < 1000
    middle = calibrated(np.zeros(1), (a, b))[0]
    assert {"none": middle < 0.03, "all": middle > 0.97}.get(truth, 0.4 < middle < 0.6)


def test_the_calibration_error_is_the_weighted_distance_in_fifteen_bins():
    probability = np.array([0.01, 0.03, 0.5, 0.52, 1.0])
    truth = np.array([False, True, True, True, False])
    bins = reliability(probability, truth)
    assert [one.examples for one in bins] == [2, 2, 1]
    assert [one.rate for one in bins] == [0.5, 1.0, 0.0]
    assert calibration_error(bins) == pytest.approx((2 * 0.48 + 2 * 0.49 + 1 * 1.0) / 5)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_bins_lose_no_example(pairs):
    probability, truth = (np.array(column) for column in zip(*pairs, strict=True))
    bins = reliability(probability, truth)
    assert len(bins) <= BINS
    assert sum(one.examples for one in bins) == len(pairs)
    assert sum(one.examples * one.rate for one in bins) == pytest.approx(truth.sum())
    assert 0 <= calibration_error(bins) <= 1


@given(st.lists(st.integers(0, 9), min_size=1), st.integers(1, 6))
def test_folds_keep_groups_whole_and_are_about_equal(numbers, count):
    groups = [f"speaker {number}" for number in numbers]
    parts = folds(groups, count)
    assert len(parts) == len(groups)
    assert len({*zip(groups, parts.tolist(), strict=True)}) == len(set(groups))
    sizes = np.bincount(parts, minlength=count)
    assert sizes.max() - sizes.min() <= max(groups.count(group) for group in groups)
