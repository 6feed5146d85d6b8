"""Networks made quick for inference on one core of a processor.

In: networks in evaluation mode. Out: the same, whose results are the same but for rounding.
"""

from __future__ import annotations

import math
import sys
from functools import reduce
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_SWITCH_S = 0.0005


def share_cores() -> None:
    """Let the threads of this process that call networks, and the others, work side by side.

    The networks are small: a second core brings one call little and, with decoders at work on the
    same cores, makes it wait for them (seen: 0.15 s became 3.8 s). And the digits do not depend on
    how many cores there are. NumPy's algebra is worse: its second thread waits for the next product
    by spinning, which took a stream 41 ms of each second.

    A network gives the interpreter up and asks for it again for every layer. With Python's 5 ms it
    would wait so long each time that another thread is in the midst of Python code.
    """
    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    sys.setswitchinterval(_SWITCH_S)


def accelerate(network: nn.Module) -> None:
    """Let a network on the CPU work as fast as it can; it cannot be trained or saved afterwards.

    Batch normalisation is folded, see `fold_norms`. And all convolutions are done by oneDNN: on
    one thread torch itself takes another way for those of 1x1 and small batches, which for five
    faces takes twice as long. For networks whose input always has one size: for each other size
    oneDNN keeps what it has prepared.
    """
    fold_norms(network)
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for part in network.modules():
        numbers = isinstance(getattr(part, "padding", None), tuple)  # and not "same" or "valid"
        if type(part) is nn.Conv2d and numbers and part.padding_mode == "zeros":
            part.__class__ = _OneDNNConv2d


def fold_norms(network: nn.Module) -> None:
    """Fold each batch normalisation that follows a convolution into it.

    That is, in a sequence, and in modules that name such pairs of theirs in `folds`.
    """
    for part in list(network.modules()):
        pairs = pairwise(part._modules) if isinstance(part, nn.Sequential) else ()
        for first, second in getattr(part, "folds", pairs):
            convolution, norm = part._modules[first], part._modules[second]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                part._modules[first] = fuse_conv_bn_eval(convolution, norm)
                part._modules[second] = nn.Identity()


def accelerate_pooling(network: nn.Module) -> None:
    """Let max pooling on the CPU be done by comparing slices.

    The results are the same; torch's own way takes 5 to 50 times as long over planes. For square
    windows without padding or gaps between them.
    """
    for part in network.modules():
        if type(part) is nn.MaxPool2d:
            part.__class__ = _SlicedMaxPool2d


class _SlicedMaxPool2d(nn.MaxPool2d):
    def forward(self, input: Tensor) -> Tensor:
        size, stride = cast(int, self.kernel_size), cast(int, self.stride)
        steps = [(side - size) / stride for side in input.shape[-2:]]
        rows, columns = (1 + (math.ceil if self.ceil_mode else math.floor)(n) for n in steps)
        # A last window that is not whole sees less.
        below, beside = ((n - 1) * stride + size for n in (rows, columns))
        missing = (0, max(0, beside - input.shape[-1]), 0, max(0, below - input.shape[-2]))
        x = F.pad(input, missing, value=-math.inf)
        x = reduce(
            torch.maximum, (x[..., n : n + below - size + 1 : stride, :] for n in range(size))
        )
        return reduce(
            torch.maximum, (x[..., n : n + beside - size + 1 : stride] for n in range(size))
        )


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
