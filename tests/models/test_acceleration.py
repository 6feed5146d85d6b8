"""Networks made quick: the same results, by fewer and other kernels."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from checkout import REPO
from torch import nn

from models.acceleration import accelerate, accelerate_pooling
from models.mer import MERModel


@pytest.fixture(scope="module")
def plain() -> MERModel:
    return MERModel.load("embedded")


@pytest.mark.slow
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


def test_no_normalisation_is_left_after_a_convolution(plain: MERModel) -> None:
    quick = copy.deepcopy(plain)
    accelerate(quick)

    def normalisations(model: MERModel) -> int:
        return sum(isinstance(part, nn.BatchNorm2d) for part in model.modules())

    assert normalisations(plain) == 20
    assert normalisations(quick) == 0
    assert not any(isinstance(part, nn.BatchNorm2d) for part in quick.backbones["visual"].modules())


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


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (3, 1)])
def test_pooling_gives_the_same_digits(size: int, stride: int, ceil_mode: bool) -> None:
    torch.manual_seed(0)
    pool = nn.Sequential(nn.MaxPool2d(size, stride, ceil_mode=ceil_mode))
    quick = copy.deepcopy(pool)
    accelerate_pooling(quick)
    assert type(quick[0]) is not nn.MaxPool2d
    for height in range(3, 12):
        picture = torch.randn(2, 3, height, height + 3)
        assert torch.equal(quick(picture), pool(picture))


def test_calls_share_the_cores() -> None:
    code = (
        "import sys, numpy, torch; from threadpoolctl import threadpool_info;"
        "from models.acceleration import share_cores; share_cores();"
        "blas = [pool['num_threads'] for pool in threadpool_info() if pool['user_api'] == 'blas'];"
        "assert blas and set(blas) == {1}, blas;"
        "assert torch.get_num_threads() == 1; assert sys.getswitchinterval() < 0.001"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPO)
