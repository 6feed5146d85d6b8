"""How a person's face, voice and words score at rest, and what is left of a score without that.

In: the scores of a person's utterances, in order. Out: the same, adjusted. Pure.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import median

from models.emotions import EMOTIONS, EmotionScores, above

_REMEMBERED = 50
"""Utterances at rest: the newest, because light and microphone change."""
_DOUBT = 4
"""So many utterances at rest count as much as the assumption that a person is like others."""


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Scores without what is usual for the person at rest.

    Attributes:
        resting: how many utterances at rest that was estimated from.
        emotions: emotion to probability.
        expressed: those above their thresholds, which stay what they are.
    """

    resting: int
    emotions: dict[str, float]
    expressed: tuple[str, ...]


class RestingBaseline:
    """One person's rest: by how much their scores are above those of others at rest.

    Some people look sad, or sound angry, when they are not. The excess is taken in log-odds, so
    that it means the same for a small probability as for a large one, and relative to what others
    have with the same modalities. Its estimate is a median, which single utterances do not move.
    Only what is above others is taken off; who rests more calmly than others is left alone.
    """

    def __init__(self) -> None:
        self._excess: deque[tuple[float, ...]] = deque(maxlen=_REMEMBERED)

    def learn(self, scores: EmotionScores) -> None:
        """This was said at rest."""
        if scores.resting:
            self._excess.append(
                tuple(
                    _log_odds(scores.probabilities[label]) - _log_odds(scores.resting[label])
                    for label in EMOTIONS
                )
            )

    def absorb(self, other: RestingBaseline) -> None:
        """What was said at rest by `other` was said by this person."""
        self._excess = deque([*other._excess, *self._excess], maxlen=_REMEMBERED)

    def adjust(self, scores: EmotionScores) -> Adjusted:
        """The scores without the person's rest, as far as it is known."""
        count = len(self._excess)
        emotions = dict(scores.probabilities)
        for place, label in enumerate(EMOTIONS):
            excess = median(known[place] for known in self._excess) if count else 0.0
            if excess > 0:
                usual = excess * count / (count + _DOUBT)
                emotions[label] = _probability(_log_odds(emotions[label]) - usual)
        return Adjusted(count, emotions, above(emotions, scores.thresholds))


def looks_neutral(scores: EmotionScores) -> bool:
    """Whether an utterance is taken for one at rest unasked: neutral is likelier than not."""
    return scores.neutral > 0.5


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(bounded / (1 - bounded))


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
