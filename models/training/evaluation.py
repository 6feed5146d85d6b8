"""How good a model is on the validation data, and the calibration and thresholds that it needs.

In: a checkpoint and the data folder, or a model and sets. Out: a `Report`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.emotions import COMBINATIONS, EMOTIONS, MODALITIES, OUTPUTS
from models.errors import UsageError
from models.mer.checkpoint import Calibration
from models.mer.model import MERModel
from models.training.datasets import (
    FACE_CLASSES,
    PEOPLE_SEE,
    SEVEN,
    ExampleSet,
    Truths,
    grey_to_rgb,
    read_data,
    with_neutral,
)
from models.training.metrics import (
    FINE_THRESHOLDS,
    THRESHOLDS,
    Logits,
    Probabilities,
    Rates,
    best_threshold,
    calibrated,
    f1,
    fit_calibration,
    folds,
    mean_figures,
    precision_and_recall,
    reliability,
    score,
)
from models.training.report import TOGETHER, Classification, Report, SetReport, Trust

_TOGETHER_EXAMPLES = 3000
_NEUTRAL_TOGETHER = 0.75  # part of them that expresses nothing: people mostly talk of plain things
_PLAIN_TOGETHER = 0.3  # of the others, each time, says nothing of what one modality expresses
_WRONG_TOGETHER = 0.15  # of all, one of the other two modalities is any example: people disagree
_ORDINARY = 0.7
"""A set of which at least so much expresses nothing is ordinary talk, or like it."""
_FALSE_ALARMS = 0.08
"""Of ordinary talk that expresses nothing, so much may be taken to express something."""
_BATCH = 64
_FOLDS = 5


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
    """A report on a model, with its calibration and thresholds.

    Where the model has no thresholds, both are chosen on these sets, the thresholds for calibrated
    probabilities: to be put on the model by the caller.

    Beside the sets themselves it is judged on utterances put together across them, always the
    same, of which it is given one, two or all three modalities. It is left in evaluation mode.

    Args:
        model: on any device.
        valid: sets of one modality each, all three there; or sets of whole utterances, whose
            ``modality`` is ``visual+acoustic+textual`` and whose items are dicts from modality to
            value (faces: a list of RGB crops), any of which may be missing.

    Raises:
        UsageError: of some combination of modalities there is no example.
    """
    model.eval()
    looks = [look for one in valid for look in _looks(model, one)]
    if {look.given for look in looks} == set(MODALITIES):
        looks += _put_together(model, looks)
    # Real examples say more than those put together, where there are any.
    decisive = {
        given: [look for look in looks if look.given == given and look.name != TOGETHER]
        or [look for look in looks if look.given == given]
        for given in COMBINATIONS
    }
    for given, chosen in decisive.items():
        if not chosen:
            raise UsageError(f"no validation example has {given}: without any there is no judging")
    thresholds, calibration = model.thresholds, model.calibration
    if thresholds is None:
        calibration = {given: _fit_calibration(chosen) for given, chosen in decisive.items()}
        thresholds = {
            given: _best_thresholds(chosen, calibration) for given, chosen in decisive.items()
        }
    return Report(
        thresholds,
        {given: _resting(chosen, calibration) for given, chosen in decisive.items()},
        calibration,
        tuple(_judge_look(model, look, thresholds[look.given], calibration) for look in looks),
        tuple(_trust(given, chosen, calibration) for given, chosen in decisive.items()),
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """A set as the model sees it, given some of the modalities.

    Attributes:
        name: of the set.
        given: one of `COMBINATIONS`.
        vectors: what `MERModel.embed` returned; 0 for modalities that are not given.
        logits: float64 (n, 7), not calibrated.
        truths: bool (n, 6).
        seen: (n, 7), the part of people to whom each of `OUTPUTS` is true; by a label all or none.
        groups: those with the same are not independent; a speaker, or the example itself.
        classes: as in `ExampleSet`.
    """

    name: str
    given: str
    vectors: Tensor
    logits: npt.NDArray[np.float64]
    truths: Truths
    seen: Rates
    groups: tuple[str, ...]
    classes: Mapping[str, tuple[str | None, ...]]


def _looks(model: MERModel, one: ExampleSet) -> list[_Look]:
    """The set in its own modality; or in every combination, of the examples that have it."""
    vectors, present = _vectors(model, one)
    groups = one.speakers or tuple(f"{one.name} {row}" for row in range(len(one)))
    looks = []
    for given in (one.modality,) if one.modality in MODALITIES else COMBINATIONS:
        rows = [row for row, names in enumerate(present) if names >= set(given.split("+"))]
        if rows:
            classes = {
                name: tuple(labels[row] for row in rows) for name, labels in one.classes.items()
            }
            speakers = tuple(groups[row] for row in rows)
            truths = one.truths[rows]
            seen = with_neutral(truths)
            looks.append(
                _look(model, one.name, given, vectors[rows], truths, seen, speakers, classes)
            )
    return looks


def _put_together(model: MERModel, looks: Sequence[_Look]) -> list[_Look]:
    """Utterances of a face, a clip and a text: one expresses an emotion alone, or none, and of the
    others most the same, some nothing, and a few anything. People are taken to differ on them as
    they do on faces: nobody is so plain that all see the same.
    """
    rng = np.random.default_rng(0)
    neutral = rng.random(_TOGETHER_EXAMPLES) < _NEUTRAL_TOGETHER
    kinds = np.where(neutral, len(EMOTIONS), rng.integers(len(EMOTIONS), size=len(neutral)))
    wanted = np.eye(len(EMOTIONS) + 1, len(EMOTIONS), dtype=np.bool_)
    leading = rng.integers(len(MODALITIES), size=len(kinds))
    astray = (leading + rng.integers(1, len(MODALITIES), size=len(kinds))) % len(MODALITIES)
    astray[rng.random(len(kinds)) >= _WRONG_TOGETHER] = -1
    parts: list[Tensor] = []
    speakers: tuple[str, ...] = ()
    for place, name in enumerate(MODALITIES):
        plain = (leading != place) & (rng.random(len(kinds)) < _PLAIN_TOGETHER)
        shown = np.where(plain, len(EMOTIONS), kinds)
        sets = [look for look in looks if look.given == name]
        truths = np.concatenate([look.truths for look in sets])
        alone = [np.flatnonzero((truths == kind).all(axis=1)) for kind in wanted]
        alone.append(np.arange(len(truths)))
        shown[astray == place] = len(alone) - 1
        chosen = [int(rng.choice(alone[kind])) for kind in shown]
        parts.append(torch.cat([look.vectors for look in sets])[chosen])
        if name == "acoustic":  # there are fewest of them: the same clip comes again and again
            groups = [group for look in sets for group in look.groups]
            speakers = tuple(groups[row] for row in chosen)
    vectors = torch.stack(parts).sum(dim=0)
    return [
        _look(model, TOGETHER, given, vectors, wanted[kinds], PEOPLE_SEE[kinds], speakers, {})
        for given in COMBINATIONS
    ]


def _look(
    model: MERModel,
    name: str,
    given: str,
    vectors: Tensor,
    truths: Truths,
    seen: Rates,
    groups: tuple[str, ...],
    classes: Mapping[str, tuple[str | None, ...]],
) -> _Look:
    kept = vectors.new_tensor([modality in given.split("+") for modality in MODALITIES])
    vectors = vectors * kept[:, None]
    logits = model.fuse(vectors).cpu().double().numpy()
    return _Look(name, given, vectors, logits, truths, seen, groups, classes)


def _vectors(model: MERModel, one: ExampleSet) -> tuple[Tensor, list[set[str]]]:
    """What `MERModel.embed` returns of every example, and which modalities that has."""
    parts, present = [], []
    for first in range(0, len(one), _BATCH):
        examples = []
        for item in one.items[first : first + _BATCH]:
            given = {one.modality: item} if one.modality in MODALITIES else item
            faces = given.get("visual")
            if isinstance(faces, np.ndarray):
                faces = [grey_to_rgb(faces)]
            examples.append(model.prepare(faces, given.get("acoustic"), given.get("textual")))
        parts.append(model.embed(examples))
        present += [set(example) for example in examples]
    return torch.cat(parts), present


def _fit_calibration(looks: Sequence[_Look]) -> dict[str, tuple[float, float]]:
    """Output to the calibration that fits all these sets as one."""
    logits, seen = _as_one(looks)
    return {
        output: fit_calibration(logits[:, column], seen[:, column])
        for column, output in enumerate(OUTPUTS)
    }


def _best_thresholds(looks: Sequence[_Look], calibration: Calibration | None) -> dict[str, float]:
    """Emotion to the threshold on all these sets as one.

    It is the one with the best F1; but where more than `_FALSE_ALARMS` of the ordinary talk that
    expresses nothing were then taken to express something, all six are raised alike until no more
    is. F1 alone, on sets where most examples express something, makes a model that cries wolf.
    """
    among = FINE_THRESHOLDS if looks[0].name == TOGETHER else THRESHOLDS
    found = [_six_probabilities(look, calibration) for look in looks]
    truths = np.concatenate([look.truths for look in looks])
    pairs = zip(np.concatenate(found).T, truths.T, strict=True)
    best = np.array([best_threshold(*pair, among) for pair in pairs])
    neutral = [~look.truths.any(axis=1) for look in looks]
    talk = [
        probabilities[rows]
        for probabilities, rows in zip(found, neutral, strict=True)
        if rows.mean() >= _ORDINARY
    ]
    for raised in (0.0, *among):
        chosen = np.minimum(best + raised, among[-1]).round(2)
        if not talk or (np.concatenate(talk) > chosen).any(axis=1).mean() <= _FALSE_ALARMS:
            break
    return dict(zip(EMOTIONS, chosen.tolist(), strict=True))


def _resting(looks: Sequence[_Look], calibration: Calibration | None) -> dict[str, float]:
    """Emotion to the median probability of what expresses nothing, on all these sets as one.

    Of all examples, where each expresses something.
    """
    probabilities = np.concatenate([_six_probabilities(look, calibration) for look in looks])
    neutral = ~np.concatenate([look.truths for look in looks]).any(axis=1)
    medians = np.median(probabilities[neutral] if neutral.any() else probabilities, axis=0)
    return dict(zip(EMOTIONS, medians.round(4).tolist(), strict=True))


def _judge_look(
    model: MERModel,
    look: _Look,
    thresholds: Mapping[str, float],
    calibration: Calibration | None,
) -> SetReport:
    found = _six_probabilities(look, calibration)
    above = found - np.array([thresholds[emotion] for emotion in EMOTIONS])
    yes: Truths = above > 0
    neutral = ~look.truths.any(axis=1)
    answers = np.where(yes.any(axis=1), np.array(EMOTIONS)[above.argmax(axis=1)], "neutral")
    classifiers = model.classify(look.vectors)
    classifications = []
    for labelling, labels in look.classes.items():
        if labelling in classifiers:
            shares = torch.softmax(classifiers[labelling].double(), dim=1).cpu().numpy()
            classifications.append(
                _by_classifier(labelling, model.classes[labelling], shares, labels)
            )
        classifications.append(_by_six_outputs(labelling, answers, labels))
    return SetReport(
        name=look.name,
        given=look.given,
        examples=len(look.truths),
        emotions={
            emotion: score(yes[:, column], look.truths[:, column])
            for column, emotion in enumerate(EMOTIONS)
            if look.truths[:, column].any() and not look.truths[:, column].all()
        },
        false_alarms=float(yes[neutral].any(axis=1).mean()) if neutral.any() else None,
        cocksure=float(((found < 0.005) | (found >= 0.995)).mean()),
        classifications=tuple(classifications),
    )


def _by_classifier(
    labelling: str, names: Sequence[str], shares: Probabilities, labels: Sequence[str | None]
) -> Classification:
    """How well a classifier with these classes finds a set's labels."""
    answers = np.array(names)[shares.argmax(axis=1)]
    labelled = np.array([label is not None for label in labels])
    six = shares[labelled][:, [names.index(emotion) for emotion in EMOTIONS]]
    mean_f1, _ = mean_figures(six, _six(labels)[labelled])
    return _classification(labelling, "classifier", labels, answers, mean_f1)


def _by_six_outputs(
    labelling: str, answers: npt.NDArray[np.str_], labels: Sequence[str | None]
) -> Classification:
    labelled = np.array([label is not None for label in labels])
    yes, truths = _six(answers.tolist())[labelled], _six(labels)[labelled]
    scores = [f1(*pair) for pair in zip(yes.T, truths.T, strict=True) if pair[1].any()]
    return _classification(labelling, "six outputs", labels, answers, float(np.mean(scores)))


def _six(labels: Sequence[str | None]) -> Truths:
    """Which of the six each label is: bool (n, 6)."""
    return np.array([[label == emotion for emotion in EMOTIONS] for label in labels])


def _classification(
    labelling: str,
    by: str,
    labels: Sequence[str | None],
    answers: npt.NDArray[np.str_],
    mean_f1: float,
) -> Classification:
    classes = FACE_CLASSES.get(labelling, SEVEN)
    counts = Counter(zip(labels, answers.tolist(), strict=True))
    confusion = tuple(tuple(counts[true, answer] for answer in classes) for true in classes)
    return Classification(labelling, by, classes, confusion, mean_f1)


def _trust(given: str, looks: Sequence[_Look], calibration: Calibration | None) -> Trust:
    logits, seen = _as_one(looks)
    truths = with_neutral(np.concatenate([look.truths for look in looks]))
    probabilities = np.concatenate([_probabilities(look, calibration) for look in looks])
    parts = folds([group for look in looks for group in look.groups], _FOLDS)
    several = bool(parts.any())  # else nobody is left to fit a calibration on
    before, after, curves = {}, {}, {}
    for column, output in enumerate(OUTPUTS):
        logit, rate = logits[:, column], seen[:, column]
        before[output] = reliability(calibrated(logit, (1, 0)), rate)
        if calibration and several:
            after[output] = reliability(_calibrated_by_others(logit, rate, parts), rate)
        curves[output] = _curve(probabilities[:, column], truths[:, column])
    names = tuple(look.name for look in looks)
    return Trust(given, names, before, after or None, curves)


def _calibrated_by_others(
    logit: Logits, truth: Rates, parts: npt.NDArray[np.int64]
) -> Probabilities:
    """Probabilities float64 (n,), of each part by a calibration fitted on the other parts."""
    probability = np.empty_like(logit)
    for part in range(_FOLDS):
        here = parts == part
        probability[here] = calibrated(logit[here], fit_calibration(logit[~here], truth[~here]))
    return probability


def _curve(probability: Probabilities, truth: Truths) -> tuple[tuple[float, float, float], ...]:
    """(threshold, precision, recall) at each hundredth where something is claimed and true."""
    curve = []
    for hundredth in range(1, 100):
        if both := precision_and_recall(probability > hundredth / 100, truth):
            curve.append((hundredth / 100, *both))
    return tuple(curve)


def _probabilities(look: _Look, calibration: Calibration | None) -> Probabilities:
    """float64 (n, 7), as the model with this calibration gives them."""
    if calibration is None:
        return calibrated(look.logits, (1, 0))
    pairs = [calibration[look.given][output] for output in OUTPUTS]
    return np.stack(
        [calibrated(logit, pair) for logit, pair in zip(look.logits.T, pairs, strict=True)], axis=1
    )


def _six_probabilities(look: _Look, calibration: Calibration | None) -> Probabilities:
    """float64 (n, 6): without that of neutral."""
    return _probabilities(look, calibration)[:, : len(EMOTIONS)]


def _as_one(looks: Sequence[_Look]) -> tuple[npt.NDArray[np.float64], Rates]:
    """Logits (n, 7) of all these sets, and to what part of people each output is true."""
    return (
        np.concatenate([look.logits for look in looks]),
        np.concatenate([look.seen for look in looks]),
    )
