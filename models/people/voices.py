"""Whose voice it is: one vector a piece of speech, near to those of the same voice.

In: speech, 16 kHz. Out: a vector of length 1; the dot product of two is their similarity.

The network is the speaker encoder of Wan et al. 2018 (https://arxiv.org/abs/1710.10467), trained on
the generalised end-to-end loss.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.registry import resolve

WIDTH = 256
"""Of the vectors."""

SAMPLE_RATE = 16_000
"""Hz."""

_LEVEL_DB = -30.0  # that quieter sound is brought up to, as in training
_WINDOW, _STEP, _FILTERS = SAMPLE_RATE // 40, SAMPLE_RATE // 100, 40
_FRAMES = 160  # that the network listens to at a time: 1.6 s
_MOST = 3  # windows, spread over what is longer


class VoiceEncoder:
    """The network with its weights; read only, so any number of threads may share it."""

    def __init__(self) -> None:
        from safetensors.torch import load_file

        self._network = nn.ModuleDict(
            {
                "lstm": nn.LSTM(_FILTERS, WIDTH, num_layers=3, batch_first=True),
                "linear": nn.Linear(WIDTH, WIDTH),
            }
        )
        self._network.load_state_dict(load_file(resolve("voice-encoder")))
        self._network.eval()

    def embed(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The voice of a piece of speech.

        Args:
            samples: float32 (n,), 16 kHz mono, of one person.

        Returns:
            float32 (256,), of length 1.
        """
        windows = mel_windows(samples)
        with torch.inference_mode():
            _, (hidden, _) = self._network["lstm"](torch.from_numpy(windows))
            vectors = torch.relu(self._network["linear"](hidden[-1]))
            vectors = nn.functional.normalize(vectors, dim=1)
            return nn.functional.normalize(vectors.mean(dim=0), dim=0).numpy()


def mel_windows(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mel energies of windows of 1.6 s, float32 (windows, 160, 40); of long speech several."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    level_db = 10 * np.log10(max(power, 1e-12))
    if level_db < _LEVEL_DB:
        samples = samples * np.float32(10 ** ((_LEVEL_DB - level_db) / 20))
    padded = np.pad(samples, _WINDOW // 2)
    short = max(0, (_FRAMES - 1) * _STEP + _WINDOW - len(padded))
    padded = np.pad(padded, (0, short))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_STEP]
    spectrum = np.fft.rfft(frames * np.hanning(_WINDOW + 1)[:-1].astype(np.float32))
    mels = (np.abs(spectrum) ** 2 @ _filterbank()).astype(np.float32)
    room = len(mels) - _FRAMES
    count = min(_MOST, 1 + room // _FRAMES)
    starts = [round((index + 0.5) / count * room) for index in range(count)]
    return np.stack([mels[start : start + _FRAMES] for start in starts])


@cache
def _filterbank() -> npt.NDArray[np.float64]:
    """Slaney's triangles, float64 (bins, filters)."""
    from torchaudio.functional import melscale_fbanks

    bank = melscale_fbanks(
        _WINDOW // 2 + 1,
        0,
        SAMPLE_RATE / 2,
        _FILTERS,
        SAMPLE_RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    return np.asarray(bank, np.float64)
