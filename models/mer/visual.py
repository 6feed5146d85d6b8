"""The embedded visual backbone: a residual network of 18 layers that has seen faces alone.

In: face crops, RGB. Out: one embedding of 256 a face, as a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

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

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: RGB to grey, as the training faces were made

_STAGES = ((32, 1), (64, 2), (128, 2), (256, 2))
"""Channels of a stage, and the stride of its first block."""


class VisualBackbone(nn.Module):
    """ResNet-18 (He et al. 2016, https://arxiv.org/abs/1512.03385) with half the channels, for
    small pictures: the first convolution sees three pixels a side and skips none.
    """

    width = 256
    max_faces = 5
    architecture = "resnet18-half"
    """What it is rebuilt from."""

    def __init__(self) -> None:
        super().__init__()
        channels = _STAGES[0][0]
        self.stem = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        blocks: list[nn.Module] = []
        for out, stride in _STAGES:
            blocks += [_Residual(channels, out, stride), _Residual(out, out, 1)]
            channels = out
        self.blocks = nn.Sequential(*blocks)
        # Convolutions run faster with the channels innermost.
        nn.Module.to(self, memory_format=torch.channels_last)  # type: ignore[call-overload]

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
            examples: one float32 (faces, 1, S, S) an utterance; S is 48, or less where training
                cuts a part out.

        Returns:
            float32 (utterances, longest, 256), padded with 0, and bool (utterances, longest),
            True where there is a face.
        """
        counts = [len(example) for example in examples]
        x = torch.cat(list(examples))
        # Each face at mean 0 and deviation 1: exposure says nothing about emotion.
        deviation, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
        x = ((x - mean) / (deviation + 1e-3)).contiguous(memory_format=torch.channels_last)
        x = self.blocks(self.stem(x)).mean(dim=(2, 3))
        mask = [torch.ones(count, dtype=torch.bool, device=x.device) for count in counts]
        return (
            pad_sequence(list(x.split(counts)), batch_first=True),
            pad_sequence(mask, batch_first=True),
        )


class _Residual(nn.Module):
    """Two convolutions, added to what came in."""

    folds = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.shortcut(x))


def _grey(face: Image) -> Tensor:
    """float32 (1, 48, 48) in [0, 255] of one RGB crop of any size."""
    rgb = torch.from_numpy(np.ascontiguousarray(face)).permute(2, 0, 1).float()
    grey = (rgb * torch.tensor(_LUMA).view(3, 1, 1)).sum(dim=0, keepdim=True)
    return F.interpolate(
        grey[None], (DETAIL, DETAIL), mode="bilinear", align_corners=False, antialias=True
    )[0]
