"""The embedded acoustic backbone: a MobileNetV3 pre-trained as an audio tagger on AudioSet.

In: 16 kHz mono samples. Out: one embedding of 384 for every 0.32 s, as a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

Samples: TypeAlias = npt.NDArray[np.float32]
"""float32 (n,), 16 kHz mono, nominally in [-1, 1]."""

SAMPLE_RATE = 16_000
MEL_BANDS = 128

_NETWORK_RATE = 32_000  # Hz: the front end of the pre-trained network works at this rate
_FFT = 1024
_WINDOW = 800  # 25 ms
_HOP = 320  # 10 ms
_PRE_EMPHASIS = 0.97
_LOW_HZ, _HIGH_HZ = 0.0, 15_000.0

_BLOCKS = (  # kernel, expanded channels, out channels, squeeze width or 0, hard swish, stride
    (3, 8, 8, 0, False, 1),
    (3, 24, 16, 0, False, 2),
    (3, 32, 16, 0, False, 1),
    (5, 32, 16, 8, False, 2),
    (5, 48, 16, 16, False, 1),
    (5, 48, 16, 16, False, 1),
    (3, 96, 32, 0, True, 2),
    (3, 80, 32, 0, True, 1),
    (3, 72, 32, 0, True, 1),
    (3, 72, 32, 0, True, 1),
    (3, 192, 48, 48, True, 1),
    (3, 272, 48, 72, True, 1),
    (5, 272, 64, 72, True, 2),
    (5, 384, 64, 96, True, 1),
    (5, 384, 64, 96, True, 1),
)


class AcousticBackbone(nn.Module):
    """MobileNetV3 at width 0.4 without its classifier, as EfficientAT's ``mn04_as`` (Schmid et
    al. 2023, https://arxiv.org/abs/2211.04772), with the module names of its state dict.

    Clips of unlike length share a batch: what lies behind a clip's end is kept at 0 before each
    convolution and left out of each mean, so a clip gives the same alone and in company.
    """

    architecture = "mobilenet_v3"
    width = 384
    max_samples = 10 * SAMPLE_RATE

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_norm(1, 8, kernel=3, stride=2, activation=nn.Hardswish)]
        channels = 8
        for kernel, expanded, out, squeeze, swish, stride in _BLOCKS:
            layers.append(_Bottleneck(channels, expanded, out, kernel, stride, squeeze, swish))
            channels = out
        layers.append(_conv_norm(channels, self.width, kernel=1, activation=nn.Hardswish))
        self.features = nn.ModuleList(layers)
        # Depthwise convolutions run up to twice as fast with the channels innermost.
        nn.Module.to(self, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def prepare(self, audio: Samples) -> Tensor:
        """Log-mel spectrogram of up to 10 s.

        Args:
            audio: float32 (n,), 16 kHz mono, n at least 1.

        Returns:
            float32 (128, frames), one frame every 10 ms, about 0 +- 1.
        """
        return log_mel(torch.from_numpy(np.ascontiguousarray(audio[: self.max_samples])))

    def forward(self, examples: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings of what `prepare` returned.

        Args:
            examples: one float32 (128, frames) an utterance.

        Returns:
            float32 (utterances, longest, 384), and bool (utterances, longest), True where the
            utterance sounds; one step is 32 frames.
        """
        x = pad_sequence([example.T for example in examples], batch_first=True)
        x = x.transpose(1, 2).unsqueeze(1)
        ends = torch.tensor([example.shape[1] for example in examples], device=x.device)
        sounds = torch.arange(x.shape[-1], device=x.device) < ends.view(-1, 1, 1, 1)
        first, *blocks, last = self.features
        x, mask = first(x), sounds[..., ::2].to(x.dtype)
        for block in blocks:
            x, mask = block(x, mask)
        x = last(x).mean(dim=2).transpose(1, 2)
        return x, mask[:, 0, 0] > 0


def log_mel(audio: Tensor) -> Tensor:
    """The front end the network was trained with, for sound that arrives at 16 kHz.

    Brings float32 (n,) from 16 to 32 kHz, emphasises, takes 25 ms windows every 10 ms, power in
    128 mel bands of 0 to 15 kHz (Kaldi's), log(x + 1e-5), then (x + 4.5) / 5. Returns float32
    (128, frames).
    """
    audio = torchaudio.functional.resample(audio, SAMPLE_RATE, _NETWORK_RATE)
    audio = audio[1:] - _PRE_EMPHASIS * audio[:-1]
    # Reflection at the borders needs more samples than it mirrors.
    audio = F.pad(audio, (0, max(0, _FFT - len(audio))))
    window, banks = _analysis()
    spectrum = torch.stft(audio, _FFT, _HOP, _WINDOW, window, return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    return ((banks @ power + 1e-5).log() + 4.5) / 5


@cache
def _analysis() -> tuple[Tensor, Tensor]:
    """The analysis window float32 (800,) and the mel filters float32 (128, 513)."""
    banks, _ = torchaudio.compliance.kaldi.get_mel_banks(
        MEL_BANDS, _FFT, float(_NETWORK_RATE), _LOW_HZ, _HIGH_HZ, 100.0, -500.0, 1.0
    )
    return torch.hann_window(_WINDOW, periodic=False), F.pad(banks, (0, 1))


def _conv_norm(
    channels: int,
    out: int,
    *,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = None,
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=1e-3, momentum=0.01),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class _SqueezeExcite(nn.Module):
    """Weighs each channel by what the whole clip contains; the mean counts what sounds only."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.ModuleList([_Gate(channels, squeeze)])

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        (gate,) = self.conc_se_layers
        mean = (x * mask).sum(dim=(2, 3)) / (mask.sum(dim=(2, 3)) * x.shape[2])
        weight: Tensor = gate(mean)
        return x * weight[:, :, None, None]


class _Gate(nn.Module):
    """A weight in (0, 1) for each channel, from the channels' means."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, squeeze)
        self.fc2 = nn.Linear(squeeze, channels)

    def forward(self, mean: Tensor) -> Tensor:
        return torch.sigmoid(self.fc2(F.relu(self.fc1(mean))))


class _Bottleneck(nn.Module):
    """The inverted residual block of MobileNetV3, masked over time."""

    def __init__(
        self,
        channels: int,
        expanded: int,
        out: int,
        kernel: int,
        stride: int,
        squeeze: int,
        swish: bool,
    ) -> None:
        super().__init__()
        activation = nn.Hardswish if swish else nn.ReLU
        self.stride = stride
        self.residual = stride == 1 and channels == out
        layers: list[nn.Module] = []
        if expanded != channels:
            layers.append(_conv_norm(channels, expanded, kernel=1, activation=activation))
        self._depthwise = len(layers)
        layers.append(
            _conv_norm(
                expanded,
                expanded,
                kernel=kernel,
                stride=stride,
                groups=expanded,
                activation=activation,
            )
        )
        if squeeze:
            layers.append(_SqueezeExcite(expanded, squeeze))
        layers.append(_conv_norm(expanded, out, kernel=1))
        self.block = nn.ModuleList(layers)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """One block; `mask` is (clips, 1, 1, frames) before and after, 1 where a clip sounds."""
        y = x
        for index, layer in enumerate(self.block):
            if index == self._depthwise:
                y = layer(y * mask)
                mask = mask[..., :: self.stride]
            elif isinstance(layer, _SqueezeExcite):
                y = layer(y, mask)
            else:
                y = layer(y)
        return (x + y if self.residual else y), mask
