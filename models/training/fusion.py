"""What the fusion of the embedded model learns, of the vectors that its branches give.

In: the model, its branches trained, and the vectors of sets of one modality each. Out: a task for
`models.training.loop`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.emotions import EMOTIONS, MODALITIES
from models.mer.model import MERModel
from models.training.batches import Pool, paired
from models.training.datasets import ExampleSet, Truths, with_neutral
from models.training.metrics import mean_figures


class Fusion:
    """The last stage: utterances put together across the sets, of vectors that stay as they are.

    Args:
        model: with its branches trained.
        train: sets whose items are vectors float32 (sequence_width,) of the model's branches.
        valid: the same, to be judged by.
        seed: decides everything random.
    """

    name = "fusion"
    steps = 500
    _sizes: ClassVar = {"paired": 96, "visual": 48, "acoustic": 48, "textual": 48, "nothing": 16}

    def __init__(
        self,
        model: MERModel,
        train: Sequence[ExampleSet],
        valid: Sequence[ExampleSet],
        *,
        seed: int,
    ) -> None:
        self.module: nn.Module = model.fusion
        self._width = model.sequence_width
        self._seed = seed
        self._pools = _pools(train, seed)
        self._valid = valid
        raw, truths = paired(
            _pools(valid, 0), 2000, np.random.default_rng(0), lost=0.3, wrong=0.0, acted=0.0
        )
        self._together = self._vectors(raw), truths

    def groups(self) -> list[dict[str, Any]]:
        """All new."""
        return [{"params": list(self.module.parameters()), "part": 1.0}]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Vectors (n, 3, sequence_width) and truths (n, 7): real examples of one modality beside
        those put together, and some of which nothing is known, to learn the base rates.
        """
        rng = np.random.default_rng([self._seed, step])
        raw, truths = paired(self._pools, self._sizes["paired"] + self._sizes["nothing"], rng)
        raw[: self._sizes["nothing"]] = [{}] * self._sizes["nothing"]
        parts = [truths]
        for name in MODALITIES:
            chosen = self._pools[name].in_turn(step * self._sizes[name], self._sizes[name])
            raw += [{name: self._pools[name].items[n]} for n in chosen]
            parts.append(self._pools[name].truths[chosen])
        truths = with_neutral(np.concatenate(parts))
        return self._vectors(raw), torch.from_numpy(truths).float()

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Binary cross-entropy of the six and of neutral."""
        vectors, truths = batch
        return F.binary_cross_entropy_with_logits(self.module(vectors.flatten(1)), truths)

    def judge(self, module: nn.Module) -> dict[str, float]:
        """Mean F1 of each modality's sets, and of utterances put together with some lost."""
        figures: dict[str, float] = {}
        for one in self._valid:
            if not one.truths.any():
                continue
            vectors = self._vectors([{one.modality: item} for item in one.items])
            figures[one.name], _ = self._judged(module, vectors, one.truths)
        figures["together"], _ = self._judged(module, *self._together)
        return {**figures, "score": float(np.mean(list(figures.values())))}

    def _judged(self, module: nn.Module, vectors: Tensor, truths: Truths) -> tuple[float, float]:
        device = next(module.parameters()).device
        logits = module(vectors.flatten(1).to(device)).cpu()[:, : len(EMOTIONS)]
        return mean_figures(torch.sigmoid(logits).double().numpy(), truths)

    def _vectors(self, raw: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """What `MERModel.fuse` takes: float32 (n, 3, sequence_width), 0 where one is missing."""
        vectors = torch.zeros(len(raw), len(MODALITIES), self._width)
        for row, one in enumerate(raw):
            for name, vector in one.items():
                vectors[row, MODALITIES.index(name)] = vector
        return vectors


def _pools(sets: Sequence[ExampleSet], seed: int) -> dict[str, Pool]:
    return {name: Pool([one for one in sets if one.modality == name], seed) for name in MODALITIES}
