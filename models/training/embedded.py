"""What the branches of the embedded model learn, each alone: faces, voice and words.

In: the model and the data, whose sets have one modality each. Out: one task a branch for
`models.training.loop`. Networks that share no example gain nothing from sharing a step; apart,
they learn at the same time, one core each. `models.training.fusion` then learns from the vectors
that they give.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.emotions import EMOTIONS
from models.mer.model import MERModel, mean_over_time
from models.mer.visual import DETAIL
from models.training.augmentation import (
    augment_face,
    augment_text,
)
from models.training.batches import Pool
from models.training.datasets import ExampleSet, grey_to_rgb
from models.training.loop import Schedule
from models.training.metrics import mean_figures

_FACES = Schedule(
    epochs=32,
    rate=3e-3,
    best="score",
    seed=0,
    average=0.999,
    largest_gradient=2.0,
    weight_decay=0.05,
)

SCHEDULES = {
    "visual": (_FACES, replace(_FACES, epochs=36, rate=2e-3)),
    "acoustic": (
        Schedule(
            epochs=10,
            rate=1e-3,
            best="score",
            seed=0,
            average=0.99,
            weight_decay=0.05,
            precision="float32",
        ),
    ),
    "textual": (Schedule(epochs=1, rate=6e-4, best="score", seed=0, average=0.998),),
    "fusion": (
        Schedule(epochs=8, rate=1e-3, best="score", seed=0, average=0.99, precision="float32"),
    ),
}
"""How long and how fast each stage learns, cycle by cycle; the seed is set by who trains."""

_DROPOUT = 0.3  # of a modality's vector, while its network learns alone


class Branch(nn.Module):
    """One modality of a model, with outputs of its own while it learns alone.

    Args:
        model: whose Conv1d this is: what is learnt here is learnt there.
        name: the modality.
        backbone: the model's, or what stands for it while it learns nothing.
        outputs: name to a linear layer on the modality's vector, beside the six ``emotions``.
    """

    def __init__(
        self, model: MERModel, name: str, backbone: nn.Module, outputs: Mapping[str, nn.Module]
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.over_time = model.over_time[name]
        emotions = nn.Linear(model.sequence_width, len(EMOTIONS))
        self.outputs = nn.ModuleDict({"emotions": emotions, **outputs})

    def vectors(self, examples: Sequence[Tensor]) -> Tensor:
        """The modality's vectors (examples, sequence_width), of what the backbone takes."""
        return mean_over_time(self.over_time, *self.backbone(examples))

    def forward(self, examples: Sequence[Tensor]) -> dict[str, Tensor]:
        """Output to logits float32 (examples, its width), of what the backbone takes."""
        vectors = F.dropout(self.vectors(examples), _DROPOUT, self.training)
        return {name: layer(vectors).float() for name, layer in self.outputs.items()}


class BranchTask(ABC):
    """What the three stages of one modality have in common; see `models.training.loop.Task`.

    Args:
        model: the model whose branch learns.
        train: sets of this modality, to learn from.
        valid: sets of this modality, to be judged by.
        seed: decides everything random.
    """

    name: str
    size: int
    """Examples in a batch."""
    passes = 1
    """Through the examples, in one epoch."""
    steps: int
    """In one epoch."""

    def __init__(
        self,
        model: MERModel,
        train: Sequence[ExampleSet],
        valid: Sequence[ExampleSet],
        *,
        seed: int,
    ) -> None:
        backbone: Any = model.backbones[self.name]
        self._branch = Branch(model, self.name, self._learning(backbone), self._outputs(model))
        self.module: nn.Module = self._branch
        self._prepare: Callable[[Any], Tensor] = backbone.prepare
        self._pool = Pool(train, seed)
        self._valid = valid
        self._seed = seed
        self.steps = self.passes * self._pool.in_one_pass // self.size

    @abstractmethod
    def batch(self, step: int) -> Any:
        """The examples of a step and what is true of them."""

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """The loss of a batch, a scalar."""

    @abstractmethod
    def example(self, item: Any, rng: np.random.Generator | None = None) -> Tensor:
        """What the backbone takes of a set's item, changed at random or as it is."""

    def _outputs(self, model: MERModel) -> Mapping[str, nn.Module]:
        """What else is learnt beside the emotions."""
        return {}

    def _learning(self, backbone: nn.Module) -> nn.Module:
        """What of the backbone is learnt."""
        return backbone

    def groups(self) -> list[dict[str, Any]]:
        """The paper's rates: a tenth for what is pre-trained."""
        new = [*self._branch.over_time.parameters(), *self._branch.outputs.parameters()]
        backbone = list(self._branch.backbone.parameters())
        return [{"params": backbone, "part": 0.1}, {"params": new, "part": 1.0}]

    def judge(self, module: nn.Module) -> dict[str, float]:
        """Mean F1 and WAcc over the emotions, each set with its own best thresholds."""
        figures = []
        for one in self._valid:
            if not one.truths.any():
                continue
            logits = self._logits(module, one)["emotions"]
            figures.append(mean_figures(torch.sigmoid(logits).double().numpy(), one.truths))
        f1, wacc = np.mean(figures, axis=0)
        return {"F1": f1, "WAcc": wacc, "score": f1}

    def _chosen(self, step: int) -> tuple[Any, np.random.Generator]:
        """Indices of this step's examples, and the generator that changes them."""
        chosen = self._pool.in_turn(step * self.size, self.size)
        return chosen, np.random.default_rng([self._seed, step])

    def _truths(self, chosen: Any) -> Tensor:
        return torch.from_numpy(self._pool.truths[chosen]).float()

    def _logits(self, module: nn.Module, one: ExampleSet) -> dict[str, Tensor]:
        """The module's outputs for all examples of a set, as they are."""
        parts: list[dict[str, Tensor]] = [
            module(examples) for examples in self._examples(one, module)
        ]
        return {name: torch.cat([part[name].cpu() for part in parts]) for name in parts[0]}

    @torch.inference_mode()
    def vectors(self, one: ExampleSet, *, version: int | None = None) -> ExampleSet:
        """A set as the vectors that the branch, which must be in evaluation mode, makes of it.

        Args:
            one: a set of this modality.
            version: each number changes the items in another way; None takes them as they are.

        Returns:
            The same set, its items float32 (sequence_width,).
        """
        rng = None if version is None else np.random.default_rng([self._seed, 1, version])
        items: list[Tensor] = []
        for examples in self._examples(one, self.module, rng):
            items += self._branch.vectors(examples).float().cpu().unbind()
        return ExampleSet(one.name, one.modality, items, one.truths)

    def _examples(
        self, one: ExampleSet, module: nn.Module, rng: np.random.Generator | None = None
    ) -> Iterator[list[Tensor]]:
        """A set's items as the backbone takes them, a batch at a time."""
        device = next(module.parameters()).device
        for first in range(0, len(one), self.size):
            items = one.items[first : first + self.size]
            yield [self.example(item, rng).to(device) for item in items]


class Faces(BranchTask):
    """One face an example. Three labellings at once: the six emotions that enough of FER+'s
    annotators saw, their votes, and FER2013's own labels. It learns from parts of faces, which
    takes two thirds of the time, and sees them whole when it is used.
    """

    name = "visual"
    size = 128
    _part = 40
    """Pixels a side of what is learnt from, of 48."""

    def __init__(
        self,
        model: MERModel,
        train: Sequence[ExampleSet],
        valid: Sequence[ExampleSet],
        *,
        seed: int,
    ) -> None:
        super().__init__(model, train, valid, seed=seed)
        (faces,) = train
        assert faces.votes is not None
        # Votes for "unknown" and "not a face" count for none of the classes.
        self._votes = torch.from_numpy(
            faces.votes / np.maximum(faces.votes.sum(axis=1, keepdims=True), 1)
        )
        self._classes = model.classes
        names = self._classes["FER2013"]
        self._labels = torch.tensor([names.index(str(x)) for x in faces.classes["FER2013"]])

    def _outputs(self, model: MERModel) -> Mapping[str, nn.Module]:
        return dict(model.classifiers.items())

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Parts of faces (n, 1, 40, 40), truths (n, 6), votes (n, 8) in parts, and labels (n,)."""
        chosen, rng = self._chosen(step)
        faces = torch.cat([self._cut(_changed(self._pool.items[n], rng), rng) for n in chosen])
        return faces, self._truths(chosen), self._votes[chosen], self._labels[chosen]

    def loss(self, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        """The binary cross-entropy of the six, and the cross-entropy of both classifiers."""
        faces, truths, votes, labels = batch
        logits = self._branch(torch.split(faces, 1))
        return (
            2 * F.binary_cross_entropy_with_logits(logits["emotions"], truths)
            + F.cross_entropy(logits["FER+"], votes)
            + F.cross_entropy(logits["FER2013"], labels, label_smoothing=0.05)
        )

    def judge(self, module: nn.Module) -> dict[str, float]:
        """Mean F1 and WAcc of the six, and the classifiers' accuracies."""
        (one,) = self._valid
        logits = self._logits(module, one)
        f1, wacc = mean_figures(torch.sigmoid(logits["emotions"]).double().numpy(), one.truths)
        figures = {"F1": f1, "WAcc": wacc}
        for name, names in self._classes.items():
            answers = [names[n] for n in logits[name].argmax(dim=1).tolist()]
            pairs = [
                (answer, label)
                for answer, label in zip(answers, one.classes[name], strict=True)
                if label is not None
            ]
            figures[name] = float(np.mean([answer == label for answer, label in pairs]))
        return {**figures, "score": float(np.mean([f1, *list(figures.values())[2:]]))}

    def example(self, item: Any, rng: np.random.Generator | None = None) -> Tensor:
        """One face, float32 (1, 1, 48, 48); see `BranchTask.example`."""
        return self._prepare([grey_to_rgb(item)]) if rng is None else _changed(item, rng)

    def groups(self) -> list[dict[str, Any]]:
        """All new."""
        return [{"params": list(self.module.parameters()), "part": 1.0}]

    def _cut(self, face: Tensor, rng: np.random.Generator) -> Tensor:
        top, left = rng.integers(0, face.shape[-1] - self._part + 1, 2)
        return face[..., top : top + self._part, left : left + self._part]


class Voice(BranchTask):
    """One clip an example, some of them two at once (mixup, Zhang et al. 2018).

    The backbone has heard more people than there are here and stays as it is, so it hears each
    clip only a few times, in `models.training.voices`, and the items are what it made of them.
    """

    name = "acoustic"
    size = 32
    passes = 4
    _mixed = 0.6  # part of the batches
    _alpha = 0.3

    def __init__(
        self,
        model: MERModel,
        train: Sequence[ExampleSet],
        valid: Sequence[ExampleSet],
        *,
        seed: int,
    ) -> None:
        super().__init__(model, train, valid, seed=seed)
        backbone: Any = model.backbones[self.name]
        self._centre: Tensor = backbone.centre.cpu()
        self._spread: Tensor = backbone.spread.cpu()

    def _outputs(self, model: MERModel) -> Mapping[str, nn.Module]:
        return {"classes": nn.Linear(model.sequence_width, len(EMOTIONS) + 1)}

    def _learning(self, backbone: nn.Module) -> nn.Module:
        return _Means()

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Means over time (n, width) and truths (n, 6), whole or in parts."""
        chosen, rng = self._chosen(step)
        means = torch.stack([self.example(self._pool.items[n], rng) for n in chosen])
        truths = self._truths(chosen)
        if rng.random() < self._mixed:
            part = rng.beta(self._alpha, self._alpha)
            part = max(part, 1 - part)
            others = rng.permutation(len(chosen))
            means = part * means + (1 - part) * means[others]
            truths = part * truths + (1 - part) * truths[others]
        return means, truths

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Binary cross-entropy of the six, cross-entropy of these and neutral as classes."""
        means, truths = batch
        logits = self._branch(means.unbind())
        # A clip carries one emotion or none.
        classes = torch.cat([truths, 1 - truths.sum(dim=1, keepdim=True)], dim=1)
        return 2 * F.binary_cross_entropy_with_logits(logits["emotions"], truths) + (
            F.cross_entropy(logits["classes"], classes, label_smoothing=0.1)
        )

    def example(self, item: Any, rng: np.random.Generator | None = None) -> Tensor:
        """Means over time float32 (width,), of one of the ways the clip was changed or as it is;
        see `BranchTask.example`.
        """
        version = 0 if rng is None else rng.integers(len(item))
        return (torch.from_numpy(item[version].astype(np.float32)) - self._centre) / self._spread


class _Means(nn.Module):
    """Stands for a backbone of whose sequences the means are known. Hides many of the channels
    while learning: there are half as many of them as clips.
    """

    _hidden = 0.6

    def forward(self, examples: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Sequences (examples, 1, width) of one embedding each, of means (width,)."""
        means = F.dropout(torch.stack(tuple(examples)), self._hidden, self.training)
        return means[:, None], torch.ones(len(means), 1, dtype=torch.bool, device=means.device)


class Words(BranchTask):
    """One text an example, as it was written or as the recogniser heard it."""

    name = "textual"
    size = 32
    _together = 50  # batches, among whose examples those of like length share one

    def batch(self, step: int) -> tuple[list[Tensor], Tensor]:
        """Tokens (n,) of each text, and truths (n, 6)."""
        number, place = divmod(step, self._together)
        many = self._pool.in_turn(number * self._together * self.size, self._together * self.size)
        lengths = np.array([len(self._pool.items[n]) for n in many])
        many = many[np.argsort(lengths, kind="stable")].reshape(self._together, self.size)
        order = np.random.default_rng([self._seed, number]).permutation(self._together)
        chosen = many[order[place]]
        rng = np.random.default_rng([self._seed, step])
        return [self.example(self._pool.items[n], rng) for n in chosen], self._truths(chosen)

    def loss(self, batch: tuple[list[Tensor], Tensor]) -> Tensor:
        """Binary cross-entropy of the six."""
        tokens, truths = batch
        return F.binary_cross_entropy_with_logits(self._branch(tokens)["emotions"], truths)

    def example(self, item: Any, rng: np.random.Generator | None = None) -> Tensor:
        """Tokens int64 (n,); see `BranchTask.example`."""
        return self._prepare(item if rng is None else augment_text(item, rng))


def _changed(face: Any, rng: np.random.Generator) -> Tensor:
    """A grey face changed at random, float32 (1, 1, 48, 48)."""
    return torch.from_numpy(augment_face(face, rng, side=DETAIL))[None, None]
