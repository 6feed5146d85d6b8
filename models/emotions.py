"""The six emotions, their order, and what one prediction says about them.

In: nothing. Out: `EMOTIONS`, `NEUTRAL`, `MODALITIES`, `EmotionScores`. Imports no network library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

EMOTIONS = ("happiness", "sadness", "anger", "fear", "disgust", "surprise")
"""Every vector over emotions in the program has this order."""

NEUTRAL = "neutral"
"""None of the six is expressed."""

OUTPUTS = (*EMOTIONS, NEUTRAL)
"""What a model tells the probability of. The six are the paper's; neutral has no threshold."""

MODALITIES = ("visual", "acoustic", "textual")
"""Every list of modalities in the program has this order."""

COMBINATIONS = tuple(
    "+".join(chosen) for size in (1, 2, 3) for chosen in combinations(MODALITIES, size)
)
"""The modalities an utterance may have: ``visual``, ..., ``visual+acoustic+textual``."""


@dataclass(frozen=True, slots=True)
class EmotionScores:
    """What a model says of one utterance.

    Attributes:
        probabilities: emotion to probability in [0, 1]; independent of each other (multi-label).
        neutral: the probability that none of the six is expressed, in [0, 1]; an answer of its
            own, which the six do not add up to.
        thresholds: emotion to the probability above which it counts as expressed; they differ
            with the modalities the prediction was made from.
        modalities: what the prediction was made from, a part of `MODALITIES` in its order.
        contributions: emotion to modality to how much that modality moved the probability: the
            probability less what it would be without the modality, in [-1, 1]. For those in
            `modalities`. They need not add up to the probability: words may only repeat what the
            face has told.
        resting: emotion to the probability that people usually get who express nothing, from these
            modalities: the median of many. Empty where the checkpoint does not tell.
    """

    probabilities: dict[str, float]
    neutral: float
    thresholds: dict[str, float]
    modalities: tuple[str, ...]
    contributions: dict[str, dict[str, float]]
    resting: dict[str, float]

    @property
    def expressed(self) -> tuple[str, ...]:
        """See `above`."""
        return above(self.probabilities, self.thresholds)


def above(emotions: Mapping[str, float], thresholds: Mapping[str, float]) -> tuple[str, ...]:
    """The emotions whose probability is strictly above their threshold, in order."""
    return tuple(label for label in EMOTIONS if emotions[label] > thresholds[label])
