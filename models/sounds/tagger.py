"""Which non-speech sounds are heard: laughter, crying, applause and others.

In: two seconds of sound. Out: how likely each kind is heard in them.

The network is a MobileNetV3 (Howard et al. 2019) at width 0.4, trained on AudioSet by Schmid et al.
2023, EfficientAT (https://arxiv.org/abs/2211.04772).
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torchaudio.compliance.kaldi import get_mel_banks
from torchvision.models.mobilenetv3 import InvertedResidual, InvertedResidualConfig
from torchvision.ops.misc import Conv2dNormActivation, SqueezeExcitation

from models.acceleration import fold_norms
from models.registry import resolve
from models.sounds.runs import KINDS, STEP_S, WINDOW_S, WINDOWS

_CLASSES = {
    "laughter": (6, 0.06),  # laughter, baby laughter, giggle, snicker, belly laugh, chuckle
    "crying": (4, 0.15),  # crying or sobbing, baby cry, whimper, wail or moan
    "sigh": (1, 0.5),
    "cough": (2, 0.5),  # cough, throat clearing
    "sneeze": (1, 0.4),
    "shout": (6, 0.1),  # shout, bellow, whoop, yell, battle cry, children shouting
    "scream": (1, 0.1),
    "applause": (2, 0.1),  # clapping, applause
    "cheering": (1, 0.1),
}
"""Of each kind, how many classes of AudioSet it is, which are the outputs of the network in this
order; and the probability of the likeliest at which it is taken to be heard: the lowest that, on
training parts, speech exceeds in at most two windows an hour, and other bursts and noises in at
most 2 of 100; but 0.1 where that would be lower, and there is no example of the kind."""

_SAMPLE_RATE = 16_000
_QUIET = 10 ** (-60 / 20)  # of full scale, root mean square: in less nothing is heard

_WIDTH = 0.4  # of the network, in that of MobileNetV3-Large
# Kernel, inputs, expanded, outputs, squeeze-and-excitation, activation, stride; of each block.
_BLOCKS = (
    (3, 16, 16, 16, False, "RE", 1),
    (3, 16, 64, 24, False, "RE", 2),
    (3, 24, 72, 24, False, "RE", 1),
    (5, 24, 72, 40, True, "RE", 2),
    (5, 40, 120, 40, True, "RE", 1),
    (5, 40, 120, 40, True, "RE", 1),
    (3, 40, 240, 80, False, "HS", 2),
    (3, 80, 200, 80, False, "HS", 1),
    (3, 80, 184, 80, False, "HS", 1),
    (3, 80, 184, 80, False, "HS", 1),
    (3, 80, 480, 112, True, "HS", 1),
    (3, 112, 672, 112, True, "HS", 1),
    (5, 112, 672, 160, True, "HS", 2),
    (5, 160, 960, 160, True, "HS", 1),
    (5, 160, 960, 160, True, "HS", 1),
)
_LAST, _HEAD = 6 * 64, 512  # channels of the last convolution, and of the layer after it

_MELS = 128
_FFT, _WINDOW, _STEP = 512, 400, 160  # samples: half of what the network learnt with at 32 kHz
_PREEMPHASIS = 0.97  # that it learnt with, at 32 kHz
_HIGHEST_HZ = 15_000.0  # of the mel bands


class SoundTagger:
    """The network with its weights; read only, so any number of threads may share it."""

    def __init__(self) -> None:
        from safetensors.torch import load_file

        state = {name: value.float() for name, value in load_file(resolve("sound-tagger")).items()}
        network = SoundNetwork(sum(count for count, _ in _CLASSES.values()))
        network.load_state_dict(state)
        network.eval()
        fold_norms(network)
        self._network = network
        self._bank = _mel_bank()

    def hear(self, samples: npt.NDArray[np.float32]) -> list[dict[str, float]]:
        """How clearly each of `KINDS` is heard: 0 to 1, where 0.5 is as much as it takes.

        Args:
            samples: float32 (n,), 16 kHz mono, `PIECE_S` long.

        Returns:
            Of each of its `WINDOWS`, kind to a number rounded to four decimals; its odds are those
            that the network gives over those at which the kind is taken to be heard.
        """
        if float(np.sqrt(np.mean(np.square(samples)))) < _QUIET:
            return [dict.fromkeys(KINDS, 0.0)] * WINDOWS
        with torch.inference_mode():
            mels = log_mel(samples, self._bank)
            length, step = (round(s * _SAMPLE_RATE) // _STEP for s in (WINDOW_S, STEP_S))
            # 201 frames, as a window alone has. One less, and crying that was 0.03 becomes 0.19.
            windows = [mels[:, n * step : n * step + length + 1] for n in range(WINDOWS)]
            logits = self._network(torch.stack(windows)[:, None]).tolist()
        return [_clearness(each) for each in logits]


def _clearness(logits: list[float]) -> dict[str, float]:
    heard, first = {}, 0
    for kind, (count, even) in _CLASSES.items():
        odds = math.exp(max(logits[first : first + count])) * (1 - even) / even
        heard[kind] = round(odds / (1 + odds), 4)
        first += count
    return heard


class SoundNetwork(nn.Module):
    """MobileNetV3 for log-mel spectrograms.

    Args:
        outputs: how many.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
        squeeze = partial(SqueezeExcitation, scale_activation=nn.Sigmoid)
        blocks = [
            InvertedResidual(
                InvertedResidualConfig(i, k, e, o, se, act, stride, 1, _WIDTH),
                norm,
                squeeze,
            )
            for k, i, e, o, se, act, stride in _BLOCKS
        ]
        first = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.Hardswish)
        self.features = nn.Sequential(
            first(1, 8, kernel_size=3, stride=2), *blocks, first(64, _LAST, kernel_size=1)
        )
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(_LAST, _HEAD),
            nn.Hardswish(),
            nn.Dropout(0.0),
            nn.Linear(_HEAD, outputs),
        )

    def forward(self, mels: Tensor) -> Tensor:
        """float32 (n, 1, 128, frames) to log-odds, float32 (n, outputs)."""
        logits: Tensor = self.classifier(self.features(mels))
        return logits


def log_mel(samples: npt.NDArray[np.float32], bank: Tensor) -> Tensor:
    """Log-mel spectrogram as the network learnt to read it, float32 (128, frames).

    It learnt from sound of 32 kHz. Here the bands above 8 kHz are empty, as they would be if the
    sound were brought to 32 kHz first, which would take twice as long.

    Args:
        samples: float32 (n,), 16 kHz mono.
        bank: see `_mel_bank`.
    """
    window = torch.hann_window(_WINDOW, periodic=False)
    spectrum = torch.stft(
        torch.from_numpy(samples), _FFT, _STEP, _WINDOW, window=window, return_complex=True
    )
    power = spectrum.real.square() + spectrum.imag.square()
    mels: Tensor = (torch.log(bank @ power + 1e-5) + 4.5) / 5
    return mels


def _mel_bank() -> Tensor:
    """Weights that take the power of 16 kHz to mel bands, pre-emphasis included, float32 (128,
    257)."""
    rate = 2.0 * _SAMPLE_RATE  # that it learnt with
    bank, _ = get_mel_banks(_MELS, 2 * _FFT, rate, 0.0, _HIGHEST_HZ, 100.0, -500.0, 1.0)
    angles = torch.arange(_FFT // 2 + 1) * (np.pi / _FFT)
    emphasis = 1 + _PREEMPHASIS**2 - 2 * _PREEMPHASIS * torch.cos(angles)
    # There are twice as many samples at 32 kHz, so four times the power.
    weights: Tensor = 4 * emphasis * bank[:, : _FFT // 2 + 1]
    return weights
