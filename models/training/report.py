"""What is known about how good a model is: figures, and their tables in Markdown and JSON.

In: figures that `models.training.evaluation` has measured. Out: text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from models.emotions import COMBINATIONS, EMOTIONS, OUTPUTS
from models.mer.checkpoint import Calibration
from models.training.metrics import Bin, Score, calibration_error

TOGETHER = "put together"
"""The name of the set whose utterances have a face, a clip and a text of different people."""

_SINGLE, _PAIRS, _ALL = COMBINATIONS[:3], COMBINATIONS[3:6], COMBINATIONS[6]


@dataclass(frozen=True, slots=True)
class Classification:
    """How the single labels of a set are found.

    Attributes:
        labelling: whose labels they are; one set may have several.
        by: what gives the answer. ``classifier``: the model's own for this labelling.
            ``six outputs``: the emotion furthest above its threshold, neutral when none is above.
        classes: all the labels there are.
        confusion: for each class, in order, how many of its examples got which answer.
        f1: mean F1 of the emotions that occur, each against all the rest; of a classifier at the
            probability that is best for each, as everywhere where nothing forces a single answer.
    """

    labelling: str
    by: str
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    f1: float

    @property
    def examples(self) -> int:
        """How many have a label."""
        return sum(map(sum, self.confusion))

    @property
    def accuracy(self) -> float:
        """Part of the examples whose label is found."""
        return sum(row[n] for n, row in enumerate(self.confusion)) / self.examples


@dataclass(frozen=True, slots=True)
class SetReport:
    """How one set is recognised, with the checkpoint's thresholds.

    Attributes:
        name: of the set.
        given: what the model was given of it, one of `COMBINATIONS`.
        examples: how many.
        emotions: emotion to its score; only emotions that the set has.
        false_alarms: part of the examples without any emotion of which one is claimed; None when
            the set has no such example.
        cocksure: part of the six probabilities of all examples that print as 0.00 or 1.00.
        classifications: of the single labels, where it has any.
    """

    name: str
    given: str
    examples: int
    emotions: dict[str, Score]
    false_alarms: float | None
    cocksure: float
    classifications: tuple[Classification, ...] = ()

    @property
    def f1(self) -> float | None:
        """Mean over the emotions the set has; None where it has none."""
        return self._mean("f1")

    @property
    def wacc(self) -> float | None:
        """Mean over the emotions the set has; None where it has none."""
        return self._mean("wacc")

    @property
    def guess_f1(self) -> float | None:
        """Mean over the emotions of the F1 that always saying yes would get; None as above."""
        return self._mean("guess_f1")

    def _mean(self, figure: str) -> float | None:
        values = [getattr(score, figure) for score in self.emotions.values()]
        return float(np.mean(values)) if values else None


@dataclass(frozen=True, slots=True)
class Trust:
    """What the probabilities of one combination of modalities are worth.

    Attributes:
        given: the combination.
        sets: what it was measured on.
        before: emotion to its bins, of probabilities that are the bare sigmoid.
        after: the same with a calibration fitted on other examples, four fifths of them at a time;
            None for a model without calibration, or where all examples are of one speaker.
        curves: emotion to (threshold, precision, recall), a hundredth apart, as far as there is a
            yes; of the probabilities that the model gives.
    """

    given: str
    sets: tuple[str, ...]
    before: dict[str, tuple[Bin, ...]]
    after: dict[str, tuple[Bin, ...]] | None
    curves: dict[str, tuple[tuple[float, float, float], ...]]


@dataclass(frozen=True, slots=True)
class Goal:
    """Something the model is to reach: a figure ``at least`` or ``at most`` as large as `bound`."""

    name: str
    bound: float
    measured: float
    sign: Literal["at least", "at most"] = "at least"

    @property
    def met(self) -> bool:
        """Whether it does."""
        if self.sign == "at least":
            return self.measured >= self.bound
        return self.measured <= self.bound


_GOALS: tuple[tuple[str, str, str, str, float], ...] = (
    ("voice, ordinary speech: false alarms", "ordinary speech", "acoustic", "false_alarms", 0.1),
    ("voice, RAVDESS: mean F1", "RAVDESS", "acoustic", "f1", 0.78),
    ("voice, RAVDESS: mean WAcc", "RAVDESS", "acoustic", "wacc", 0.87),
    ("voice, Emo-DB: mean F1", "Emo-DB", "acoustic", "f1", 0.85),
    ("voice, Emo-DB: mean WAcc", "Emo-DB", "acoustic", "wacc", 0.92),
    ("words, GoEmotions: mean F1", "GoEmotions", "textual", "f1", 0.64),
    ("words, GoEmotions: false alarms", "GoEmotions", "textual", "false_alarms", 0.25),
    ("words, DailyDialog: mean F1", "DailyDialog", "textual", "f1", 0.5),
    ("words, DailyDialog: false alarms", "DailyDialog", "textual", "false_alarms", 0.15),
    ("words, MELD: mean F1", "MELD", "textual", "f1", 0.45),
    ("words, XED: mean F1", "XED", "textual", "f1", 0.45),
)
"""What is to be reached: its name, set, what is given, and the bound of which figure."""


@dataclass(frozen=True, slots=True)
class Report:
    """How a checkpoint does on every validation set. `str` of it is tables in Markdown.

    Attributes:
        thresholds: combination of modalities to emotion to threshold.
        resting: likewise, the median probability of what expresses nothing.
        calibration: as `MERModel` takes it.
        sets: one row each.
        trust: one for each combination.
    """

    thresholds: dict[str, dict[str, float]]
    resting: dict[str, dict[str, float]]
    calibration: Calibration | None
    sets: tuple[SetReport, ...]
    trust: tuple[Trust, ...]

    def __str__(self) -> str:
        return "\n\n".join(
            (
                self._means(),
                "F1 / WAcc of each emotion:",
                self._emotions(),
                "Single labels:",
                self._labels(),
                "Goals:",
                self._goals(),
                "Thresholds, by what is given:",
                self._thresholds(),
                "Expected calibration error in percent, before > after:",
                self._errors(),
            )
        )

    @property
    def means(self) -> dict[str, tuple[float, float]]:
        """Set and what was given of it, to mean F1 and mean WAcc, where it has emotions."""
        return {
            f"{one.name}, {one.given}": (one.f1, one.wacc)
            for one in self.sets
            if one.f1 is not None and one.wacc is not None
        }

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The goals whose sets are there."""
        named = {(one.name, one.given): one for one in self.sets}
        goals = []
        for name, of, given, figure, bound in _GOALS:
            one = named.get((of, given))
            measured = getattr(one, figure) if one else None
            if measured is not None:
                sign: Literal["at least", "at most"]
                sign = "at most" if figure == "false_alarms" else "at least"
                goals.append(Goal(name, bound, measured, sign))
        if one := named.get(("FER+", "visual")):
            # The classifier stands before the six outputs, where there is one.
            answers = {each.labelling: each for each in reversed(one.classifications)}
            if label := answers.get("FER2013"):
                goals.append(Goal("face, FER2013, 7 classes: accuracy", 0.71, label.accuracy))
                goals.append(Goal("face, FER2013: mean F1 of the six", 0.67, label.f1))
            if label := answers.get("FER+"):
                goals.append(Goal("face, FER+, 8 classes: accuracy", 0.87, label.accuracy))
        if (TOGETHER, _ALL) in named:
            f1 = {given: named[TOGETHER, given].f1 or 0.0 for given in COMBINATIONS}
            single = max(f1[name] for name in _SINGLE)
            goals.append(Goal("all three less the best single: mean F1", 0.05, f1[_ALL] - single))
            lost = min(f1[pair] - max(f1[name] for name in pair.split("+")) for pair in _PAIRS)
            goals.append(Goal("one missing less the best of the two: mean F1", -0.01, lost))
        return tuple(goals)

    def to_json(self) -> str:
        """Every figure, as a JSON object."""
        sets = []
        for one in self.sets:
            labels = [{**asdict(each), "accuracy": each.accuracy} for each in one.classifications]
            means = {"f1": one.f1, "wacc": one.wacc, "guess_f1": one.guess_f1}
            sets.append({**asdict(one), **means, "classifications": labels})
        return json.dumps(
            {
                "goals": [{**asdict(one), "met": one.met} for one in self.goals],
                "sets": sets,
                "thresholds": self.thresholds,
                "resting": self.resting,
                "calibration": self.calibration,
                "calibration_error": {
                    one.given: {output: self._error(one, output) for output in OUTPUTS}
                    for one in self.trust
                },
                "trust": [asdict(one) for one in self.trust],
            }
        )

    def _means(self) -> str:
        rows = [
            [
                *_start(one),
                *(_figure(value) for value in (one.f1, one.guess_f1, one.wacc)),
                "-" if one.false_alarms is None else f"{one.false_alarms:.1%}",
                f"{one.cocksure:.1%}",
            ]
            for one in self.sets
        ]
        return _table(
            [*_START, "F1", "F1 of a guess", "WAcc", "false alarms", "0.00 or 1.00"], rows
        )

    def _emotions(self) -> str:
        rows = []
        for one in self.sets:
            scores = [one.emotions.get(emotion) for emotion in EMOTIONS]
            cells = [f"{score.f1:.3f} / {score.wacc:.3f}" if score else "-" for score in scores]
            rows.append([*_start(one), *cells])
        return _table([*_START, *EMOTIONS], rows)

    def _labels(self) -> str:
        rows = [
            [
                each.labelling,
                str(len(each.classes)),
                each.by,
                str(each.examples),
                f"{each.accuracy:.1%}",
                f"{each.f1:.3f}",
            ]
            for one in self.sets
            for each in one.classifications
        ]
        return _table(["labels", "classes", "by", "examples", "accuracy", "F1 of the six"], rows)

    def _goals(self) -> str:
        rows = [
            [
                one.name,
                f"{one.sign} {one.bound:.3f}",
                f"{one.measured:.3f}",
                "yes" if one.met else "no",
            ]
            for one in self.goals
        ]
        return _table(["goal", "is", "measured", "met"], rows)

    def _thresholds(self) -> str:
        rows = [
            [given, *(f"> {row[emotion]:.2f}" for emotion in EMOTIONS)]
            for given, row in self.thresholds.items()
        ]
        return _table(["given", *EMOTIONS], rows)

    def _errors(self) -> str:
        rows = []
        for one in self.trust:
            errors = [self._error(one, output) for output in OUTPUTS]
            cells = [" > ".join(f"{100 * value:.1f}" for value in pair) for pair in errors]
            rows.append([one.given, ", ".join(one.sets), *cells])
        return _table(["given", "measured on", *OUTPUTS], rows)

    @staticmethod
    def _error(one: Trust, output: str) -> list[float]:
        """Expected calibration error before and, where there is a calibration, after."""
        return [calibration_error(bins[output]) for bins in (one.before, one.after) if bins]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


_START = ("set", "given", "examples")


def _start(one: SetReport) -> tuple[str, str, str]:
    return one.name, one.given, str(one.examples)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table with straight columns."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    lines = [names, ["-" * width for width in widths], *rows]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in lines
    )
