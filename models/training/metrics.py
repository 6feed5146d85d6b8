"""How good predictions are: positive-class F1, weighted accuracy, and the choice of thresholds.

In: probabilities and truths of many utterances. Out: figures. NumPy only; definitions follow Dai
et al. 2021, Multimodal End-to-End Sparse Model for Emotion Recognition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Probabilities: TypeAlias = npt.NDArray[np.float64]
"""float64 (n,) or (n, emotions), in [0, 1]."""

Truths: TypeAlias = npt.NDArray[np.bool_]
"""bool, of the same shape."""

THRESHOLDS = tuple(step / 20 for step in range(1, 20))
"""What a threshold may be: 0.05 to 0.95 in steps of 0.05. Above it, strictly, is a yes."""


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


def best_threshold(probability: Probabilities, truth: Truths) -> float:
    """The threshold with the best F1 on the validation examples of one emotion.

    Args:
        probability: float64 (n,).
        truth: bool (n,).

    Returns:
        One of `THRESHOLDS`; the lowest of the best.
    """
    scores = [f1(probability > threshold, truth) for threshold in THRESHOLDS]
    return THRESHOLDS[int(np.argmax(scores))]
