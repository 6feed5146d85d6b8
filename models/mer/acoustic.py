"""The embedded acoustic backbone: the first layers of Whisper's encoder, a transformer that has
heard 680,000 hours of speech.

In: 16 kHz mono samples. Out: one embedding for every 0.02 s, as a sequence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias

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
MEL_BANDS = 80
FRAME = 160
"""Samples between two frames of the spectrogram: 10 ms."""

_FFT = 400  # 25 ms
_CHANNELS = 512
_HEADS = 8
_LEVEL = 0.05
"""Of the louder half of an utterance, -26 dB: how loud somebody is recorded is no emotion."""


class AcousticBackbone(nn.Module):
    """The first layers of the encoder of Whisper-base (Radford et al. 2022,
    https://arxiv.org/abs/2212.04356). They hear how something is said; the last ones, only what.

    An embedding is what all layers make of a moment, and how far each channel is from its mean
    over the utterance: so that the mean over time tells both mean and deviation, as statistics
    pooling does (Snyder et al. 2018, https://doi.org/10.1109/ICASSP.2018.8461375).

    Clips of unlike length share a batch: what lies behind a clip's end is kept at 0 before each
    convolution, attended to by nobody and left out of each mean, so a clip gives the same alone
    and in company. Nothing is padded to the 30 s that Whisper itself takes.

    Args:
        layers: how many, of the six.
    """

    max_samples = 10 * SAMPLE_RATE
    positions: Tensor

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(MEL_BANDS, _CHANNELS, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(_CHANNELS, _CHANNELS, kernel_size=3, stride=2, padding=1)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                _CHANNELS,
                _HEADS,
                4 * _CHANNELS,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(layers)
        )
        self.width = 2 * _CHANNELS * layers
        longest = self.max_samples // (2 * FRAME)
        self.register_buffer("positions", _positions(longest), persistent=False)
        # Whisper's channels are of very unlike size: see `standardise`.
        self.register_buffer("centre", torch.zeros(self.width))
        self.register_buffer("spread", torch.ones(self.width))

    @property
    def architecture(self) -> dict[str, Any]:
        """What it is rebuilt from."""
        return {"network": "whisper-base", "layers": len(self.layers)}

    def standardise(self, means: Tensor) -> None:
        """Bring each channel to 0 +- 1, by float32 (clips, width), the means over time of what is
        `heard` in clips.
        """
        self.centre: Tensor = means.mean(dim=0)
        self.spread: Tensor = means.std(dim=0).clamp(min=1e-3)

    def prepare(self, audio: Samples) -> Tensor:
        """Log-mel spectrogram of up to 10 s, all utterances equally loud.

        Args:
            audio: float32 (n,), 16 kHz mono, n at least 1.

        Returns:
            float32 (80, frames), one frame every 10 ms.
        """
        return log_mel(torch.from_numpy(levelled(audio[: self.max_samples])))

    def forward(self, examples: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings of what `prepare` returned.

        Args:
            examples: one float32 (80, frames) an utterance.

        Returns:
            float32 (utterances, longest, width), and bool (utterances, longest), True where the
            utterance sounds; one step is two frames.
        """
        sequences, sounds = self.heard(examples)
        return (sequences - self.centre) / self.spread, sounds

    def heard(self, examples: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What `forward` returns, but not standardised; 0 where the utterance is over."""
        x = pad_sequence([example.T for example in examples], batch_first=True).transpose(1, 2)
        ends = [example.shape[1] for example in examples]
        steps = torch.arange(x.shape[-1], device=x.device)
        sounds = steps < torch.tensor(ends, device=x.device)[:, None]
        x = F.gelu(self.conv1(x)) * sounds[:, None]
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        sounds = sounds[:, ::2]
        x = x + self.positions[: x.shape[1]]
        silent = ~sounds if min(ends) < max(ends) else None  # without it, attention is faster
        outputs = []
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=silent)
            outputs.append(x)
        there = sounds[..., None]
        x = torch.cat(outputs, dim=2) * there
        mean = x.sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True)
        return torch.cat([x, (x - mean).abs() * there], dim=2), sounds


def levelled(audio: Samples) -> Samples:
    """The utterance at one loudness, by the louder half of its 25 ms windows: float32 (n,)."""
    windows = np.pad(audio, (0, -len(audio) % _FFT)).reshape(-1, _FFT)
    powers = np.sort(np.square(windows).mean(axis=1))
    loudness = float(np.sqrt(powers[len(powers) // 2 :].mean()))
    return np.ascontiguousarray(audio * np.float32(_LEVEL / max(loudness, 1e-6)))


def log_mel(audio: Tensor) -> Tensor:
    """Whisper's front end: float32 (n,) at 16 kHz to float32 (80, frames).

    25 ms windows every 10 ms, power in 80 mel bands of 0 to 8 kHz (Slaney's), its logarithm to
    base 10, at least 8 below the loudest, then (x + 4) / 4.
    """
    # Reflection at the borders needs more samples than it mirrors.
    audio = F.pad(audio, (0, max(0, _FFT - len(audio))))
    window, banks = _analysis()
    spectrum = torch.stft(audio, _FFT, FRAME, window=window, return_complex=True)[:, :-1]
    power = spectrum.real.square() + spectrum.imag.square()
    levels = (banks @ power).clamp(min=1e-10).log10()
    return (torch.maximum(levels, levels.max() - 8) + 4) / 4


@cache
def _analysis() -> tuple[Tensor, Tensor]:
    """The analysis window float32 (400,) and the mel filters float32 (80, 201)."""
    banks = torchaudio.functional.melscale_fbanks(
        _FFT // 2 + 1, 0.0, SAMPLE_RATE / 2, MEL_BANDS, SAMPLE_RATE, "slaney", "slaney"
    )
    return torch.hann_window(_FFT), banks.T.contiguous()


def _positions(count: int) -> Tensor:
    """Where each embedding stands, as sines and cosines: float32 (count, channels)."""
    rates = torch.exp(torch.arange(_CHANNELS // 2) * (-math.log(10_000) / (_CHANNELS // 2 - 1)))
    angles = torch.arange(count)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
