"""The training examples made a little different every time they are seen.

In: one raw example and a random generator. Out: another that expresses the same.
"""

from __future__ import annotations

import io
import re
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from models.clips import read_clip
from models.mer.acoustic import SAMPLE_RATE, Samples

_SILENCE = 0.02  # of the peak: below it a clip's beginning and end are not yet speech
_NO_WORD = re.compile(r"[^\w\s'\u2019]")


def augment_face(
    face: npt.NDArray[np.uint8], rng: np.random.Generator, *, side: int
) -> npt.NDArray[np.float32]:
    """Mirror, turn, scale, shift, blur, cover a part, and change the light.

    Args:
        face: grey uint8 (height, width), as high as wide.
        rng: decides everything.
        side: pixels a side of the result.

    Returns:
        float32 (side, side), grey, about 0 to 255.
    """
    was = face.shape[0]
    zoom = side / was
    picture: npt.NDArray[Any] = face
    if rng.random() < 0.15:  # a face far from the camera has fewer pixels
        small = int(rng.integers(was // 2, was))
        picture = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(picture, (was, was), interpolation=cv2.INTER_LINEAR)
    centre = ((was - 1) / 2, (was - 1) / 2)
    turn = cv2.getRotationMatrix2D(centre, rng.uniform(-15, 15), zoom * rng.uniform(0.85, 1.2))
    turn[:, 2] += (side - was) / 2 + rng.uniform(-0.08, 0.08, 2) * side
    turn[0, 1] += rng.uniform(-0.08, 0.08)  # shear
    picture = cv2.warpAffine(
        picture[:, ::-1] if rng.random() < 0.5 else picture,
        turn,
        (side, side),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float32)
    if rng.random() < 0.15:
        cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.2) * zoom, dst=picture)
    picture = 255 * (picture / 255) ** np.float32(rng.uniform(0.7, 1.4))  # gamma
    across = (1, side) if rng.random() < 0.5 else (side, 1)
    slope = np.linspace(-1, 1, side, dtype=np.float32).reshape(across)
    picture += slope * np.float32(rng.uniform(-30, 30))  # light from a side
    if rng.random() < 0.3:
        noise = rng.standard_normal((side, side), dtype=np.float32)
        picture += noise * np.float32(rng.uniform(0, 10))
    if rng.random() < 0.4:  # a hand, a microphone, the edge of the picture
        height, width = (rng.uniform(0.1, 0.35, 2) * side).astype(int)
        top, left = rng.integers(0, side - height), rng.integers(0, side - width)
        picture[top : top + height, left : left + width] = rng.uniform(0, 255)
    return picture


def augment_sound(clip: Samples, rng: np.random.Generator) -> Samples:
    """Another speed and pitch, another microphone, a room, noise, and a call's codec.

    Args:
        clip: float32 (n,), 16 kHz mono.
        rng: decides everything.
    """
    # Leave more or less of the silence around the words: recordings have it, live speech not.
    loud = np.flatnonzero(np.abs(clip) > _SILENCE * np.abs(clip).max())
    first, last = (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(clip))
    piece = clip[rng.integers(0, first + 1) : rng.integers(last, len(clip) + 1)].astype(np.float64)
    speed = rng.uniform(0.88, 1.12)
    piece = np.interp(np.arange(0, len(piece) - 1, speed), np.arange(len(piece)), piece)
    # Another microphone: a smooth random curve over frequency, +- 6 dB.
    spectrum = np.fft.rfft(piece)
    curve_db = np.interp(np.linspace(0, 5, len(spectrum)), np.arange(6), rng.uniform(-6, 6, 6))
    piece = np.fft.irfft(spectrum * 10 ** (curve_db / 20), len(piece))
    if rng.random() < 0.3:
        piece = _in_a_room(piece, rng)
    piece *= 10 ** (rng.uniform(-12, 12) / 20)
    if rng.random() < 0.5:
        power = np.sqrt(np.mean(piece**2)) * 10 ** (-rng.uniform(5, 40) / 20)
        piece += _noise(len(piece), rng) * power
    sound = np.clip(piece, -1, 1).astype(np.float32)
    if rng.random() < 0.2:
        sound = _through_opus(sound, bit_rate=int(rng.integers(8, 33)) * 1000)
    return sound


def _in_a_room(sound: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Far from the microphone: noise that dies away after the direct sound (Polack's model)."""
    reverberation_s = rng.uniform(0.15, 0.7)  # until it is 60 dB weaker
    times = np.arange(int(reverberation_s * SAMPLE_RATE)) / SAMPLE_RATE
    response = rng.standard_normal(len(times)) * 10 ** (-3 * times / reverberation_s)
    response *= 10 ** (-rng.uniform(0, 15) / 20) / np.sqrt((response**2).sum())
    response[0] = 1
    length = len(sound) + len(response) - 1
    spectrum = np.fft.rfft(sound, length) * np.fft.rfft(response, length)
    return np.fft.irfft(spectrum, length)[: len(sound)]


def _noise(length: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise of power 1 between white (hiss) and brown (traffic, fans): float64 (length,)."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** rng.uniform(0, 1)
    noise: npt.NDArray[np.float64] = np.fft.irfft(spectrum, length)
    noise /= np.sqrt(np.mean(noise**2) + 1e-12)
    return noise


def _through_opus(sound: Samples, *, bit_rate: int) -> Samples:
    """What the other end of a call hears of float32 (n,), 16 kHz: float32, about as long."""
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=SAMPLE_RATE, layout="mono")
        stream.bit_rate = bit_rate
        pcm = (sound * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        container.mux([*stream.encode(frame), *stream.encode(None)])
    file.seek(0)
    return read_clip(file)


def augment_text(text: str, rng: np.random.Generator) -> str:
    """Lose some words, and sometimes all punctuation, as a speech recogniser does."""
    if rng.random() < 0.3:
        text = " ".join(_NO_WORD.sub(" ", text).split()) or text
    words = text.split()
    if len(words) > 3 and rng.random() < 0.3:
        rate = rng.uniform(0, 0.2)
        words = [word for word in words if rng.random() >= rate] or words
    return " ".join(words)
