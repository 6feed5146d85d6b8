"""Quiet speech brought up to a level at which the detector of speech hears it.

In: windows of sound, in order. Out: the same, louder where they are quiet, and without hum where
there is hardly anything else. Pure: no clock.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from models.levels import gain
from models.vad import WINDOW
from realtime.media import SAMPLE_RATE, Samples

RELEASE_DB_PER_S = 3.0
"""How fast the level sinks in silence: after ordinary speech, peaks of -6 dBFS, the gain stays 1
for 6 s, so that no pause inside an utterance is touched."""

_MOSTLY_LOW = 0.3
"""A window whose peak falls below this part of itself without what is below 100 Hz is heard without
that. At 0.35, a second more of ESC-10 is taken for speech."""


class Leveller:
    """A gain that follows the peaks of what was heard so far.

    It drops at once, within the window that is louder than all before, so that nothing is made
    louder than `models.levels.TARGET_PEAK`; it rises slowly, but at once after a click. It depends
    on the samples alone, window by window, so that a recording gives the same digits at any pace
    and in any chunks.

    Silero's network does not scale its input: speech with peaks of -40 dBFS lost a third of its
    time, and at -50 dBFS most. Under hum of the mains, rumble or an offset of the sound card, which
    were 20 dB louder, all of it was lost. No delay is added.
    """

    def __init__(self) -> None:
        self._last = np.zeros(WINDOW, np.float32)  # the window before
        self._level = 0.0
        self._before = 0.0  # peak of the last window
        self._release = float(10 ** (-RELEASE_DB_PER_S * WINDOW / SAMPLE_RATE / 20))

    def window(self, samples: Samples) -> Samples:
        """The next window, float32 (512,), at its level."""
        joined = np.concatenate([self._last, samples])
        self._last = samples.copy()
        higher = np.convolve(joined, _high_pass(), "valid")[1:]
        peak = float(np.abs(samples).max())
        if np.abs(higher).max() < _MOSTLY_LOW * peak:
            samples = higher
            peak = float(np.abs(samples).max())
        # A click is over within a window. After one at full scale, speech with peaks of -40 dBFS
        # lost half of its time, when that set the level.
        self._level = max(min(peak, self._before), self._level * self._release)
        self._before = peak
        levelled: Samples = samples * np.float32(gain(max(peak, self._level)))
        return levelled


@cache
def _high_pass() -> Samples:
    """What a Butterworth filter of the fourth order, from 100 Hz on, makes of an impulse: it has
    died away, to below 0.0001, within a window."""
    import torch
    from torchaudio.functional import highpass_biquad

    impulse = torch.zeros(WINDOW)
    impulse[0] = 1
    for q in (0.541, 1.307):
        impulse = highpass_biquad(impulse, SAMPLE_RATE, 100.0, q)
    answer: Samples = impulse.numpy()
    return answer
