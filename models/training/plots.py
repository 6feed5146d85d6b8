"""The curves of a training as a picture.

In: what the stages of a training came to. Out: a PNG file. Matplotlib is imported when it draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.errors import UsageError
from models.training.loop import Result

_COLUMN, _ROW = 4.5, 3.0  # inches


def draw_curves(stages: Mapping[str, Result], path: Path) -> None:
    """Draw loss and figures over the epochs, one column a stage; a line marks the weights kept.

    Raises:
        UsageError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            "the curves need Matplotlib: pip install matplotlib, then train again "
            "with --resume, which only draws what is trained already"
        ) from error
    figure = Figure(figsize=(_COLUMN * len(stages), 2 * _ROW), layout="constrained")
    axes = figure.subplots(2, len(stages), squeeze=False, sharex="col")
    for (name, result), (above, below) in zip(stages.items(), axes.T, strict=True):
        steps = len(result.losses) // len(result.epochs)
        over = np.arange(1, len(result.losses) + 1) / steps
        ends = range(1, len(result.epochs) + 1)
        above.plot(over, result.losses, color="0.8", linewidth=0.5, label="each step")
        middles = [end - 0.5 for end in ends]
        means = [epoch.loss for epoch in result.epochs]
        above.plot(middles, means, marker=".", label="mean of each epoch")
        above.set(title=name, ylabel="loss", ylim=(0, None))
        for figure_name in result.epochs[0].figures:
            values = [epoch.figures[figure_name] for epoch in result.epochs]
            below.plot(ends, values, marker=".", label=figure_name)
        below.set(xlabel="epochs", ylabel="on validation")
        below.xaxis.get_major_locator().set_params(integer=True)
        for each in (above, below):
            each.axvline(result.best + 1, color="0.4", linestyle=":", label="kept")
            each.legend()
            each.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
