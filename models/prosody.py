"""How an utterance was said: pitch, loudness, pauses and pace.

In: the samples of an utterance, and its words. Out: measures of the voice, which
need no training. They tell how somebody speaks, not what they feel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.levels import FRAME_S, loud_frames

if TYPE_CHECKING:
    from swift_f0 import SwiftF0

_SAMPLE_RATE = 16_000
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 700.0  # of voices, a child's cry included
_VOICED = 0.5  # the detector's own bound
_LEAST_VOICED = 7  # of its frames, 112 ms: in less there is no pitch worth telling
_BLOCK_S = 0.4  # the shortest sound that has a loudness (ITU-R BS.1770-4)
_PAUSE_S = 0.25
"""Shorter gaps are parts of words (Goldman-Eisler, Psycholinguistics, 1968)."""
_LEAST_SPOKEN_S = 0.3  # in less there is no pace worth telling


@dataclass(frozen=True, slots=True)
class Prosody:
    """How an utterance was said; None: too short, too quiet, or not voiced.

    Attributes:
        pitch_hz: median fundamental frequency of what is voiced.
        pitch_low_hz, pitch_high_hz: its 10th and 90th percentile.
        loudness_lufs: of the whole utterance, ITU-R BS.1770-4: relative to full scale, so it
            depends on the microphone.
        words_per_s: words a second of speech, pauses left out.
        pauses: gaps of at least 0.25 s between its first and its last sound; of several
            utterances their mean, as of the others.
        paused_s: seconds of these together.
    """

    pitch_hz: float | None = None
    pitch_low_hz: float | None = None
    pitch_high_hz: float | None = None
    loudness_lufs: float | None = None
    words_per_s: float | None = None
    pauses: float = 0.0
    paused_s: float = 0.0


def prosody(samples: npt.NDArray[np.float32], text: str) -> Prosody | None:
    """Measure one utterance.

    Args:
        samples: float32 (n,), 16 kHz mono, as it was recorded: not brought to another level.
        text: the words that were understood.

    Returns:
        None without sound.
    """
    if not len(samples):
        return None
    words = len(text.split())
    low, median, high = _pitch(samples)
    spoken_s, pauses = _pauses(samples)
    return Prosody(
        pitch_hz=median,
        pitch_low_hz=low,
        pitch_high_hz=high,
        loudness_lufs=_loudness(samples),
        words_per_s=round(words / spoken_s, 2) if words and spoken_s >= _LEAST_SPOKEN_S else None,
        pauses=len(pauses),
        paused_s=round(sum(pauses), 2),
    )


def _pitch(
    samples: npt.NDArray[np.float32],
) -> tuple[float, float, float] | tuple[None, None, None]:
    """10th percentile, median and 90th percentile of the pitch, in Hz."""
    found = _detector().detect(samples, _SAMPLE_RATE, _LOWEST_HZ, _HIGHEST_HZ)
    voiced = found.pitch_hz[found.confidence >= _VOICED]
    if len(voiced) < _LEAST_VOICED:
        return None, None, None
    low, median, high = np.percentile(voiced, (10, 50, 90)).round(1).tolist()
    return low, median, high


def _loudness(samples: npt.NDArray[np.float32]) -> float | None:
    import torch
    from torchaudio.functional import loudness

    if len(samples) < _BLOCK_S * _SAMPLE_RATE:
        return None
    lufs = float(loudness(torch.from_numpy(samples)[None], _SAMPLE_RATE))
    return round(lufs, 1) if np.isfinite(lufs) else None  # below the gate of -70 LUFS


def _pauses(samples: npt.NDArray[np.float32]) -> tuple[float, list[float]]:
    """How long was spoken, pauses left out, and how long each pause is; seconds."""
    loud = loud_frames(samples)
    gaps_s = (np.diff(loud) - 1) * FRAME_S
    pauses = gaps_s[gaps_s >= _PAUSE_S - FRAME_S / 2].tolist()
    return float((loud[-1] - loud[0] + 1) * FRAME_S - sum(pauses)), pauses


@cache
def _detector() -> SwiftF0:
    """SwiftF0 (Nieradzik, 2025): a small network that tells pitch and whether there is any."""
    from swift_f0 import SwiftF0

    return SwiftF0(threads=1, spin=False)
