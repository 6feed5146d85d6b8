"""Networks made quick for inference on one core of a processor.

In: networks in evaluation mode. Out: the same, whose results are the same but for rounding.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def accelerate(network: nn.Module) -> None:
    """Let a network on the CPU work as fast as it can; it cannot be trained or saved afterwards.

    Each batch normalisation that follows a convolution in a sequence is folded into it. And all
    convolutions are done by oneDNN: on one thread torch itself takes another way for those of 1x1
    and small batches, which for five faces takes twice as long. For networks whose input always
    has one size: for each other size oneDNN keeps what it has prepared.
    """
    for part in list(network.modules()):
        if isinstance(part, nn.Sequential):
            for first, second in pairwise(part._modules):
                convolution, norm = part._modules[first], part._modules[second]
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    part._modules[first] = fuse_conv_bn_eval(convolution, norm)
                    part._modules[second] = nn.Identity()
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for part in network.modules():
        numbers = isinstance(getattr(part, "padding", None), tuple)  # and not "same" or "valid"
        if type(part) is nn.Conv2d and numbers and part.padding_mode == "zeros":
            part.__class__ = _OneDNNConv2d


class _OneDNNConv2d(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        convolve: Any = torch.mkldnn_convolution
        result: Tensor = convolve(
            input,
            self.weight,
            self.bias,
            self.padding,
            self.stride,
            self.dilation,
            self.groups,
        )
        return result
