"""How loud sound has to be for the networks: quiet speech is brought up, before each of them.

In: the peak of some sound, 1 for full scale. Out: a gain. And what sound is without hum; and which
parts of an utterance are loud, and not a pause. Pure.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

TARGET_PEAK = 0.05
"""Peak, -26 dBFS, up to which quiet sound is brought; ordinary speech is above it. So 3.7 s of the
550 s of animals, rain and engines in ESC-10 are taken for speech, as without any gain; with a
target of -20 dBFS, 4.4 s."""

MOST_GAIN = 10.0
"""The greatest gain, 20 dB. A constant one of 30 dB had five times as much of ESC-10 taken for
speech; white and pink noise never were, from -60 to -10 dBFS."""


def _high_pass(cutoff_hz: float, taps: int) -> npt.NDArray[np.float32]:
    """What a Butterworth filter of the fourth order, as two biquads
    (https://www.w3.org/TR/audio-eq-cookbook/), makes of an impulse at 16 kHz.
    """
    answer = np.zeros(taps + 2)
    answer[2] = 1
    angle = 2 * np.pi * cutoff_hz / 16_000
    for quality in (0.5412, 1.3066):
        slope, turn = np.sin(angle) / (2 * quality), np.cos(angle)
        given, answer = answer, np.zeros(taps + 2)
        for n in range(2, taps + 2):
            rise = (1 + turn) / 2 * (given[n] - 2 * given[n - 1] + given[n - 2])
            answer[n] = (rise + 2 * turn * answer[n - 1] - (1 - slope) * answer[n - 2]) / (
                1 + slope
            )
    return answer[2:].astype(np.float32)


HIGH_PASS = _high_pass(100.0, 512)
"""An impulse without what is below 100 Hz: hum of the mains, rumble, an offset of the sound card,
and hardly anything of a voice. Float32 (512,); what would follow is below 0.0001."""


def without_hum(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Sound without what is below 100 Hz, if that is louder than the rest; else as it is.

    Args:
        samples: float32 (n,), 16 kHz mono.
    """
    if not len(samples):
        return samples
    size = 1 << (len(samples) + len(HIGH_PASS) - 1).bit_length()
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(HIGH_PASS, size)
    high = np.fft.irfft(spectrum, size)[: len(samples)].astype(np.float32)
    return high if np.abs(samples - high).max() > np.abs(high).max() else samples


def gain(peak: float) -> float:
    """By how much sound is multiplied.

    Sound above full scale, as of a file whose samples were written in another unit, is brought down
    to it.

    Args:
        peak: the greatest magnitude of its samples, at least 0; 1 is full scale.

    Returns:
        A factor above 0, at most `MOST_GAIN`.
    """
    if peak > 1.0:
        return 1.0 / peak
    return min(MOST_GAIN, max(1.0, TARGET_PEAK / max(peak, 1e-9)))


FRAME_S = 0.02
"""Of the frames that are loud or not."""

_FRAME = 320  # samples
_LOUD_DB = 20.0  # below the loudest: quieter is a pause


def loud_frames(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    """Which frames of `FRAME_S` of an utterance are no pause: their indices.

    Args:
        samples: float32 (n,), 16 kHz mono.
    """
    if not len(samples):
        return np.zeros(0, np.intp)
    frames = np.zeros((-(-len(samples) // _FRAME), _FRAME), np.float32)
    frames.ravel()[: len(samples)] = samples
    level_db = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-12)
    return np.flatnonzero(level_db > np.percentile(level_db, 95) - _LOUD_DB)
