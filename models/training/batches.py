"""Which examples come next, as a function of the seed and their number alone.

In: the sets of a modality. Out: endless passes through them, and utterances put together across
the modalities. What depends on nothing that came before, resumed training finds again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from models.emotions import EMOTIONS, MODALITIES
from models.training.datasets import ExampleSet, Truths

PAIRED = "paired"
"""The kind of batch in which faces, voice and words come together."""

Raw: TypeAlias = dict[str, Any]
"""One utterance as `MERModel.prepare` takes it: modality to value, only those that are there."""


class Pool:
    """All examples of one modality.

    Attributes:
        in_one_pass: how many examples a pass through the pool has.
        items: the examples.
        truths: bool (n, 6), what they express.
        alone: emotion to the indices of the examples that express it and nothing else; None to
            those that express nothing.

    Args:
        sets: of one modality.
        seed: decides the order.
    """

    def __init__(self, sets: Sequence[ExampleSet], seed: int) -> None:
        self.items = [item for part in sets for item in part.items]
        self.truths: Truths = np.concatenate([part.truths for part in sets])
        everything = np.arange(len(self.items))
        self.alone = {emotion: self._expressing(emotion) for emotion in (None, *EMOTIONS)}
        neutral = self.alone[None]
        # Acted speech is mostly emotion, real speech mostly not: neutral clips count double.
        rare = len(neutral) < len(everything) / 4
        self._order = np.concatenate([everything, neutral]) if rare else everything
        self.in_one_pass = len(self._order)
        self._seed = [seed, self.in_one_pass]
        self._pass = lru_cache(maxsize=2)(self._shuffled)

    def in_turn(self, first: int, size: int) -> npt.NDArray[np.int64]:
        """Indices of `size` examples, from number `first` of an endless series of passes."""
        places = [divmod(n, len(self._order)) for n in range(first, first + size)]
        return np.array([self._pass(number)[place] for number, place in places])

    def _expressing(self, emotion: str | None) -> npt.NDArray[np.int64]:
        wanted = np.array([name == emotion for name in EMOTIONS])
        return np.flatnonzero((self.truths == wanted).all(axis=1))

    def _shuffled(self, number: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([*self._seed, number]).permutation(self._order)


def paired(
    pools: dict[str, Pool],
    size: int,
    rng: np.random.Generator,
    *,
    neutral: float = 0.35,
    lost: float = 0.2,
    unmoved: float = 0.15,
    wrong: float = 0.15,
) -> tuple[list[Raw], Truths]:
    """Utterances put together across the sets.

    Args:
        pools: the examples of each modality.
        size: how many utterances.
        rng: decides everything.
        neutral: part of them that expresses nothing.
        lost: probability that a modality is missing; one always stays.
        unmoved: probability that a modality is neutral although the utterance is not, like a
            plain sentence said in anger; one always carries the emotion.
        wrong: probability that, where all three are there, one of them is any example, like the
            words of a recogniser that erred; the two others then agree.

    Returns:
        The utterances, and their truths bool (size, 6).
    """
    raw, truths = [], np.zeros((size, len(EMOTIONS)), dtype=np.bool_)
    for row in range(size):
        emotion = None if rng.random() < neutral else EMOTIONS[rng.integers(len(EMOTIONS))]
        if emotion is not None:
            truths[row, EMOTIONS.index(emotion)] = True
        moved, *others = rng.permutation(MODALITIES)
        one: Raw = {}
        for name in (moved, *others):
            if name != moved and rng.random() < lost:
                continue
            plain = name != moved and rng.random() < unmoved
            pool = pools[name]
            one[name] = pool.items[rng.choice(pool.alone[None if plain else emotion])]
        if len(one) == len(MODALITIES) and rng.random() < wrong:
            pool = pools[others[0]]
            one[others[0]] = pool.items[rng.integers(len(pool.items))]
            if emotion is not None:
                pool = pools[others[1]]
                one[others[1]] = pool.items[rng.choice(pool.alone[emotion])]
        raw.append(one)
    return raw, truths
