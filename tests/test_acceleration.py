"""Networks made quick: the same results, by fewer and other kernels."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from models.acceleration import accelerate
from models.mer import MERModel


@pytest.fixture(scope="module")
def plain() -> MERModel:
    return MERModel.load("embedded")


def test_the_model_scores_as_before(plain: MERModel) -> None:
    quick = copy.deepcopy(plain)
    accelerate(quick)
    drawn = np.random.default_rng(0)
    for faces in (1, 5):
        crops = [drawn.integers(0, 256, (160, 160, 3), dtype=np.uint8) for _ in range(faces)]
        sound = drawn.normal(0, 0.1, 32_000).astype(np.float32)
        one = plain.predict(crops, sound, "what a day")
        other = quick.predict(crops, sound, "what a day")
        assert other.probabilities == pytest.approx(one.probabilities, abs=1e-5)
        assert other.expressed == one.expressed


def test_no_normalisation_is_left_after_a_convolution_in_a_sequence(plain: MERModel) -> None:
    quick = copy.deepcopy(plain)
    accelerate(quick)

    def normalisations(model: MERModel) -> int:
        return sum(isinstance(part, nn.BatchNorm2d) for part in model.modules())

    assert normalisations(plain) > 50
    assert normalisations(quick) < normalisations(plain) / 10


@pytest.mark.parametrize("padding", [0, 1, "same"])
def test_any_convolution_gives_what_it_gave(padding: int | str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=padding, groups=2, bias=False), nn.BatchNorm2d(8), nn.ReLU()
    )
    network[1].running_mean = torch.randn(8)
    network.eval()
    picture = torch.randn(2, 4, 9, 7)
    with torch.inference_mode():
        before = network(picture)
        accelerate(network)
        torch.testing.assert_close(network(picture), before)
