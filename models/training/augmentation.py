"""The training examples made a little different every time they are seen.

In: one raw example and a random generator. Out: another that expresses the same.
"""

from __future__ import annotations

import re

import cv2
import numpy as np
import numpy.typing as npt

from models.mer.acoustic import SAMPLE_RATE, Samples
from models.mer.visual import Image

_SIDE = 96
"""Pixels a side of an augmented face: between the 48 it comes from and the 160 of a live crop."""

_SILENCE = 0.02  # of the peak: below it a clip's beginning and end are not yet speech
_NO_WORD = re.compile(r"[^\w\s'\u2019]")


def grey_to_rgb(face: npt.NDArray[np.uint8]) -> Image:
    """A grey face uint8 (height, width) as the RGB picture that `MERModel` takes."""
    return np.repeat(face[:, :, None], 3, axis=2)


def augment_face(face: npt.NDArray[np.uint8], rng: np.random.Generator) -> Image:
    """Mirror, turn, scale, shift, blur, and change the light of a grey face uint8 (48, 48)."""
    side = face.shape[0]
    zoom = _SIDE / side
    turn = cv2.getRotationMatrix2D(
        ((side - 1) / 2, (side - 1) / 2), rng.uniform(-12, 12), zoom * rng.uniform(0.85, 1.15)
    )
    turn[:, 2] += (_SIDE - side) / 2 + rng.uniform(-0.08, 0.08, 2) * _SIDE
    picture = cv2.warpAffine(
        face[:, ::-1] if rng.random() < 0.5 else face,
        turn,
        (_SIDE, _SIDE),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 2.5))
    light = picture.astype(np.float32) / 255
    light = np.clip(light, 0, 1) ** rng.uniform(0.7, 1.4)  # gamma
    light += np.linspace(-1, 1, _SIDE, dtype=np.float32) * rng.uniform(-0.15, 0.15)  # side light
    light += rng.standard_normal(light.shape, dtype=np.float32) * rng.uniform(0, 0.03)
    return grey_to_rgb((np.clip(light, 0, 1) * 255).round().astype(np.uint8))


def augment_sound(clip: Samples, rng: np.random.Generator, *, longest_s: float) -> Samples:
    """Cut a piece of at most `longest_s`, and change loudness, tone and noise.

    Args:
        clip: float32 (n,), 16 kHz mono.
        rng: decides everything.
        longest_s: seconds; longer speech is cut at a random place.
    """
    # Leave more or less of the silence around the words: recordings have it, live speech not.
    loud = np.flatnonzero(np.abs(clip) > _SILENCE * np.abs(clip).max())
    first, last = (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(clip))
    start = int(rng.integers(0, first + 1))
    stop = int(rng.integers(last, len(clip) + 1))
    longest = int(longest_s * SAMPLE_RATE)
    if stop - start > longest:
        start += int(rng.integers(0, stop - start - longest + 1))
        stop = start + longest
    piece = clip[start:stop].astype(np.float64)
    # Another microphone: a smooth random curve over frequency, +- 6 dB.
    spectrum = np.fft.rfft(piece)
    knots = rng.uniform(-6, 6, 6)
    curve_db = np.interp(np.linspace(0, 5, len(spectrum)), np.arange(6), knots)
    piece = np.fft.irfft(spectrum * 10 ** (curve_db / 20), len(piece))
    piece *= 10 ** (rng.uniform(-15, 15) / 20)
    if rng.random() < 0.5:
        snr_db = rng.uniform(8, 40)
        power = np.sqrt(np.mean(piece**2)) * 10 ** (-snr_db / 20)
        piece += rng.standard_normal(len(piece)) * power
    return np.clip(piece, -1, 1).astype(np.float32)


def augment_text(text: str, rng: np.random.Generator) -> str:
    """Lose some words, and sometimes all punctuation, as a speech recogniser does."""
    if rng.random() < 0.3:
        text = " ".join(_NO_WORD.sub(" ", text).split()) or text
    words = text.split()
    if len(words) > 3:
        rate = rng.uniform(0, 0.15)
        words = [word for word in words if rng.random() >= rate] or words
    return " ".join(words)
