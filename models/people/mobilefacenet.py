"""MobileFaceNet, a face-recognition network of one million weights (Chen et al. 2018,
https://arxiv.org/abs/1804.07573), with the module names of its public state dict.

In: faces. Out: one vector a face.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 128
"""Of the vectors."""

SIDE = 112
"""Pixels a side of the faces."""

_EMBEDDED = 512
_MAP = 7
"""Places a side of the map that the global convolution weighs."""

_STAGES = (  # expansion, channels, blocks, stride of the first block
    (2, 64, 5, 2),
    (4, 128, 1, 2),
    (2, 128, 6, 1),
    (4, 128, 1, 2),
    (2, 128, 2, 1),
)


class MobileFaceNet(nn.Module):
    """The network as it was trained, on MS-Celeb-1M."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _conv_norm_relu(3, 64, kernel=3, stride=2)
        self.dw_conv = _SeparableConv(64)
        blocks: list[nn.Module] = []
        channels = 64
        for expansion, out, count, stride in _STAGES:
            for index in range(count):
                blocks.append(_Bottleneck(channels, out, expansion, stride if index == 0 else 1))
                channels = out
        self.features = nn.Sequential(*blocks)
        self.conv2 = _conv_norm_relu(channels, _EMBEDDED, kernel=1)
        self.gdconv = _GlobalConv(_EMBEDDED)
        self.conv3 = nn.Conv2d(_EMBEDDED, WIDTH, 1)
        self.bn = nn.BatchNorm1d(WIDTH)
        # Depthwise convolutions run up to twice as fast with the channels innermost.
        nn.Module.to(self, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 (faces, 3, 112, 112) to (faces, 128), each of length 1."""
        x = pixels.contiguous(memory_format=torch.channels_last)
        x = self.gdconv(self.conv2(self.features(self.dw_conv(self.conv1(x)))))
        vectors: Tensor = self.bn(self.conv3(x).flatten(1))
        return F.normalize(vectors, dim=1)


def _conv_norm_relu(
    channels: int, out: int, *, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU6(inplace=True),
    )


class _SeparableConv(nn.Module):
    """Depthwise 3x3, then pointwise, each normalised and rectified."""

    folds = (("depthwise", "bn1"), ("pointwise", "bn2"))

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.depthwise(x)))
        return F.relu(self.bn2(self.pointwise(x)))


class _Bottleneck(nn.Module):
    """The inverted residual block of MobileNetV2, linear at its end."""

    def __init__(self, channels: int, out: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.residual = stride == 1 and channels == out
        self.conv = nn.Sequential(
            _conv_norm_relu(channels, hidden, kernel=1),
            _conv_norm_relu(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


class _GlobalConv(nn.Module):
    """A depthwise convolution as large as the map: a learned weight for every place in a face."""

    folds = (("depthwise", "bn"),)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, _MAP, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.depthwise(x))
        return y
