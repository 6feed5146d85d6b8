"""The embedded visual backbone: MobileFaceNet, a face-recognition network of one million weights.

In: face crops, RGB. Out: one embedding of 512 a face, as a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

Image: TypeAlias = npt.NDArray[np.uint8]
"""uint8 (height, width, 3), RGB."""

DETAIL = 48
"""Pixels a side that a face is reduced to first: the resolution of the training faces. A webcam
crop is sharper than anything seen in training; reduced, the two look alike."""

_MAP = 7
"""Places a side of the map that the global convolution weighs."""

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: RGB to grey, as the training faces were made

_STAGES = (  # expansion, channels, blocks, stride of the first block
    (2, 64, 5, 2),
    (4, 128, 1, 2),
    (2, 128, 6, 1),
    (4, 128, 1, 2),
    (2, 128, 2, 1),
)


class VisualBackbone(nn.Module):
    """MobileFaceNet (Chen et al. 2018, https://arxiv.org/abs/1804.07573) up to its global
    depthwise convolution, with the module names of the public state dict it starts from.

    Args:
        side: pixels a side of the network's input. It was pre-trained at 112; where the map that
            comes out is smaller than then, it is enlarged to what the global convolution weighs.
    """

    width = 512
    max_faces = 5

    def __init__(self, side: int = 112) -> None:
        super().__init__()
        self.side = side
        self.conv1 = _conv_norm_relu(3, 64, kernel=3, stride=2)
        self.dw_conv = _SeparableConv(64)
        blocks: list[nn.Module] = []
        channels = 64
        for expansion, out, count, stride in _STAGES:
            for index in range(count):
                blocks.append(_Bottleneck(channels, out, expansion, stride if index == 0 else 1))
                channels = out
        self.features = nn.Sequential(*blocks)
        self.conv2 = _conv_norm_relu(channels, self.width, kernel=1)
        self.gdconv = _GlobalConv(self.width)
        # Depthwise convolutions run up to twice as fast with the channels innermost.
        nn.Module.to(self, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def architecture(self) -> dict[str, Any]:
        """What it is rebuilt from."""
        return {"network": "mobilefacenet", "side": self.side}

    def prepare(self, faces: Sequence[Image]) -> Tensor:
        """Up to `max_faces` crops as one tensor.

        Args:
            faces: at least one uint8 (height, width, 3) RGB picture of a face, of any size.

        Returns:
            float32 (faces, 1, 48, 48), grey in [0, 255].
        """
        return torch.stack([_grey(face) for face in faces[: self.max_faces]])

    def forward(self, examples: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings of what `prepare` returned.

        Args:
            examples: one float32 (faces, 1, S, S) an utterance; S is 48, or what the caller has
                enlarged the faces to already.

        Returns:
            float32 (utterances, longest, 512), padded with 0, and bool (utterances, longest),
            True where there is a face.
        """
        counts = [len(example) for example in examples]
        x = torch.cat(list(examples))
        if x.shape[-1] == DETAIL:
            x = F.interpolate(x, (self.side, self.side), mode="bilinear", align_corners=False)
        # Each face at mean 0 and deviation 1: exposure says nothing about emotion.
        deviation, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
        x = ((x - mean) / (deviation + 1e-3)).expand(-1, 3, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.conv2(self.features(self.dw_conv(self.conv1(x))))
        if x.shape[-1] != _MAP:
            x = F.interpolate(x, (_MAP, _MAP), mode="bilinear", align_corners=False)
        x = self.gdconv(x).flatten(1)
        mask = [torch.ones(count, dtype=torch.bool, device=x.device) for count in counts]
        return (
            pad_sequence(list(x.split(counts)), batch_first=True),
            pad_sequence(mask, batch_first=True),
        )


def _grey(face: Image) -> Tensor:
    """float32 (1, 48, 48) in [0, 255] of one RGB crop of any size."""
    rgb = torch.from_numpy(np.ascontiguousarray(face)).permute(2, 0, 1).float()
    grey = (rgb * torch.tensor(_LUMA).view(3, 1, 1)).sum(dim=0, keepdim=True)
    return F.interpolate(
        grey[None], (DETAIL, DETAIL), mode="bilinear", align_corners=False, antialias=True
    )[0]


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
