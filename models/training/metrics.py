"""How good predictions are: F1, weighted accuracy, calibration, and the choice of thresholds.

In: probabilities and truths of many utterances. Out: figures. NumPy only. F1 and weighted accuracy
follow Dai et al. 2021, Multimodal End-to-End Sparse Model for Emotion Recognition; the calibration
is Platt's (1999) with the safeguards of Lin, Lin and Weng (2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Probabilities: TypeAlias = npt.NDArray[np.float64]
"""float64 (n,) or (n, emotions), in [0, 1]."""

Truths: TypeAlias = npt.NDArray[np.bool_]
"""bool, of the same shape."""

Rates: TypeAlias = npt.NDArray[np.float64] | Truths
"""What is true, of the same shape: 0 or 1, or the part of people to whom it is."""

THRESHOLDS = tuple(step / 20 for step in range(1, 20))
"""What a threshold may be: 0.05 to 0.95 in steps of 0.05. Above it, strictly, is a yes."""

FINE_THRESHOLDS = tuple(step / 100 for step in range(2, 96))
"""The same, but 0.02 to 0.95 in steps of 0.01: for the part of people who see an emotion, which is
low."""

Logits: TypeAlias = npt.NDArray[np.float64]
"""float64 (n,), any number."""

BINS = 15
"""Equal parts of [0, 1] in which probabilities are compared with what is true."""

_FLATTEST = 1e-3
"""The least slope of a calibration: more of the logit must never mean less of the emotion."""


@dataclass(frozen=True, slots=True)
class Score:
    """How one emotion is recognised in one set.

    Attributes:
        f1: F1 of the positive class, 0 when nothing true was found.
        wacc: (TP * N / P + TN) / (2 N), which is the mean of the two recalls; 0.5 is a coin.
        guess_f1: the F1 of always saying yes, 2 P / (P + total): what needs no looking.
        positives: how many examples express the emotion.
    """

    f1: float
    wacc: float
    guess_f1: float
    positives: int


def score(yes: Truths, truth: Truths) -> Score:
    """Judge the decisions bool (n,) by the truth bool (n,), which must hold both classes."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        raise ValueError("a score needs examples with and without the emotion")
    hits = int((yes & truth).sum())
    correct_rejections = int((~yes & ~truth).sum())
    return Score(
        f1=f1(yes, truth),
        wacc=(hits / positives + correct_rejections / negatives) / 2,
        guess_f1=2 * positives / (positives + len(truth)),
        positives=positives,
    )


def f1(yes: Truths, truth: Truths) -> float:
    """F1 of the positive class: 2 TP / (2 TP + FP + FN); 0 when nothing true was found."""
    hits = int((yes & truth).sum())
    return 2 * hits / (int(yes.sum()) + int(truth.sum())) if hits else 0.0


def best_threshold(
    probability: Probabilities, truth: Truths, among: Sequence[float] = THRESHOLDS
) -> float:
    """The threshold with the best F1 on the validation examples of one emotion.

    Args:
        probability: float64 (n,).
        truth: bool (n,).
        among: what it may be, in order.

    Returns:
        The lowest of the best. The highest where no example is positive: of what was never seen
        only the surest yes may count.
    """
    if not truth.any():
        return among[-1]
    scores = [f1(probability > threshold, truth) for threshold in among]
    return among[int(np.argmax(scores))]


def mean_figures(probabilities: Probabilities, truths: Truths) -> tuple[float, float]:
    """Mean F1 and mean WAcc over the emotions that these examples have, at the best thresholds."""
    scores = []
    for found, truth in zip(probabilities.T, truths.T, strict=True):
        if truth.any():
            scores.append(score(found > best_threshold(found, truth), truth))
    return (
        float(np.mean([one.f1 for one in scores])),
        float(np.mean([one.wacc for one in scores])),
    )


def precision_and_recall(yes: Truths, truth: Truths) -> tuple[float, float] | None:
    """Precision and recall of the decisions bool (n,); None where nothing is claimed or true."""
    hits, claimed, true = int((yes & truth).sum()), int(yes.sum()), int(truth.sum())
    return (hits / claimed, hits / true) if claimed and true else None


@dataclass(frozen=True, slots=True)
class Bin:
    """The examples whose probability falls into one of the `BINS`.

    Attributes:
        examples: how many, at least 1.
        probability: their mean probability.
        rate: part of them that is true; the mean part of people to whom they are.
    """

    examples: int
    probability: float
    rate: float


def reliability(probability: Probabilities, truth: Rates) -> tuple[Bin, ...]:
    """The bins that hold examples, in order, of probabilities float64 (n,) and truths (n,)."""
    places = np.minimum((probability * BINS).astype(int), BINS - 1)
    return tuple(
        Bin(int(here.sum()), float(probability[here].mean()), float(truth[here].mean()))
        for here in (places == place for place in range(BINS))
        if here.any()
    )


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: how far probability and rate are apart in a bin, weighted."""
    examples = sum(one.examples for one in bins)
    return sum(one.examples * abs(one.probability - one.rate) for one in bins) / examples


def calibrated(logit: Logits, pair: tuple[float, float]) -> Probabilities:
    """sigmoid(a * logit + b) of the pair (a, b): float64 (n,)."""
    probability: Probabilities = np.exp(-np.logaddexp(0, -(pair[0] * logit + pair[1])))
    return probability


def fit_calibration(logit: Logits, truth: Rates) -> tuple[float, float]:
    """The pair (a, b) that makes `calibrated` fit the truths: logistic regression.

    The targets are a little inside of 0 and 1, as if one more example of each kind had been seen,
    which keeps the fit finite where the truths can be told apart without an error.

    Args:
        logit: float64 (n,).
        truth: bool or float64 (n,).

    Returns:
        a > 0, and b.
    """
    positives = float(truth.sum())
    highest, lowest = (positives + 1) / (positives + 2), 1 / (len(truth) - positives + 2)
    target = lowest + truth * (highest - lowest)
    inputs = np.stack([logit, np.ones_like(logit)], axis=1)

    def loss(pair: npt.NDArray[np.float64]) -> float:
        z = inputs @ pair
        return float((np.logaddexp(0, z) - target * z).sum())

    flat = np.array([0.0, np.log(target.mean() / (1 - target.mean()))])
    pair = flat
    for _ in range(100):  # Newton's method; ten steps are many
        probability = calibrated(inputs @ pair, (1, 0))
        gradient = inputs.T @ (probability - target)
        if np.abs(gradient).max() < 1e-8 * len(logit):
            break
        weights = probability * (1 - probability)
        hessian = inputs.T @ (inputs * weights[:, None]) + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while (
            size > 1e-10 and loss(pair - size * step) > loss(pair) - 1e-4 * size * gradient @ step
        ):
            size /= 2
        pair = pair - size * step
    if pair[0] < _FLATTEST:
        return _FLATTEST, float(flat[1])
    return float(pair[0]), float(pair[1])


def folds(groups: Sequence[str], count: int) -> npt.NDArray[np.int64]:
    """Divide examples so that those of one group, such as a speaker, stay together.

    Args:
        groups: of each example.
        count: into how many parts.

    Returns:
        int64 (n,), the part of each example; the parts are about equally large.
    """
    names, places, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(0).permutation(len(names))
    part_of = np.zeros(len(names), dtype=np.int64)
    filled = np.zeros(count, dtype=np.int64)
    for name in sorted(order, key=lambda name: -sizes[name]):  # large ones first, small ones fill
        part_of[name] = filled.argmin()
        filled[part_of[name]] += sizes[name]
    parts: npt.NDArray[np.int64] = part_of[places]
    return parts
