"""The training loop: gradient descent on one task, early stopping, exact resuming.

In: a `Task` and its `Schedule`. Out: the task's module with the weights that were judged best, and
how it came to them. Knows nothing of emotions.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from models.errors import AnalyserError, UsageError

_SAVE_EVERY = 200  # steps


class Task(Protocol):
    """One stage of training: what is learnt, from what, and how it is judged."""

    name: str
    """What progress bars and messages call it."""

    module: nn.Module
    """All that is learnt, saved, averaged and restored."""

    steps: int
    """Steps in one epoch."""

    def groups(self) -> list[dict[str, Any]]:
        """What is learnt how fast: ``{"params": [...], "part": 0.1}``, part of the highest rate.

        Other keys, such as ``weight_decay``, go to the optimizer as they are.
        """

    def batch(self, step: int) -> Any:
        """What `loss` takes, as tensors in lists, tuples and dictionaries.

        A function of a seed of its own and the step's number (counted through all epochs) alone:
        so a resumed training goes on as if never interrupted. It is called on another thread,
        ahead of time, so it must leave PyTorch's global random state alone.
        """

    def loss(self, batch: Any) -> Tensor:
        """The loss of a batch, a scalar; runs the module in training mode, under autocast."""

    def judge(self, module: nn.Module) -> Mapping[str, float]:
        """Validation figures of a module like `module`, which comes in evaluation mode."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """How long and how fast to learn.

    Attributes:
        epochs: at most; the rate falls to 0 over them.
        rate: the highest learning rate.
        best: the figure of `Task.judge`, higher is better, that says which weights are kept.
        seed: decides dropout; tasks take the same for their batches.
        warm_up: part of the steps in which the rate rises from 0.
        weight_decay: of AdamW.
        largest_gradient: longer gradients, over all weights, are shortened to this norm.
        patience: epochs without a better `best` after which to stop; None is never.
        average: decay a step of the moving average of the weights that is judged and kept; None
            judges the weights themselves.
        precision: ``mixed`` computes in bfloat16 where that is safe, or in float16 with scaled
            gradients on a GPU without it. A processor that would only emulate it, twelve times as
            slow as float32 (measured on one with AVX2), computes in float32.
    """

    epochs: int
    rate: float
    best: str
    seed: int
    warm_up: float = 0.05
    weight_decay: float = 0.02
    largest_gradient: float = 1.0
    patience: int | None = None
    average: float | None = None
    precision: Literal["float32", "mixed"] = "mixed"

    def rate_at(self, done: float) -> float:
        """The learning rate at part `done` of the training: linear up, half a cosine to 0."""
        if done < self.warm_up:
            return self.rate * done / self.warm_up
        return self.rate * (1 + math.cos(math.pi * (done - self.warm_up) / (1 - self.warm_up))) / 2


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch came to.

    Attributes:
        loss: mean over its steps.
        rate: the learning rate at its end.
        figures: what `Task.judge` said then.
    """

    loss: float
    rate: float
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands, after every step.

    Attributes:
        stage: the task's name.
        step: steps done.
        steps: steps in all, if it does not stop early.
        loss: mean over the steps of this epoch so far.
        epoch: how the epoch went; only at its end.
    """

    stage: str
    step: int
    steps: int
    loss: float
    epoch: EpochRecord | None


@dataclass(frozen=True, slots=True)
class Result:
    """How a training went.

    Attributes:
        losses: of every step.
        epochs: of every epoch; fewer than scheduled when it stopped early.
        best: index of the epoch whose weights were kept.
    """

    losses: tuple[float, ...]
    epochs: tuple[EpochRecord, ...]
    best: int


def fit(
    task: Task,
    schedule: Schedule,
    *,
    state: Path,
    resume: bool = False,
    device: torch.device | str = "cpu",
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_best: Callable[[nn.Module], None] = lambda module: None,
) -> Result:
    """Train a task's module; it ends with its best weights, on `device`, in evaluation mode.

    Args:
        task: what to learn.
        schedule: how.
        state: the file that resuming reads, renewed every 200 steps and after every epoch.
        resume: go on from `state`, to the very weights that an uninterrupted training gives. A
            training that had come to its end is not run again; one that had not begun begins.
        device: where to compute.
        on_progress: called after every step.
        on_best: called after every epoch that was better than all before, with the module that
            was judged; for example to write a checkpoint.

    Raises:
        UsageError: the state is damaged, or of other settings.
        AnalyserError: the loss is no longer a number.
    """
    run = _Run(task, schedule, torch.device(device))
    if resume and state.is_file():
        run.restore(state)
    steps = schedule.epochs * task.steps
    with ThreadPoolExecutor(1) as ahead:
        for step, batch in _batches(task, run.step, 0 if run.finished else steps, ahead):
            run.take(step, batch)
            epoch = None
            if run.step % task.steps == 0:
                epoch = run.judge(on_best)
            if epoch or run.step % _SAVE_EVERY == 0:
                run.keep(state)
            on_progress(Progress(task.name, run.step, steps, run.epoch_loss, epoch))
            if run.finished:
                break
    return run.result()


def choose_device(name: str) -> torch.device:
    """The device of this name: ``cpu``, ``cuda``, or ``auto``, which is a GPU where there is one.

    Raises:
        UsageError: there is no such device here.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"there is no device {name}: choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("no GPU that PyTorch can use was found: choose --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


class _Run:
    """All that changes during a training, which is all that its state file holds."""

    def __init__(self, task: Task, schedule: Schedule, device: torch.device) -> None:
        self._task, self._schedule, self._device = task, schedule, device
        self._module = task.module.to(device).train()
        self._averaged = self._module
        if schedule.average is not None:
            self._averaged = deepcopy(self._module).requires_grad_(False)
        self._optimizer = torch.optim.AdamW(
            task.groups(),
            lr=schedule.rate,
            weight_decay=schedule.weight_decay,
            fused=True,  # forty times as fast on a CPU whose cores are busy
        )
        half = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
        self._dtype = torch.float16 if half else torch.bfloat16
        emulated = device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
        self._mixed = schedule.precision == "mixed" and not emulated
        self._scaler = GradScaler(device.type, enabled=half and self._mixed)
        # What a resumed training must have in common with the one it goes on with.
        self._settings = {"task": task.name, "steps": task.steps, **asdict(schedule)}
        self._losses: list[float] = []
        self._epochs: list[EpochRecord] = []
        self._best: dict[str, Tensor] = {}
        self._best_epoch = 0
        self.finished = False

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self._losses)

    @property
    def epoch_loss(self) -> float:
        """Mean loss of the present epoch, or of the last when it has just ended."""
        first = (self.step - 1) // self._task.steps * self._task.steps
        return math.fsum(self._losses[first:]) / (self.step - first)

    def take(self, step: int, batch: Any) -> None:
        """One step of gradient descent."""
        schedule = self._schedule
        rate = self._rate(step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["part"]
        torch.manual_seed(schedule.seed * 1_000_003 + step)  # dropout depends on the step alone
        with torch.autocast(self._device.type, self._dtype, enabled=self._mixed):
            loss = self._task.loss(_moved(batch, self._device))
        self._losses.append(loss.item())
        if not math.isfinite(self._losses[-1]):
            raise AnalyserError(
                f"{self._task.name}: the loss became {self._losses[-1]} at step {step + 1}: "
                "train at a lower rate"
            )
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self._optimizer)
        weights = [weight for group in self._optimizer.param_groups for weight in group["params"]]
        torch.nn.utils.clip_grad_norm_(weights, schedule.largest_gradient)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if schedule.average is not None:
            # Early on, the average must not hold on to where the weights began.
            self._average(min(schedule.average, (1 + step) / (10 + step)))

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        for kept, new in zip(self._averaged.parameters(), self._module.parameters(), strict=True):
            kept.lerp_(new, 1 - decay)
        # The statistics of normalisation layers are averages already.
        for counted, now in zip(self._averaged.buffers(), self._module.buffers(), strict=True):
            counted.copy_(now)

    def judge(self, on_best: Callable[[nn.Module], None]) -> EpochRecord:
        """End an epoch."""
        self._averaged.eval()
        with torch.no_grad():
            figures = {name: float(x) for name, x in self._task.judge(self._averaged).items()}
        epoch = EpochRecord(self.epoch_loss, self._rate(self.step), figures)
        self._epochs.append(epoch)
        deciding = [epoch.figures[self._schedule.best] for epoch in self._epochs]
        if not self._best or deciding[-1] > deciding[self._best_epoch]:
            self._best_epoch = len(self._epochs) - 1
            self._best = {
                name: tensor.detach().to("cpu", copy=True)
                for name, tensor in self._averaged.state_dict().items()
            }
            on_best(self._averaged)
        worse = len(self._epochs) - 1 - self._best_epoch
        patience = self._schedule.patience
        self.finished = len(self._epochs) == self._schedule.epochs or (
            patience is not None and worse >= patience
        )
        self._module.train()
        return epoch

    def keep(self, path: Path) -> None:
        """Write the state; the file is there complete or as it was before."""
        state: dict[str, Any] = {
            "settings": self._settings,
            "losses": self._losses,
            "epochs": [asdict(epoch) for epoch in self._epochs],
            "best": self._best,
            "best_epoch": self._best_epoch,
            "finished": self.finished,
        }
        if not self.finished:
            state |= {name: part.state_dict() for name, part in self._parts().items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        torch.save(state, partial)
        partial.replace(path)

    def restore(self, path: Path) -> None:
        """Become the run that wrote the state."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            settings = state["settings"]
            if settings != self._settings:
                others = ", ".join(
                    f"{name} {settings.get(name)}, not {value}"
                    for name, value in self._settings.items()
                    if settings.get(name) != value
                )
                raise UsageError(
                    f"{path} is a training with other settings ({others}): use those, or begin "
                    "anew without --resume"
                )
            self._losses = state["losses"]
            self._epochs = [EpochRecord(**epoch) for epoch in state["epochs"]]
            self._best, self._best_epoch = state["best"], state["best_epoch"]
            self.finished = state["finished"]
            if self.finished:
                self._module.load_state_dict(self._best)
            else:
                for name, part in self._parts().items():
                    part.load_state_dict(state[name])
        except (
            *(RuntimeError, KeyError, EOFError, OSError, TypeError, ValueError, AttributeError),
            pickle.UnpicklingError,
        ) as error:
            reason = (str(error) or "it is cut off").splitlines()[0]
            raise UsageError(
                f"{path} cannot be resumed: {reason}; begin anew without --resume"
            ) from error

    def result(self) -> Result:
        """Give the module its best weights."""
        self._module.load_state_dict(self._best)
        self._module.eval()
        return Result(tuple(self._losses), tuple(self._epochs), self._best_epoch)

    def _parts(self) -> dict[str, Any]:
        """What has a state of its own."""
        parts = {
            "module": self._module,
            "averaged": self._averaged,
            "optimizer": self._optimizer,
            "scaler": self._scaler,
        }
        if self._averaged is self._module:
            del parts["averaged"]
        return parts

    def _rate(self, step: int) -> float:
        return self._schedule.rate_at(step / (self._schedule.epochs * self._task.steps))


def _batches(
    task: Task, first: int, stop: int, ahead: ThreadPoolExecutor
) -> Iterator[tuple[int, Any]]:
    """Steps and their batches; the next is made while one is learnt from."""
    coming = None
    for step in range(first, stop):
        coming = coming or ahead.submit(task.batch, step)
        batch = coming.result()
        coming = ahead.submit(task.batch, step + 1) if step + 1 < stop else None
        yield step, batch


def _moved(batch: Any, device: torch.device) -> Any:
    """All tensors in lists, tuples and dictionaries, on the device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, (list, tuple)):
        return type(batch)(_moved(one, device) for one in batch)
    if isinstance(batch, dict):
        return {name: _moved(one, device) for name, one in batch.items()}
    return batch
