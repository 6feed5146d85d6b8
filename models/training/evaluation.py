"""How good a checkpoint is on the validation data, as a table, as JSON and for the model card.

In: a checkpoint and the data folder. Out: a `Report`, one row a set.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.emotions import COMBINATIONS, EMOTIONS, MODALITIES
from models.mer.model import MERModel
from models.training.batches import PAIRED, Pool, paired, prepared
from models.training.datasets import ExampleSet, Truths, read_data
from models.training.metrics import Probabilities, Score, best_threshold, score

_PAIRED_EXAMPLES = 600
_BATCH = 64


@dataclass(frozen=True, slots=True)
class SetReport:
    """How one set is recognised, with the checkpoint's thresholds.

    Attributes:
        name: of the set.
        modalities: what the model was given of it, one of `COMBINATIONS`.
        examples: how many.
        emotions: emotion to its score; only emotions that the set has.
        false_alarms: part of the examples without any emotion of which one is claimed; None when
            the set has no such example.
        accuracy: part of the examples whose single label (an emotion or neutral) is found; the
            emotion furthest above its threshold is the answer, neutral when none is above. None
            when the set has no single label.
    """

    name: str
    modalities: str
    examples: int
    emotions: dict[str, Score]
    false_alarms: float | None
    accuracy: float | None

    @property
    def f1(self) -> float:
        """Mean over the emotions the set has."""
        return float(np.mean([score.f1 for score in self.emotions.values()]))

    @property
    def wacc(self) -> float:
        """Mean over the emotions the set has."""
        return float(np.mean([score.wacc for score in self.emotions.values()]))

    @property
    def guess_f1(self) -> float:
        """Mean over the emotions of the F1 that always saying yes would get."""
        return float(np.mean([score.guess_f1 for score in self.emotions.values()]))


@dataclass(frozen=True, slots=True)
class Report:
    """How a checkpoint does on every validation set. `str` of it is three tables in Markdown.

    Attributes:
        thresholds: combination of modalities to emotion to threshold.
        sets: one row each.
    """

    thresholds: dict[str, dict[str, float]]
    sets: tuple[SetReport, ...]

    def __str__(self) -> str:
        names = ["set", "given", "examples"]
        figures = ["F1", "F1 of a guess", "WAcc", "7 classes", "false alarms"]
        means, emotions = [], []
        for one in self.sets:
            start = [one.name, one.modalities, str(one.examples)]
            f1, guess, wacc = (f"{value:.3f}" for value in (one.f1, one.guess_f1, one.wacc))
            means.append(
                [*start, f1, guess, wacc, _percent(one.accuracy), _percent(one.false_alarms)]
            )
            cells = [one.emotions.get(emotion) for emotion in EMOTIONS]
            emotions.append(
                [*start, *(f"{cell.f1:.3f} / {cell.wacc:.3f}" if cell else "-" for cell in cells)]
            )
        thresholds = [
            [combination, *(f"> {row[emotion]:.2f}" for emotion in EMOTIONS)]
            for combination, row in self.thresholds.items()
        ]
        return "\n\n".join(
            (
                _table([*names, *figures], means),
                "F1 / WAcc of each emotion:",
                _table([*names, *EMOTIONS], emotions),
                "Thresholds, by what is given:",
                _table(["given", *EMOTIONS], thresholds),
            )
        )

    @property
    def means(self) -> dict[str, list[float]]:
        """Set and what was given of it, to mean F1 and mean WAcc."""
        return {f"{one.name}, {one.modalities}": [one.f1, one.wacc] for one in self.sets}

    def to_json(self) -> str:
        """Every figure, as a JSON object."""
        sets = [
            {**asdict(one), "f1": one.f1, "wacc": one.wacc, "guess_f1": one.guess_f1}
            for one in self.sets
        ]
        return json.dumps({"thresholds": self.thresholds, "sets": sets}, indent=2)


def evaluate(checkpoint: str | Path, data: Path) -> Report:
    """Judge a checkpoint on the validation sets.

    Args:
        checkpoint: what `MERModel.load` takes.
        data: the data folder, for example ``../shared/data``.

    Raises:
        UsageError: either cannot be read.
    """
    model = MERModel.load(checkpoint)
    return judge(model, read_data(data).valid)


@torch.inference_mode()
def judge(model: MERModel, valid: Sequence[ExampleSet]) -> Report:
    """A report on a model, with its thresholds; where it has none they are chosen on these sets.

    Beside the sets themselves it is judged on utterances put together across them, always the
    same, of which it is given one, two or all three modalities. It is left in evaluation mode.
    """
    model.eval()
    found = [
        (one.modality, one, _probabilities(model, _vectors(model, one), one.modality))
        for one in valid
    ]
    together = _put_together(valid)
    vectors = _vectors(model, together)
    found += [
        (combination, together, _probabilities(model, vectors, combination))
        for combination in COMBINATIONS
    ]
    thresholds = model.thresholds or {
        combination: _best_thresholds(
            [
                (probabilities, one.truths)
                for given, one, probabilities in found
                # Real examples say more than those put together, where there are any.
                if given == combination and (one is not together or "+" in combination)
            ]
        )
        for combination in COMBINATIONS
    }
    return Report(
        thresholds,
        tuple(
            _judge_set(one, given, probabilities, np.array(list(thresholds[given].values())))
            for given, one, probabilities in found
        ),
    )


def _put_together(valid: Sequence[ExampleSet]) -> ExampleSet:
    pools = {
        name: Pool([one for one in valid if one.modality == name], seed=0) for name in MODALITIES
    }
    raw, truths = paired(pools, _PAIRED_EXAMPLES, np.random.default_rng(0), lost=0.0, unmoved=0.0)
    return ExampleSet("put together", PAIRED, raw, truths)


def _best_thresholds(sets: Sequence[tuple[Probabilities, Truths]]) -> dict[str, float]:
    """Emotion to the threshold with the best F1 on all these sets as one."""
    probabilities, truths = (np.concatenate(parts) for parts in zip(*sets, strict=True))
    return {
        emotion: best_threshold(probabilities[:, column], truths[:, column])
        for column, emotion in enumerate(EMOTIONS)
    }


def _judge_set(
    one: ExampleSet, given: str, found: Probabilities, thresholds: Probabilities
) -> SetReport:
    yes: Truths = found > thresholds
    neutral = ~one.truths.any(axis=1)
    accuracy = None
    if one.classes:
        furthest = np.array(EMOTIONS)[(found - thresholds).argmax(axis=1)]
        answers = np.where(yes.any(axis=1), furthest, "neutral")
        accuracy = float((answers == np.array(one.classes)).mean())
    return SetReport(
        name=one.name,
        modalities=given,
        examples=len(one),
        emotions={
            emotion: score(yes[:, column], one.truths[:, column])
            for column, emotion in enumerate(EMOTIONS)
            if one.truths[:, column].any()
        },
        false_alarms=float(yes[neutral].any(axis=1).mean()) if neutral.any() else None,
        accuracy=accuracy,
    )


def _vectors(model: MERModel, one: ExampleSet) -> Tensor:
    """What `MERModel.embed` returns of every example, in float32 whatever training runs in."""
    parts = []
    for first in range(0, len(one), _BATCH):
        items = one.items[first : first + _BATCH]
        raw = items if one.modality == PAIRED else [{one.modality: item} for item in items]
        parts.append(model.embed([prepared(model, example) for example in raw]))
    return torch.cat(parts)


def _probabilities(model: MERModel, vectors: Tensor, given: str) -> Probabilities:
    """float64 (examples, 6), of these modalities only."""
    kept = vectors.new_tensor([name in given.split("+") for name in MODALITIES])
    return torch.sigmoid(model.fuse(vectors * kept[:, None])).cpu().double().numpy()


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{part:.1%}"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table with straight columns."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    lines = [names, ["-" * width for width in widths], *rows]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in lines
    )
