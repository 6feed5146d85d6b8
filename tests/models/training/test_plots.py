import sys

import cv2
import numpy as np
import pytest

from models.errors import UsageError
from models.training.loop import EpochRecord, Result
from models.training.plots import draw_curves

RESULT = Result(
    losses=(0.9, 0.8, 0.5, 0.4),
    epochs=(
        EpochRecord(0.85, 0.1, {"F1": 0.3, "WAcc": 0.6}),
        EpochRecord(0.45, 0.0, {"F1": 0.4, "WAcc": 0.5}),
    ),
    best=1,
)


@pytest.mark.slow
def test_every_stage_has_a_column_with_its_curves(tmp_path):
    widths = []
    for stages in ({"one": RESULT}, {"one": RESULT, "two": RESULT}):
        path = tmp_path / "new" / f"{len(stages)}.png"
        draw_curves(stages, path)
        picture = cv2.imread(str(path))
        widths.append(picture.shape[1])
        blue, orange = (
            [(np.abs(half.astype(int) - colour).max(axis=2) < 8).sum() for half in halves]
            for halves in [np.array_split(picture, 2)]
            for colour in ((180, 119, 31), (14, 127, 255))  # blue first
        )
        assert min(blue) > 100 * len(stages)  # the loss above, the first figure below
        assert orange[0] == 0
        assert orange[1] > 100 * len(stages)  # the second figure
    assert widths[1] == 2 * widths[0]


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"pip install matplotlib"):
        draw_curves({"one": RESULT}, tmp_path / "x.png")
