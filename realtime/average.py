"""The running average: how each emotion stands over all utterances so far.

In: the scores of each utterance. Out: the mean probability of each emotion. Pure.
"""

from __future__ import annotations

from models.emotions import EMOTIONS, EmotionScores


class RunningAverage:
    """Mean of the utterances' probabilities, each utterance counting once."""

    def __init__(self) -> None:
        self._count = 0
        self._sums = dict.fromkeys(EMOTIONS, 0.0)
        self._thresholds = dict.fromkeys(EMOTIONS, 0.0)

    @property
    def utterances(self) -> int:
        """How many utterances are in the mean."""
        return self._count

    @property
    def emotions(self) -> dict[str, float]:
        """Mean probability of each emotion; empty before the first utterance."""
        if not self._count:
            return {}
        return {label: total / self._count for label, total in self._sums.items()}

    @property
    def thresholds(self) -> dict[str, float]:
        """Mean threshold of each emotion; empty before the first utterance."""
        if not self._count:
            return {}
        return {label: total / self._count for label, total in self._thresholds.items()}

    @property
    def expressed(self) -> tuple[str, ...]:
        """The emotions whose mean probability is above the mean of their thresholds.

        The mean, because a model may have other thresholds for other modalities.
        """
        return tuple(label for label, p in self.emotions.items() if p > self.thresholds[label])

    def add(self, scores: EmotionScores) -> None:
        """Count one more utterance."""
        self._count += 1
        for label in EMOTIONS:
            self._sums[label] += scores.probabilities[label]
            self._thresholds[label] += scores.thresholds[label]
