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
    neutral: float = 0.6,
    plain: float = 0.3,
    lost: float = 0.2,
    wrong: float = 0.15,
    acted: float = 0.3,
) -> tuple[list[Raw], Truths]:
    """Utterances put together across the sets.

    Args:
        pools: the examples of each modality.
        size: how many utterances.
        rng: decides everything.
        neutral: part of them that expresses nothing.
        plain: probability that, where another modality expresses the emotion, one says nothing:
            people seldom show what they feel by face, voice and words at once.
        lost: probability that a modality is missing; one always stays.
        wrong: probability that, where all three are there, one of them is any example, like the
            words of a recogniser that erred.
        acted: probability that, where all three are there, the voice is any clip. The voices are
            actors': a person who speaks plainly can sound like an actor who mourns, and then face
            and words are to decide.

    Returns:
        The utterances, and their truths bool (size, 6).
    """
    raw, truths = [], np.zeros((size, len(EMOTIONS)), dtype=np.bool_)
    for row in range(size):
        emotion = None if rng.random() < neutral else EMOTIONS[rng.integers(len(EMOTIONS))]
        if emotion is not None:
            truths[row, EMOTIONS.index(emotion)] = True
        kept, *others = rng.permutation(MODALITIES)
        there = [kept, *(name for name in others if rng.random() >= lost)]
        silent = {name for name in there[1:] if rng.random() < plain}
        one: Raw = {
            name: _draw(pools[name], pools[name].alone[None if name in silent else emotion], rng)
            for name in there
        }
        if len(one) == len(MODALITIES):
            if rng.random() < wrong:
                one[kept] = _draw(pools[kept], None, rng)
            if rng.random() < acted:
                one["acoustic"] = _draw(pools["acoustic"], None, rng)
        raw.append(one)
    return raw, truths


def _draw(pool: Pool, among: npt.NDArray[np.int64] | None, rng: np.random.Generator) -> Any:
    """One of these examples of the pool, or any."""
    return pool.items[rng.integers(len(pool.items)) if among is None else rng.choice(among)]
