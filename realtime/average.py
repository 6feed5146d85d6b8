"""The running average: how each emotion stands over all utterances so far.

In: the scores of each utterance. Out: the mean probability of each emotion, and of neutral. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from models.emotions import EMOTIONS, above
from models.prosody import Prosody
from realtime.baseline import Adjusted


class RunningAverage:
    """Mean of the utterances' probabilities, each utterance counting once."""

    def __init__(self) -> None:
        self._count = 0
        self._sums = dict.fromkeys(EMOTIONS, 0.0)
        self._thresholds = dict.fromkeys(EMOTIONS, 0.0)
        self._adjusted = dict.fromkeys(EMOTIONS, 0.0)
        self._resting: int | None = None
        self._neutral = 0.0
        self._with_neutral = 0  # utterances
        self._prosody: dict[str, tuple[float, int]] = {}  # measure to its sum, and of how many

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
    def neutral(self) -> float | None:
        """Mean probability of neutral, over the utterances that tell it; None if none does."""
        return self._neutral / self._with_neutral if self._with_neutral else None

    @property
    def adjusted(self) -> Adjusted | None:
        """The mean of what was adjusted for the person's rest; None if nothing was.

        Utterances before the first that was adjusted count as they are.
        """
        if self._resting is None:
            return None
        emotions = {label: total / self._count for label, total in self._adjusted.items()}
        return Adjusted(self._resting, emotions, above(emotions, self.thresholds))

    @property
    def prosody(self) -> Prosody | None:
        """The mean of each measure over the utterances that have it; None if none has."""
        if not self._prosody:
            return None
        return Prosody(
            **{name: round(total / count, 2) for name, (total, count) in self._prosody.items()}
        )

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
        return above(self.emotions, self.thresholds) if self._count else ()

    def absorb(self, other: RunningAverage) -> None:
        """Count the utterances of `other`, too."""
        self._count += other._count
        self._neutral += other._neutral
        self._with_neutral += other._with_neutral
        self._add_prosody(other._prosody)
        if other._resting is not None:
            self._resting = max(self._resting or 0, other._resting)
        for label in EMOTIONS:
            self._sums[label] += other._sums[label]
            self._thresholds[label] += other._thresholds[label]
            self._adjusted[label] += other._adjusted[label]

    def add(
        self,
        emotions: Mapping[str, float],
        neutral: float | None,
        thresholds: Mapping[str, float],
        adjusted: Adjusted | None = None,
        prosody: Prosody | None = None,
    ) -> None:
        """Count one more utterance.

        Args:
            neutral: None if an earlier version analysed it.
            adjusted: without the person's rest; None where that was not asked for.
            prosody: None without sound, or if an earlier version analysed it.
        """
        self._count += 1
        without_rest = emotions if adjusted is None else adjusted.emotions
        if adjusted is not None:
            self._resting = adjusted.resting
        for label in EMOTIONS:
            self._sums[label] += emotions[label]
            self._thresholds[label] += thresholds[label]
            self._adjusted[label] += without_rest[label]
        if neutral is not None:
            self._neutral += neutral
            self._with_neutral += 1
        if prosody is not None:
            measures = asdict(prosody).items()
            self._add_prosody({name: (value, 1) for name, value in measures if value is not None})

    def _add_prosody(self, more: Mapping[str, tuple[float, int]]) -> None:
        for name, (total, count) in more.items():
            known, of = self._prosody.get(name, (0.0, 0))
            self._prosody[name] = known + total, of + count
