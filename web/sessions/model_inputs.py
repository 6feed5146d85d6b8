"""What the model was given for an utterance, as it is shown and kept.

In: an analysed utterance. Out: its faces as JPEG, its waveform, its sound as a WAV file.
"""

from __future__ import annotations

import wave
from io import BytesIO

import numpy as np
import PIL.Image

from realtime.analysis import Analysis, Utterance
from realtime.media import SAMPLE_RATE, Image, Samples
from realtime.storage.values import UtteranceInputs

WAVEFORM_POINTS = 240

_FACE_QUALITY = 85


def inputs_of(utterance: Utterance, analysis: Analysis) -> UtteranceInputs:
    """The inputs of an analysed utterance, small enough to keep."""
    return UtteranceInputs(
        faces=tuple((face.time, jpeg(face.image, _FACE_QUALITY)) for face in analysis.faces),
        waveform=waveform(utterance.samples),
        duration=utterance.stop_s - utterance.start_s,
        frame=analysis.faces[0].frame if analysis.faces else None,
    )


def jpeg(image: Image, quality: int) -> bytes:
    """`image`, uint8 (height, width, 3) RGB, as JPEG of a `quality` from 1 to 95."""
    data = BytesIO()
    PIL.Image.fromarray(image).save(data, "JPEG", quality=quality)
    return data.getvalue()


def waveform(samples: Samples) -> tuple[tuple[float, float], ...]:
    """Lowest and highest of each of `WAVEFORM_POINTS` parts; fewer if there are fewer samples."""
    parts = np.array_split(samples, min(WAVEFORM_POINTS, max(1, len(samples))))
    return tuple(
        (round(float(part.min()), 4), round(float(part.max()), 4)) for part in parts if len(part)
    )


def wav(samples: Samples) -> bytes:
    """`samples`, 16 kHz mono, as a WAV file of 16 bits; nothing if there are none."""
    if not len(samples):
        return b""
    data = BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return data.getvalue()
