"""Which examples make up a training step, as a function of the seed and the step's number alone.

In: the training sets. Out: batches of prepared examples with their truths. Because a batch
depends on nothing that came before, training resumed at a step goes on as if never interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.emotions import EMOTIONS, MODALITIES
from models.mer.model import MERModel, Prepared
from models.training.augmentation import augment_face, augment_sound, augment_text, grey_to_rgb
from models.training.datasets import ExampleSet, Truths

PAIRED = "paired"
"""The kind of batch in which faces, voice and words come together."""

Raw: TypeAlias = dict[str, Any]
"""One utterance as `MERModel.prepare` takes it: modality to value, only those that are there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """What one epoch consists of.

    Attributes:
        batches: kind of batch to how many of it an epoch holds, in random order.
        sizes: kind of batch to examples in one.
    """

    batches: dict[str, int] = field(
        default_factory=lambda: {"visual": 400, "acoustic": 120, "textual": 360, PAIRED: 80}
    )
    sizes: dict[str, int] = field(
        default_factory=lambda: {"visual": 64, "acoustic": 32, "textual": 64, PAIRED: 24}
    )

    def __len__(self) -> int:
        return sum(self.batches.values())


class Batches:
    """The training batches. `batches[step]` is the batch of that step.

    A batch of one modality holds the next examples of a shuffled pass over its sets. A paired
    one draws an emotion (or none), then a face, a clip and a text that express it alone.

    Args:
        sets: the training sets.
        model: prepares the examples.
        epoch: what an epoch consists of.
        seed: decides everything random.
    """

    def __init__(
        self, sets: Sequence[ExampleSet], model: MERModel, *, epoch: Epoch, seed: int
    ) -> None:
        self._model = model
        self._epoch = epoch
        self._seed = seed
        self._pools = {
            name: Pool([part for part in sets if part.modality == name], seed)
            for name in MODALITIES
        }

    def __getitem__(self, step: int) -> tuple[list[Prepared], Tensor]:
        """Prepared examples, and their truths float32 (examples, 6)."""
        number, place = divmod(step, len(self._epoch))
        kinds = np.repeat(list(self._epoch.batches), list(self._epoch.batches.values()))
        kinds = np.random.default_rng([self._seed, number]).permutation(kinds)
        kind = str(kinds[place])
        size = self._epoch.sizes[kind]
        rng = np.random.default_rng([self._seed, number, place])
        if kind == PAIRED:
            raw, truths = paired(self._pools, size, rng)
        else:
            earlier = number * self._epoch.batches[kind] + int((kinds[:place] == kind).sum())
            pool = self._pools[kind]
            chosen = pool.in_turn(earlier * size, size)
            raw = [{kind: pool.items[index]} for index in chosen]
            truths = pool.truths[chosen]
        # One length for the clips of a batch: little padding, and no length to learn from.
        longest_s = rng.uniform(1.5, 5.0)
        changed = [_augmented(one, rng, longest_s) for one in raw]
        return [prepared(self._model, one) for one in changed], torch.from_numpy(truths).float()


class Pool:
    """All examples of one modality.

    Attributes:
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
        self._seed = [seed, len(self._order)]
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
    neutral: float = 0.3,
    lost: float = 0.15,
    unmoved: float = 0.15,
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
        raw.append(one)
    return raw, truths


def prepared(model: MERModel, one: Raw) -> Prepared:
    """What `MERModel` computes on, of one raw utterance; faces are grey uint8 (height, width)."""
    faces = one.get("visual")
    if isinstance(faces, np.ndarray):
        faces = [grey_to_rgb(faces)]
    return model.prepare(faces, one.get("acoustic"), one.get("textual"))


def _augmented(one: Raw, rng: np.random.Generator, longest_s: float) -> Raw:
    """Every modality changed at random; in company a face is held for one to four frames."""
    changed: Raw = {}
    if "visual" in one:
        frames = 1 if len(one) == 1 else int(rng.integers(1, 5))
        changed["visual"] = [augment_face(one["visual"], rng) for _ in range(frames)]
    if "acoustic" in one:
        changed["acoustic"] = augment_sound(one["acoustic"], rng, longest_s=longest_s)
    if "textual" in one:
        changed["textual"] = augment_text(one["textual"], rng)
    return changed
