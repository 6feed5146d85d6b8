"""Training the embedded model from its starting points to its checkpoint.

In: the data folder. Out: a checkpoint, and the report on it. What each stage learns is told in
`models.training.embedded`, how it learns in `models.training.loop`.
"""

from __future__ import annotations

import math
import multiprocessing
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import torch

from models.emotions import MODALITIES
from models.errors import AnalyserError, UsageError
from models.mer.model import MERModel
from models.training.datasets import TALK, Data, ExampleSet, read_data
from models.training.embedded import SCHEDULES, BranchTask, Faces, Voice, Words
from models.training.evaluation import judge
from models.training.fusion import Fusion
from models.training.heard import heard
from models.training.loop import Progress, Result, Schedule, Task, choose_device, fit
from models.training.report import Report
from models.training.starting_points import starting_model
from models.training.voices import encoded

DATA_LICENCES = (
    "FER2013 (research use) with FER+ labels (MIT); RAVDESS, nEMO, Indian EmoSpeech and "
    "DailyDialog (CC BY-NC-SA 4.0); Emo-DB (free, with citation); speechocean762, LibriSpeech, "
    "GoEmotions and XED (CC BY 4.0); EmoGator and EmoryNLP (Apache-2.0); ESC-10 (CC BY 3.0); MELD "
    "(GPL-3.0 repository); talk about tasks (mixed, non-commercial)"
)

_HEARD = {"train": 800, "valid": 150}
"""Texts that the recogniser's errors are learnt from."""

_VERSIONS = {"visual": 1, "acoustic": 2, "textual": 1}
"""In how many ways each example is changed for the fusion."""

_VERSIONS_HEARD = {"train": 2, "valid": 1}
"""In how many ways each clip is heard: as it is, and changed."""

_EVERY = {"FER+": 2, "GoEmotions": 4, "MELD": 2, "DailyDialog": 4, "XED": 4, TALK: 2}
"""Of these sets, the fusion learns from every so manieth example: it is small, and has enough."""

_BRANCHES: dict[str, type[BranchTask]] = {task.name: task for task in (Faces, Voice, Words)}

OnProgress = Callable[[Progress], None]


def train_embedded(
    data: Path,
    out: Path,
    *,
    seed: int = 1,
    resume: bool = False,
    device: str = "auto",
    on_progress: OnProgress = lambda progress: None,
) -> tuple[Report, dict[str, Result]]:
    """Train the embedded model and write its checkpoint.

    Without a GPU the three modalities learn at the same time, each on one core, so that the
    weights do not depend on how many cores there are.

    Args:
        data: the data folder, for example ``../shared/data``.
        out: the checkpoint to write. Beside it, in the folder ``OUT.training``, stands what it
            takes to resume.
        seed: decides everything random; same seed, data and machine, same weights.
        resume: go on from ``OUT.training``, to the same weights as an uninterrupted training.
            To train one stage anew, remove its files there first.
        device: ``auto``, ``cpu`` or ``cuda``.
        on_progress: called after every step, and for every text that the recogniser has heard.

    Returns:
        The report on the checkpoint as it was written, that is, with its reduced weights; and
        stage to how it went.

    Raises:
        UsageError: the data, or what to resume, cannot be read; or espeak-ng is missing.
        MissingWeights: a pre-trained backbone is not on this machine.
    """
    where = choose_device(device)
    folder = _folder(out)
    if resume and not folder.is_dir():
        raise UsageError(f"{folder} is not there: there is no training to resume")
    if not resume:
        for kept in (*folder.glob("*.state"), *folder.glob("voices_*.npy")):
            kept.unlink()
    model = _untrained(data, seed)
    sets = read_data(data)
    learnt = _with_heard(sets, folder, on_progress)
    if where.type == "cpu":
        torch.set_num_threads(1)
        _learn_at_once(data, folder, seed, on_progress)
    return fit_stages(
        model,
        learnt,
        sets.valid,
        out,
        seed=seed,
        device=where,
        on_progress=on_progress,
    )


def fit_stages(
    model: MERModel,
    learnt: Data,
    judged: Sequence[ExampleSet],
    out: Path,
    *,
    seed: int,
    device: torch.device,
    schedules: Mapping[str, Sequence[Schedule]] = SCHEDULES,
    on_progress: OnProgress = lambda progress: None,
) -> tuple[Report, dict[str, Result]]:
    """Train a model stage by stage, each from where its state beside `out` stands.

    Args:
        model: untrained.
        learnt: the sets to learn from, and those that say which weights are best.
        judged: the validation sets that thresholds and calibration are chosen on.
        out: the checkpoint to write.
        seed, device, on_progress: see `train_embedded`.
        schedules: stage to how long and how fast it learns, cycle by cycle.

    Returns:
        See `train_embedded`.
    """
    folder = _folder(out)
    learnt = _with_voices(model.to(device), learnt, folder, seed, on_progress)
    results: dict[str, Result] = {}
    train: list[ExampleSet] = []
    valid: list[ExampleSet] = []
    for name in MODALITIES:
        task, results[name] = _learn_branch(
            name, model, learnt, schedules[name], folder, seed, device, on_progress
        )
        versions = range(_VERSIONS[name])
        parts = [_part(one) for one in _of(name, learnt.train)]
        train += [task.vectors(one, version=n) for one in parts for n in versions]
        valid += [task.vectors(one) for one in _of(name, learnt.valid)]
    fusion = Fusion(model, train, valid, seed=seed)
    (schedule,) = schedules[fusion.name]
    state = folder / f"{fusion.name}.state"
    results[fusion.name] = _learn(fusion, schedule, state, seed, device, on_progress)
    report = judge(model.requires_grad_(False), judged)
    model.thresholds, model.calibration = report.thresholds, report.calibration
    model.resting = report.resting
    training = {
        "seed": seed,
        "epochs": {name: len(result.epochs) for name, result in results.items()},
        "licences": DATA_LICENCES,
        "float32": report.means,
    }
    model.save(out, training=training)
    return judge(MERModel.load(out), judged), results


def _folder(out: Path) -> Path:
    """What it takes to resume."""
    return out.with_name(out.name + ".training")


def _untrained(data: Path, seed: int) -> MERModel:
    torch.manual_seed(seed)
    return starting_model("embedded", data)


def _part(one: ExampleSet) -> ExampleSet:
    """What the fusion learns from of a set."""
    step = _EVERY.get(one.name, 1)
    return ExampleSet(one.name, one.modality, one.items[::step], one.truths[::step])


def _with_heard(sets: Data, folder: Path, on_progress: OnProgress = lambda progress: None) -> Data:
    """The data, and some of its texts as the recogniser heard them."""
    parts: list[tuple[ExampleSet, ...]] = []
    for part, count in _HEARD.items():
        own: tuple[ExampleSet, ...] = getattr(sets, part)

        def tell(done: int, stage: str = f"hearing, {part}", count: int = count) -> None:
            on_progress(Progress(stage, done, count, math.nan, None))

        file = folder / f"heard_{part}.jsonl"
        parts.append((*own, heard(_of(Words.name, own), count, file, on_progress=tell)))
    return Data(*parts)


def _with_voices(
    model: MERModel, sets: Data, folder: Path, seed: int, on_progress: OnProgress
) -> Data:
    """The data, its voices as the model's backbone, which then knows their spread, hears them."""
    backbone: Any = model.backbones[Voice.name].eval()
    parts: dict[str, tuple[ExampleSet, ...]] = {}
    for part, versions in _VERSIONS_HEARD.items():
        own: tuple[ExampleSet, ...] = getattr(sets, part)

        def tell(done: int, clips: int, stage: str = f"voices, {part}") -> None:
            on_progress(Progress(stage, done, clips, math.nan, None))

        heard_voices = encoded(
            backbone,
            _of(Voice.name, own),
            folder / f"voices_{part}.npy",
            versions=versions,
            seed=seed,
            on_progress=tell,
        )
        parts[part] = (*(one for one in own if one.modality != Voice.name), *heard_voices)
    means = [item for one in _of(Voice.name, parts["train"]) for item in one.items]
    backbone.standardise(torch.from_numpy(np.concatenate(means).astype(np.float32)))
    return Data(**parts)


def _of(name: str, sets: Sequence[ExampleSet]) -> list[ExampleSet]:
    return [one for one in sets if one.modality == name]


def _task(name: str, model: MERModel, sets: Data, seed: int) -> BranchTask:
    torch.manual_seed(seed)  # for the outputs that the branch learns with
    return _BRANCHES[name](model, _of(name, sets.train), _of(name, sets.valid), seed=seed)


def _learn_branch(
    name: str,
    model: MERModel,
    sets: Data,
    cycles: Sequence[Schedule],
    folder: Path,
    seed: int,
    device: torch.device,
    on_progress: OnProgress,
) -> tuple[BranchTask, Result]:
    """Bring one branch to its end, and tell of all its cycles as one.

    A cycle goes on from the best weights of the last (a warm restart, Loshchilov and Hutter 2017,
    https://arxiv.org/abs/1608.03983), and its examples change in other ways.
    """
    task = _task(name, model, sets, seed)
    result = Result((), (), 0)
    for number, schedule in enumerate(cycles):
        if number:
            weights = task.module.state_dict()
            task = _task(name, model, sets, seed + number)
            task.module.load_state_dict(weights)
        state = folder / f"{name}-{number + 1}.state"
        cycle = _learn(task, schedule, state, seed + number, device, on_progress)
        result = Result(
            result.losses + cycle.losses,
            result.epochs + cycle.epochs,
            len(result.epochs) + cycle.best,
        )
    return task, result


def _learn(
    task: Task,
    schedule: Schedule,
    state: Path,
    seed: int,
    device: torch.device,
    on_progress: OnProgress,
) -> Result:
    """Bring one cycle to its end, from where its state stands."""
    return fit(
        task,
        replace(schedule, seed=seed),
        state=state,
        resume=True,
        device=device,
        on_progress=on_progress,
    )


def _learn_at_once(data: Path, folder: Path, seed: int, on_progress: OnProgress) -> None:
    """Train the branches in processes of their own; raises what one of them raised."""
    context = multiprocessing.get_context("spawn")  # the others cannot follow PyTorch's threads
    messages: Any = context.Queue()
    processes = [
        context.Process(
            target=_learn_in_process, args=(name, data, folder, seed, messages), daemon=True
        )
        for name in MODALITIES
    ]
    for process in processes:
        process.start()
    try:
        while any(process.is_alive() for process in processes) or not messages.empty():
            try:
                message = messages.get(timeout=0.5)
            except Empty:
                continue
            if isinstance(message, Progress):
                on_progress(message)
            else:
                raise message
    finally:
        for process in processes:
            process.terminate()
            process.join()
    if any(process.exitcode for process in processes):
        raise AnalyserError("a training process was ended from outside: go on with --resume")


def _learn_in_process(name: str, data: Path, folder: Path, seed: int, messages: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this
    torch.set_num_threads(1)
    try:
        model, sets = _untrained(data, seed), _with_heard(read_data(data), folder)
        if name == Voice.name:
            sets = _with_voices(model, sets, folder, seed, messages.put)
        cpu = torch.device("cpu")
        _learn_branch(name, model, sets, SCHEDULES[name], folder, seed, cpu, messages.put)
    except AnalyserError as error:
        messages.put(error)
