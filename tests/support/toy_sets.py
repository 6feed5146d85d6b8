"""Sets of examples that tiny models learn from."""

import numpy as np
from toys import WORDS

from models.emotions import MODALITIES
from models.training.datasets import (
    ExampleSet,
)


def toy_set(modality, *, repeat=2, seed=0):
    """Examples of every emotion alone and of none, `repeat` of each, easy to tell apart."""
    rng = np.random.default_rng([seed, MODALITIES.index(modality)])
    items, truths = [], []
    for kind in [*range(6), 6] * repeat:
        truths.append([kind == column for column in range(6)])
        if modality == "visual":
            face = rng.integers(0, 60, (48, 48)).astype(np.uint8)
            face[:, kind * 6 : kind * 6 + 8] += 180
            items.append(face)
        elif modality == "acoustic":
            time = np.arange(16_000 + int(rng.integers(8000))) / 16_000
            items.append(np.sin(2 * np.pi * 200 * 1.7**kind * time).astype(np.float32) / 3)
        else:
            items.append(" ".join([WORDS[10 + kind]] * int(rng.integers(2, 6))))
    return ExampleSet(modality, modality, items, np.array(truths))
