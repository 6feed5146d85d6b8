"""Training the paper's model on CMU-MOSEI, and judging it there.

In: the folder that `models.training.mosei` describes. Out: a checkpoint, and how good it is on the
validation and the test part, beside what was published.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.emotions import COMBINATIONS, EMOTIONS, MODALITIES
from models.errors import UsageError
from models.mer.model import MERModel, Prepared
from models.training.datasets import ExampleSet, with_neutral
from models.training.evaluation import judge
from models.training.loop import Progress, Result, Schedule, choose_device, fit
from models.training.metrics import Score, mean_figures, score
from models.training.mosei import Mosei, read_mosei
from models.training.starting_points import starting_model

SCHEDULE = Schedule(epochs=20, rate=5e-4, best="F1", seed=0, patience=4)
"""How long and how fast to learn; the seed is set by who trains."""

DATA_LICENCES = "CMU-MOSEI (research use)"

PUBLISHED = (
    "Published for this test part: Dai et al. 2021, fully end-to-end, F1 0.474, WAcc 0.676; "
    "Lee and Kim 2023, this model, F1 0.483, accuracy 0.727"
)

_BATCH = 8  # utterances
_LOST = 0.1  # probability that a modality is withheld in training, so that none is relied upon


@dataclass(frozen=True, slots=True)
class PartReport:
    """How one part is recognised, each utterance from what there is of it.

    Attributes:
        name: of the part.
        examples: how many.
        emotions: emotion to its score; only emotions that the part has.
    """

    name: str
    examples: int
    emotions: dict[str, Score]

    @property
    def f1(self) -> float:
        """Mean over the emotions."""
        return float(np.mean([one.f1 for one in self.emotions.values()]))

    @property
    def wacc(self) -> float:
        """Mean over the emotions."""
        return float(np.mean([one.wacc for one in self.emotions.values()]))


@dataclass(frozen=True, slots=True)
class MoseiReport:
    """How good a model is on CMU-MOSEI. `str` of it is a table.

    Attributes:
        thresholds: emotion to threshold, where all three modalities are there.
        parts: validation, which chose the thresholds, and test.
    """

    thresholds: dict[str, float]
    parts: tuple[PartReport, ...]

    def __str__(self) -> str:
        parts = "".join(f"{one.name:>22} F1   WAcc" for one in self.parts)
        lines = [f"{'':<10}  threshold{parts}"]
        for emotion in EMOTIONS:
            scores = (one.emotions.get(emotion) for one in self.parts)
            cells = (f"{s.f1:>25.3f}  {s.wacc:.3f}" if s else f"{'-':>25}      -" for s in scores)
            lines.append(f"{emotion:<10}  {'> ' + f'{self.thresholds[emotion]:.2f}':>9}")
            lines[-1] += "".join(cells)
        means = "".join(f"{one.f1:>25.3f}  {one.wacc:.3f}" for one in self.parts)
        return "\n".join([*lines, f"{'mean':<21}{means}", PUBLISHED])

    def to_json(self) -> str:
        """Every figure, as a JSON object."""
        parts = [{**asdict(one), "f1": one.f1, "wacc": one.wacc} for one in self.parts]
        return json.dumps({"thresholds": self.thresholds, "parts": parts})


def train_paper(
    data: Path,
    out: Path,
    *,
    seed: int = 1,
    resume: bool = False,
    device: str = "auto",
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> tuple[MoseiReport, dict[str, Result]]:
    """Train the paper's model and write its checkpoint, anew after every epoch that was better.

    Args:
        data: the folder that `models.training.mosei` describes.
        out: the checkpoint to write. Beside it, in the folder ``OUT.training``, stands what it
            takes to resume.
        seed: decides everything random; same seed, data and machine, same weights.
        resume: go on from ``OUT.training``, to the same weights as an uninterrupted training.
        device: ``auto``, ``cpu`` or ``cuda``.
        on_progress: called after every step.

    Returns:
        The report on the checkpoint as it was written, that is, with its reduced weights; and
        stage to how it went.

    Raises:
        UsageError: the data, or what to resume, cannot be read.
        MissingWeights: a pre-trained backbone is not on this machine.
    """
    where = choose_device(device)
    state = out.with_name(out.name + ".training") / "paper.state"
    if resume and not state.is_file():
        raise UsageError(f"{state} is not there: there is no training to resume")
    mosei = read_mosei(data)
    torch.manual_seed(seed)  # what is new begins with random weights
    task = PaperTask(starting_model("paper", data), mosei, seed=seed)

    def write(module: nn.Module) -> None:
        assert isinstance(module, MERModel)
        report = judge(module, [mosei.valid])
        module.thresholds, module.calibration = report.thresholds, report.calibration
        module.resting = report.resting
        training = {"seed": seed, "licences": DATA_LICENCES, "float32": report.means}
        module.save(out, training=training)
        module.thresholds = module.calibration = None  # the next epoch chooses anew

    result = fit(
        task,
        replace(SCHEDULE, seed=seed),
        state=state,
        resume=resume,
        device=where,
        on_progress=on_progress,
        on_best=write,
    )
    return evaluate_mosei(MERModel.load(out).to(where), mosei), {task.name: result}


@torch.inference_mode()
def evaluate_mosei(model: MERModel, mosei: Mosei) -> MoseiReport:
    """How good a trained model is on the validation and the test part."""
    assert model.thresholds is not None
    return MoseiReport(
        model.thresholds[COMBINATIONS[-1]],
        tuple(_judge_part(model, one) for one in (mosei.valid, mosei.test)),
    )


class PaperTask:
    """The paper's one stage: all of the model at once, on whole utterances.

    Args:
        model: untrained.
        mosei: trains on one part, is judged on another.
        seed: decides order and what is withheld.
    """

    name = "paper"

    def __init__(self, model: MERModel, mosei: Mosei, *, seed: int) -> None:
        self.module: nn.Module = model
        self.steps = -(-len(mosei.train) // _BATCH)
        self._model, self._train, self._valid, self._seed = model, mosei.train, mosei.valid, seed

    def groups(self) -> list[dict[str, Any]]:
        """The pre-trained backbones at a tenth of the rate."""
        backbones = list(self._model.backbones.parameters())
        new = [*self._model.over_time.parameters(), *self._model.fusion.parameters()]
        return [{"params": backbones, "part": 0.1}, {"params": new, "part": 1.0}]

    def batch(self, step: int) -> tuple[list[Prepared], Tensor]:
        """The next utterances of a shuffled pass, and their truths float32 (n, 7)."""
        epoch, place = divmod(step, self.steps)
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._train))
        chosen = order[place * _BATCH : (place + 1) * _BATCH]
        rng = np.random.default_rng([self._seed, epoch, place])
        examples = []
        for number in chosen:
            example = self._prepared(self._train.items[number])
            examples.append({name: x for name, x in example.items() if rng.random() >= _LOST})
        return examples, torch.from_numpy(with_neutral(self._train.truths[chosen])).float()

    def loss(self, batch: tuple[list[Prepared], Tensor]) -> Tensor:
        """Binary cross-entropy of the six."""
        examples, truths = batch
        return F.binary_cross_entropy_with_logits(self._model(examples).float(), truths)

    def judge(self, module: nn.Module) -> dict[str, float]:
        """Mean F1 and WAcc of all validation utterances, as the paper has it: an emotion has one
        threshold, the best, whatever is missing.
        """
        logits = []
        for first in range(0, len(self._valid), _BATCH):
            items = self._valid.items[first : first + _BATCH]
            logits.append(module([self._prepared(item) for item in items]).cpu())
        six = torch.cat(logits)[:, : len(EMOTIONS)]
        probabilities = torch.sigmoid(six.double()).numpy()
        f1, wacc = mean_figures(probabilities, self._valid.truths)
        return {"F1": f1, "WAcc": wacc}

    def _prepared(self, item: dict[str, Any]) -> Prepared:
        return self._model.prepare(*map(item.get, MODALITIES))


def _judge_part(model: MERModel, part: ExampleSet) -> PartReport:
    yes = []
    for first in range(0, len(part), _BATCH):
        items = part.items[first : first + _BATCH]
        given = ([item.get(name) for item in items] for name in MODALITIES)
        scores = model.predict_batch(*given)
        yes += [[emotion in one.expressed for emotion in EMOTIONS] for one in scores]
    decisions = np.array(yes)
    return PartReport(
        part.name,
        len(part),
        {
            emotion: score(decisions[:, column], part.truths[:, column])
            for column, emotion in enumerate(EMOTIONS)
            if part.truths[:, column].any() and not part.truths[:, column].all()
        },
    )
