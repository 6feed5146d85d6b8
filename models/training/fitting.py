"""The training loop: one model, one loss, batches of one modality and of all three.

In: the data folder. Out: a checkpoint, renewed after every epoch, and the report on it.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from models.errors import UsageError
from models.mer.checkpoint import load_model, save_model
from models.mer.model import MERModel
from models.training.batches import Batches, Epoch
from models.training.datasets import Data, read_data
from models.training.evaluation import Report, judge
from models.training.starting_points import starting_model

_RATE = 1.5e-3
"""Highest learning rate of the fusion; the backbones learn at a tenth of it."""

_WARM_UP = 0.05  # part of the steps in which the rate rises from 0
_WEIGHT_DECAY = 0.02
_LARGEST_GRADIENT = 1.0
_SAVE_EVERY = 200  # steps

DATA_LICENCES = (
    "FER2013 (research use) with FER+ labels (MIT); RAVDESS (CC BY-NC-SA 4.0); Emo-DB (free, with "
    "citation); GoEmotions (CC BY 4.0); MELD (GPL-3.0 repository)"
)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands.

    Attributes:
        step: steps done.
        steps: steps in all.
        loss: binary cross-entropy, averaged over about the last hundred steps.
        report: how the model does on the validation sets; only at the end of an epoch.
    """

    step: int
    steps: int
    loss: float
    report: Report | None = None


def train(
    data: Path,
    out: Path,
    *,
    profile: str = "embedded",
    epochs: int = 3,
    seed: int = 1,
    resume: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Report:
    """Train a model and write its checkpoint.

    Args:
        data: the data folder, for example ``../shared/data``.
        out: the checkpoint to write. Beside it, in ``OUT.training``, stands what it takes to
            resume.
        profile: whose backbones to start from, ``embedded`` or ``paper``.
        epochs: how long; the learning rate falls to 0 over them.
        seed: decides everything random; same seed, data and machine, same weights.
        resume: go on from ``OUT.training`` with the same settings, to the same weights as an
            uninterrupted training.
        on_progress: called after every step.

    Returns:
        The report on the checkpoint as it was written, that is, with its reduced weights.

    Raises:
        UsageError: the data, or what to resume, cannot be read.
        MissingWeights: a pre-trained backbone is not on this machine.
    """
    if epochs < 1:
        raise UsageError(f"epochs must be at least 1, not {epochs}")
    return fit(
        starting_model(profile, data),
        read_data(data),
        out,
        epoch=Epoch(),
        epochs=epochs,
        seed=seed,
        resume=resume,
        on_progress=on_progress,
    )


def fit(
    model: MERModel,
    data: Data,
    out: Path,
    *,
    epoch: Epoch,
    epochs: int,
    seed: int,
    resume: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Report:
    """`train`, of this model on this data."""
    settings = {"epoch": asdict(epoch), "epochs": epochs, "seed": seed}
    batches = Batches(data.train, model, epoch=epoch, seed=seed)
    optimizer = _optimizer(model)
    state_path = out.with_name(out.name + ".training")
    first, loss = 0, math.nan
    if resume:
        first, loss = _restore(state_path, model, optimizer, settings)
    steps = epochs * len(epoch)
    report = None
    for step in range(first, steps):
        new = _step(model, optimizer, batches, step, rate=_RATE * rate_at(step / steps), seed=seed)
        loss = new if math.isnan(loss) else 0.99 * loss + 0.01 * new
        done = step + 1
        report = None
        if done % len(epoch) == 0:
            report = judge(model, data.valid)
            _write(model, report, out, settings)
        if report or done % _SAVE_EVERY == 0:
            _keep(state_path, model, optimizer, settings, (done, loss))
        on_progress(Progress(done, steps, loss, report))
    return judge(load_model(out), data.valid)


def rate_at(done: float) -> float:
    """The learning rate at part `done` of the training, in parts of the highest.

    Linear warm-up, then half a cosine down to 0.
    """
    if done < _WARM_UP:
        return done / _WARM_UP
    return (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP))) / 2


def _step(
    model: MERModel,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    step: int,
    *,
    rate: float,
    seed: int,
) -> float:
    """One step of gradient descent; returns the loss before it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["part"]
    model.train()
    torch.manual_seed(seed * 1_000_003 + step)  # dropout, too, depends on the step alone
    examples, truths = batches[step]
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(examples)
    loss = F.binary_cross_entropy_with_logits(logits.float(), truths)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), _LARGEST_GRADIENT)
    optimizer.step()
    return loss.item()


def _optimizer(model: MERModel) -> torch.optim.Optimizer:
    fusion = [*model.over_time.parameters(), *model.fusion.parameters()]
    return torch.optim.AdamW(
        [
            {"params": list(model.backbones.parameters()), "part": 0.1},
            {"params": fusion, "part": 1.0},
        ],
        weight_decay=_WEIGHT_DECAY,
        fused=True,  # forty times as fast on a CPU whose cores are busy
    )


def _write(model: MERModel, report: Report, out: Path, settings: dict[str, Any]) -> None:
    """Write the checkpoint, with the thresholds and figures of the report inside."""
    training = {
        **settings,
        "licences": DATA_LICENCES,
        "float32": report.means,
    }
    model.thresholds = report.thresholds
    save_model(model, out, training=training)
    model.thresholds = None  # the next epoch chooses anew


def _keep(
    path: Path,
    model: MERModel,
    optimizer: torch.optim.Optimizer,
    settings: dict[str, Any],
    place: tuple[int, float],
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "settings": settings,
        "place": place,
    }
    torch.save(state, partial)
    partial.replace(path)


def _restore(
    path: Path, model: MERModel, optimizer: torch.optim.Optimizer, settings: dict[str, Any]
) -> tuple[int, float]:
    """Put model and optimizer back to where `_keep` found them; returns the place."""
    if not path.is_file():
        raise UsageError(f"{path} is not there: there is no training to resume")
    try:
        state = torch.load(path, weights_only=True)
        if state["settings"] != settings:
            raise UsageError(f"{path} is a training with other settings: {state['settings']}")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        place: tuple[int, float] = state["place"]
    except (RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error) or "it is cut off").splitlines()[0]
        raise UsageError(f"{path} cannot be resumed: {reason}") from error
    return place
