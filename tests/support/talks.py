"""Recordings in which somebody speaks, made for a test: a portrait, over a synthetic voice.

In: sentences. Out: a file, and when each sentence is said in it. The portrait is scikit-image's
astronaut (Eileen Collins, by NASA, public domain); the voice is espeak-ng. Both may be published.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from checkout import require_or_skip

Sound = npt.NDArray[np.int16]
Picture = npt.NDArray[np.uint8]

FPS = 15  # more than the analysis takes
PAUSE_S = 1.0  # twice what closes an utterance
SENTENCES = (
    "I am so happy to see you.",
    "She reads a book every week.",
    "The meeting begins at ten in the morning.",
    "That is great, congratulations to all of you.",
    "I would like a cup of tea.",
    "I hate it, it makes me so angry.",
    "The children are playing in the garden.",
    "I am sorry, I am so sorry.",
    "He was late for the train again.",
    "Please open the door and come in.",
    "It is a very long way to go.",
    "Oh, my God, that is amazing.",
)
"""The embedded recogniser hears eleven of them or more as they are written, said by `WOMAN`."""

WOMAN, MAN = "en-us+f3", "en-us+m3"

_SPEECH_HZ = 22_050  # what espeak-ng speaks at
_PICTURE = _SPEECH_HZ // FPS  # samples while a picture is shown
_LEAD_S = 0.6  # before the first sentence
_QUIET = 300  # of 32768: what is less loud is no part of a sentence
_LOOK = {
    "libx264": {"preset": "superfast", "crf": "23"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=error"},
    "mpeg4": {"qscale": "3", "flags": "qscale"},
}


@dataclass(frozen=True)
class Sentence:
    """What is said, and from when to when, in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Talk:
    """A recording, what is said in it, how long it is in seconds, and its width and height."""

    path: Path
    sentences: tuple[Sentence, ...]
    duration: float
    size: tuple[int, int] = (0, 0)


def film(
    path: Path,
    texts: Sequence[str],
    *,
    voice: str = WOMAN,
    size: tuple[int, int] = (384, 288),
    mirrored: bool = False,
    codec: str = "libx264",
) -> Talk:
    """Film the moving portrait as it says the texts."""
    sound, sentences = _spoken(texts, voice, [PAUSE_S] * len(texts))

    def picture(time_s: float) -> Picture:
        seen = portrait(time_s, size)
        return np.ascontiguousarray(seen[:, ::-1]) if mirrored else seen

    return Talk(path, sentences, _write(path, sound, picture, codec), size)


def film_crowd(path: Path, seconds: float) -> Path:
    """Film three portraits side by side, who say nothing: there is a tone."""

    def picture(time_s: float) -> Picture:
        return np.hstack([portrait(time_s + n, (320, 240)) for n in range(3)])

    times = np.arange(round(seconds * _SPEECH_HZ)) / _SPEECH_HZ
    _write(path, (8000 * np.sin(2764 * times)).astype(np.int16), picture, "libx264")
    return path


def _write(path: Path, sound: Sound, picture: Callable[[float], Picture], codec: str) -> float:
    """Write a film of `sound`, with the picture at each time; its length in seconds."""
    count = len(sound) // _PICTURE
    height, width, _ = picture(0).shape
    with av.open(str(path), "w") as out:
        pictures: Any = out.add_stream(codec, FPS, options=_LOOK[codec])
        pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
        voices = out.add_stream("aac", _SPEECH_HZ, layout="mono")
        for number in range(count):
            out.mux(pictures.encode(av.VideoFrame.from_ndarray(picture(number / FPS))))
            out.mux(voices.encode(_frame(sound, number * _PICTURE, (number + 1) * _PICTURE)))
        out.mux([*voices.encode(None), *pictures.encode(None)])
    return count / FPS


def record(
    path: Path, texts: Sequence[str], *, voice: str = WOMAN, pauses_s: Sequence[float] = ()
) -> Talk:
    """Record the texts without a picture, in FLAC, with a pause of so many seconds after each."""
    sound, sentences = _spoken(texts, voice, pauses_s or [PAUSE_S] * len(texts))
    with av.open(str(path), "w", format="flac") as out:
        voices: Any = out.add_stream("flac", _SPEECH_HZ, layout="mono")
        out.mux([*voices.encode(_frame(sound, 0, len(sound))), *voices.encode(None)])
    return Talk(path, sentences, len(sound) / _SPEECH_HZ)


def portrait(time_s: float, size: tuple[int, int]) -> Picture:
    """The portrait as a camera would see it at that time: uint8 RGB (height, width, 3)."""
    part_size = round(288 * size[0] / size[1]), 288
    centre = 222 + 8 * np.sin(0.9 * time_s), 154 + 5 * np.sin(1.3 * time_s)
    part = cv2.getRectSubPix(_astronaut(), part_size, centre)
    return np.asarray(cv2.resize(part, size), np.uint8)


def _spoken(
    texts: Sequence[str], voice: str, pauses_s: Sequence[float]
) -> tuple[Sound, tuple[Sentence, ...]]:
    """The texts and the pauses after them, int16 (n,) at `_SPEECH_HZ`; and where each text is."""
    parts = [np.zeros(round(_LEAD_S * _SPEECH_HZ), np.int16)]
    sentences, at = [], len(parts[0])
    for text, pause_s in zip(texts, pauses_s, strict=True):
        said = _say(text, voice)
        sentences.append(Sentence(at / _SPEECH_HZ, (at + len(said)) / _SPEECH_HZ, text))
        parts += [said, np.zeros(round(pause_s * _SPEECH_HZ), np.int16)]
        at += len(said) + len(parts[-1])
    return np.concatenate(parts), tuple(sentences)


def _say(text: str, voice: str) -> Sound:
    """A text in a synthetic voice, without the silence around it: int16 (n,) at `_SPEECH_HZ`."""
    if shutil.which("espeak-ng") is None:
        require_or_skip("espeak-ng, the synthetic voice")
    command = ["espeak-ng", "--stdout", "-v", voice, "-s", "150", text]
    spoken = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(spoken)) as reader:
        samples = np.frombuffer(reader.readframes(reader.getnframes()), np.int16)
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > _QUIET)
    return samples[loud[0] : loud[-1] + 1]


def _frame(sound: Sound, start: int, stop: int) -> av.AudioFrame:
    """Samples [start, stop) of the sound."""
    frame = av.AudioFrame.from_ndarray(sound[start:stop].reshape(1, -1), "s16", "mono")
    frame.sample_rate, frame.time_base, frame.pts = _SPEECH_HZ, Fraction(1, _SPEECH_HZ), start
    return frame


@cache
def _astronaut() -> Picture:
    try:
        from skimage.data import astronaut
    except ImportError:
        require_or_skip("scikit-image, whose portrait is shown")
    pixels: Picture = astronaut()
    return pixels
