"""A report as one picture: confusions, reliability, precision and recall.

In: a `Report`. Out: a PNG or another picture file. Importing this needs Matplotlib, so that who
lacks it is told before the long measurement, not after.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.emotions import COMBINATIONS, EMOTIONS, MODALITIES
from models.errors import UsageError
from models.training.metrics import BINS, Bin, calibration_error
from models.training.report import Classification, Report, Trust

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as missing:
    raise UsageError("a picture needs Matplotlib: pip install matplotlib") from missing

_COLUMN, _ROW = 4.2, 4.0  # inches
_SHOWN = (*MODALITIES, COMBINATIONS[-1])


def draw_report(report: Report, path: Path) -> None:
    """Draw how labels are confused, what a probability is worth, and what a threshold costs.

    Raises:
        UsageError: the path is no picture's, or cannot be written.
    """
    answers: dict[str, Classification] = {}
    for each in (each for one in report.sets for each in one.classifications):
        answers.setdefault(each.labelling, each)  # a classifier comes before the six outputs
    trust = [one for one in report.trust if one.given in _SHOWN]
    columns = max(len(answers), len(trust))
    figure = Figure(figsize=(_COLUMN * columns, 3 * _ROW), layout="constrained")
    above, middle, below = figure.subfigures(3, 1, squeeze=False)[:, 0]
    if answers:
        axes = above.subplots(1, len(answers), squeeze=False)[0]
        for place, classification in zip(axes, answers.values(), strict=True):
            _draw_confusion(place, classification)
    axes = middle.subplots(1, len(trust), squeeze=False)[0]
    for place, one in zip(axes, trust, strict=True):
        _draw_reliability(place, one)
    axes = below.subplots(1, len(trust), squeeze=False)[0]
    for place, one in zip(axes, trust, strict=True):
        _draw_curves(place, one, report.thresholds[one.given])
    lines, names = axes[0].get_legend_handles_labels()
    below.legend(lines, names, loc="outside right center", title="dot: threshold")
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be drawn: {error}") from error


def _draw_confusion(axes: Axes, one: Classification) -> None:
    """Each row what one class was taken for, in percent."""
    counts = np.array(one.confusion)
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    for row, column in np.ndindex(percent.shape):
        colour = "white" if percent[row, column] > 55 else "black"
        text = f"{percent[row, column]:.0f}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    places = range(len(one.classes))
    axes.set_xticks(places, one.classes, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(places, one.classes, fontsize=8)
    axes.set(xlabel="answer, percent of the row", ylabel="label")
    axes.set_title(f"{one.labelling} labels by {one.by}: {one.accuracy:.1%}", fontsize=10)


def _draw_reliability(axes: Axes, one: Trust) -> None:
    """How often what has a probability is true, of all six emotions in one."""
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    for name, bins, style in (("before", one.before, "o--"), ("after", one.after, "s-")):
        if bins is None:
            continue
        error = np.mean([calibration_error(row) for row in bins.values()])
        pooled = _pooled(bins)
        axes.plot(
            [each.probability for each in pooled],
            [each.rate for each in pooled],
            style,
            markersize=4,
            linewidth=1,
            label=f"{name}: error {error:.1%}",
        )
    axes.set(xlabel="probability", ylabel="part that is true", xlim=(0, 1), ylim=(0, 1))
    axes.set_title(f"reliability, {one.given}", fontsize=10)
    axes.legend(fontsize=8, loc="upper left")


def _pooled(bins: Mapping[str, tuple[Bin, ...]]) -> list[Bin]:
    """The bins of several emotions as those of one."""
    pooled = []
    for place in range(BINS):
        here = [
            one
            for row in bins.values()
            for one in row
            if place <= one.probability * BINS < place + 1
        ]
        if here:
            examples = sum(one.examples for one in here)
            probability = sum(one.examples * one.probability for one in here) / examples
            rate = sum(one.examples * one.rate for one in here) / examples
            pooled.append(Bin(examples, probability, rate))
    return pooled


def _draw_curves(axes: Axes, one: Trust, thresholds: Mapping[str, float]) -> None:
    """Precision over recall of each emotion; a dot where its threshold is."""
    for number, emotion in enumerate(EMOTIONS):
        points = np.array(one.curves[emotion]).reshape(-1, 3)
        colour = f"C{number}"
        axes.plot(points[:, 2], points[:, 1], color=colour, linewidth=1, label=emotion)
        chosen = points[np.isclose(points[:, 0], thresholds[emotion])]
        axes.plot(chosen[:, 2], chosen[:, 1], "o", color=colour)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(f"{one.given} on {', '.join(one.sets)}", fontsize=10)
