"""Who of those in view speaks: how well the movement of lips goes with the sound.

In: the lips of one face, 25 grey pictures a second, and the sound of the same time. Out: how much
better they go together than lips would go with the sound of another moment.

The network is LR-ASD (Liao et al. 2025, https://doi.org/10.1007/s11263-025-02399-9), trained on
AVA-ActiveSpeaker. Where the lips of several people move, it alone often takes the one who moves
them most; to compare with sound of another moment is how Chung and Zisserman find out whether film
and sound belong together (2016, https://doi.org/10.1007/978-3-319-54427-4_19).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.registry import resolve

RATE = 25
"""Pictures a second."""

SIDE = 80
"""Pixels a side of a picture. The network was trained on 112, of which these are the middle: it is
as often right on them, in half the time."""

SAMPLE_RATE = 16_000
"""Hz, of the sound."""

Lips: TypeAlias = npt.NDArray[np.uint8]
"""uint8 (pictures, 80, 80), grey, `RATE` a second."""

_TOGETHER = (0, 2, 4)
"""Sound is early by so many pictures where the network finds lips and sound to go together best: of
each of four talkers here, by about two."""

_APART = (-11, -6, 10, 15)
"""So far off, they do not go together."""

_SHARE = 0.6
"""So much of what is left apart is taken off. Of two talkers whose lips both move, the right one is
found in 85 of 100 pieces of 1 to 2 s (57 pieces of four talkers, each against all others); in 70 if
nothing is taken off, and in fewer than 80 if all of it is."""

_EPSILON = 0.001  # of its batch normalisation
_MEAN, _DEVIATION = 0.4161, 0.1688  # of the pictures it was trained on, white being 1

_WINDOW, _STEP, _FFT = SAMPLE_RATE // 40, SAMPLE_RATE // 100, 512  # samples
_FILTERS, _COEFFICIENTS, _LIFTER, _PREEMPHASIS = 26, 13, 22, 0.97


def lips_square(box: tuple[float, float, float, float]) -> tuple[float, float, float]:
    """The square around the lips that the network looks at.

    Args:
        box: x, y of the upper left corner, width, height of the face.

    Returns:
        x, y of its upper left corner, and its side.
    """
    x, y, width, height = box
    side = max(width, height) / 2
    return x + (width - side) / 2, y + height / 2 - 0.1 * side, side


class ActiveSpeakerDetector:
    """LR-ASD with its weights; read only, so any number of threads may share it.

    Convolutions go over space (of the sound: over its coefficients), then over time; each block has
    two of either. Both are done as convolutions over two dimensions, with batch normalisation
    folded in, which takes half the time of three dimensions.
    """

    def __init__(self) -> None:
        from safetensors.torch import load_file

        state = {name: value.float() for name, value in load_file(resolve("lr-asd")).items()}
        self._seen = [_block(state, f"model.visualEncoder.block{n}", "s") for n in (1, 2, 3)]
        self._heard = [_block(state, f"model.audioEncoder.block{n}", "m") for n in (1, 2, 3)]
        self._fusion = _folded(state, "model.fusion.attention", "model.fusion.bn")
        detector = "model.detector"
        self._before, self._after = (
            _gru(state, f"{detector}.gru_{way}") for way in ("forward", "backward")
        )
        self._attention = _folded(
            state, f"{detector}.attention.attention", f"{detector}.attention.bn"
        )
        self._last = state["lossAV.FC.weight"], state["lossAV.FC.bias"]

    def scores(self, lips: Lips, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """How well lips go with the sound, picture by picture.

        Args:
            lips: of one face, see `lips_square`.
            samples: float32 (n,), 16 kHz mono, in [-1, 1], of the same time.

        Returns:
            float32 (pictures,): log-odds that this face speaks; of as many pictures as there is
            sound for.
        """
        with torch.inference_mode():
            heard, seen = self._features(lips, samples)
            return np.asarray(self._compare(heard, seen, (0,))[0])

    def synchrony(self, lips: Lips, samples: npt.NDArray[np.float32]) -> float | None:
        """How well lips go with the sound, judged against the same lips with sound shifted in time.

        Args:
            lips, samples: see `scores`.

        Returns:
            Log-odds, of which less is left than of those of `scores`: of talkers here 0 to 3, of a
            face that keeps still -2.7. None if there is not one picture with sound.
        """
        with torch.inference_mode():
            heard, seen = self._features(lips, samples)
            if not seen.shape[1]:
                return None
            odds = self._compare(heard, seen, _TOGETHER + _APART).mean(dim=1)
            together, apart = odds[: len(_TOGETHER)], odds[len(_TOGETHER) :]
            return float(together.max() - _SHARE * apart.mean())

    def _features(self, lips: Lips, samples: npt.NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        """Of the sound and of the lips, (128, pictures) each, of as many as there is sound for."""
        coefficients = mfcc(samples)
        pictures = min(len(lips), len(coefficients) // 4)
        if not pictures:
            return torch.zeros(128, 0), torch.zeros(128, 0)
        film = torch.from_numpy(np.ascontiguousarray(lips[:pictures])).float()
        return self._listen(torch.from_numpy(coefficients[: 4 * pictures])), self._look(film)

    def _compare(self, heard: Tensor, seen: Tensor, early: tuple[int, ...]) -> Tensor:
        """Log-odds (shifts, pictures) that what is seen goes with what is heard, where the sound is
        early by so many pictures; what leaves at one end comes in at the other."""
        if not seen.shape[1]:
            return torch.zeros(len(early), 0)
        sounds = torch.stack([heard.roll(pictures, dims=1) for pictures in early])
        both = torch.cat((sounds, seen.expand_as(sounds)), dim=1)
        both = both * torch.sigmoid(F.conv1d(both, *self._fusion))
        steps = both.permute(2, 0, 1)
        before, _ = self._before(steps)
        after, _ = self._after(steps.flip(0))
        around = torch.cat((before, after.flip(0)), dim=2).permute(1, 2, 0)
        around = around * torch.sigmoid(F.conv1d(around, *self._attention))
        silent, speaks = F.linear(around.transpose(1, 2), *self._last).unbind(dim=2)
        return speaks - silent

    def _look(self, film: Tensor) -> Tensor:
        """(pictures, side, side) to (128, pictures)."""
        x = ((film / 255 - _MEAN) / _DEVIATION)[:, None]
        for number, (space, time) in enumerate(self._seen):
            for layer, (weight, bias) in enumerate(space):
                stride = 2 if (number, layer) == (0, 0) else 1
                x = F.relu_(F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2))
            count, channels, height, width = x.shape
            # The places side by side, so that time is a dimension of its own.
            x = x.permute(0, 2, 3, 1).reshape(1, count, height * width, channels)
            x = x.permute(0, 3, 1, 2)
            for weight, bias in time:
                x = F.relu_(F.conv2d(x, weight, bias, padding=(weight.shape[-2] // 2, 0)))
            x = x.permute(0, 2, 3, 1).reshape(count, height, width, -1).permute(0, 3, 1, 2)
            if number < 2:
                x = F.max_pool2d(x, 3, 2, 1)
        return x.amax(dim=(2, 3)).T

    def _listen(self, sound: Tensor) -> Tensor:
        """(windows, 13) to (128, windows / 4)."""
        x = sound.T[None, None]
        for number, (coefficients, time) in enumerate(self._heard):
            for weight, bias in (*coefficients, *time):
                padding = weight.shape[-2] // 2, weight.shape[-1] // 2
                x = F.relu_(F.conv2d(x, weight, bias, padding=padding))
            if number < 2:
                x = F.max_pool2d(x, (1, 3), (1, 2), (0, 1))
        return x[0].mean(dim=1)


def mfcc(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mel-frequency cepstral coefficients as LR-ASD was trained on: those of HTK, unnormalised.

    Args:
        samples: float32 (n,), 16 kHz mono, in [-1, 1].

    Returns:
        float32 (windows, 13), 100 a second; the first of the 13 is the log energy of the window.
    """
    sound = samples.astype(np.float64) * 32_768  # it was trained on 16-bit numbers
    if not len(sound):
        return np.zeros((0, _COEFFICIENTS), np.float32)
    sound = np.append(sound[0], sound[1:] - _PREEMPHASIS * sound[:-1])
    count = 1 + max(0, -(-(len(sound) - _WINDOW) // _STEP))
    sound = np.pad(sound, (0, max(0, (count - 1) * _STEP + _WINDOW - len(sound))))
    windows = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_STEP][:count]
    power = np.abs(np.fft.rfft(windows, _FFT)) ** 2 / _FFT
    tiny = np.finfo(float).eps  # in place of what has no logarithm
    mels = np.log(np.maximum(power @ _FILTERBANK.T, tiny))
    cepstrum = mels @ _COSINES
    cepstrum[:, 0] = np.log(np.maximum(power.sum(axis=1), tiny))
    return np.asarray(cepstrum, np.float32)


def _filterbank() -> npt.NDArray[np.float64]:
    """Triangles of equal width on the mel scale, float64 (filters, bins)."""
    most = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, most, _FILTERS + 2) / 2595) - 1)
    bins = np.floor((_FFT + 1) * hertz / SAMPLE_RATE)
    place = np.arange(_FFT // 2 + 1)
    low, middle, high = bins[:-2, None], bins[1:-1, None], bins[2:, None]
    rising = (place - low) / np.maximum(middle - low, 1)
    falling = (high - place) / np.maximum(high - middle, 1)
    inside = (place >= low) & (place < high)
    return np.asarray(np.where(place < middle, rising, falling) * inside)


def _cosines() -> npt.NDArray[np.float64]:
    """The orthonormal cosine transform of type II, and the liftering that follows it, float64
    (filters, coefficients)."""
    order, place = np.arange(_COEFFICIENTS), np.arange(_FILTERS)[:, None]
    basis = np.sqrt(2 / _FILTERS) * np.cos(np.pi * order * (place + 0.5) / _FILTERS)
    return np.asarray(basis * (1 + _LIFTER / 2 * np.sin(np.pi * order / _LIFTER)))


_FILTERBANK, _COSINES = _filterbank(), _cosines()


_Layer: TypeAlias = tuple[Tensor, Tensor]
"""Weight and bias."""


def _block(
    state: dict[str, Tensor], name: str, kind: str
) -> tuple[tuple[_Layer, ...], tuple[_Layer, ...]]:
    """The convolutions over space, or over coefficients, and those over time."""
    across, along = (
        tuple(_folded(state, f"{name}.{way}_{n}", f"{name}.{way}_norm_{n}") for n in (1, 2))
        for way in (kind, "t")
    )
    return across, along


def _folded(state: dict[str, Tensor], convolution: str, norm: str) -> _Layer:
    """A convolution and the batch normalisation that follows it, as one; over two dimensions where
    it was over three, of which one was 1 wide."""
    weight = state[f"{convolution}.weight"]
    if weight.ndim == 5:
        weight = weight.squeeze(2 if weight.shape[2] == 1 else 4)
    scale = state[f"{norm}.weight"] * torch.rsqrt(state[f"{norm}.running_var"] + _EPSILON)
    bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    weight = weight * scale.view(-1, *[1] * (weight.ndim - 1))
    if weight.ndim == 4:
        weight = weight.contiguous(memory_format=torch.channels_last)
    return weight, bias


def _gru(state: dict[str, Tensor], name: str) -> nn.GRU:
    gru = nn.GRU(256, 64)
    gru.load_state_dict(
        {key.removeprefix(f"{name}."): value for key, value in state.items() if name in key}
    )
    return gru.eval()
