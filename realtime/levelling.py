"""Quiet speech brought up to a level at which the detector of speech hears it.

In: windows of sound, in order. Out: the same, louder where they are quiet, and without what lies
below voices where that is louder than they are. Pure: no clock.
"""

from __future__ import annotations

import numpy as np

from models.levels import HIGH_PASS, gain
from models.vad import WINDOW
from realtime.media import SAMPLE_RATE, Samples

RELEASE_DB_PER_S = 3.0
"""How fast the level sinks in silence: after ordinary speech, peaks of -6 dBFS, the gain stays 1
for 6 s, so that no pause inside an utterance is touched."""

_MOSTLY_LOW = 3.0
"""What lies below voices is taken out from when it is so many times as loud as the rest, until it
is less loud than the rest. From 2 times on, a dog in ESC-10 is taken for a person."""


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
        self._level, self._low, self._high = _Level(), _Level(), _Level()
        self._filtering = False

    def window(self, samples: Samples) -> Samples:
        """The next window, float32 (512,), at its level."""
        joined = np.concatenate([self._last, samples])
        self._last = samples.copy()
        high = np.convolve(joined, HIGH_PASS, "valid")[1:]
        low_level, high_level = self._low.follow(samples - high), self._high.follow(high)
        self._filtering = low_level > (1 if self._filtering else _MOSTLY_LOW) * high_level
        level = self._level.follow(samples)
        if self._filtering:
            samples, level = high, high_level
        levelled: Samples = samples * np.float32(gain(max(level, _peak(samples))))
        return levelled


class _Level:
    """The peak of windows, which sinks slowly."""

    _release = float(10 ** (-RELEASE_DB_PER_S * WINDOW / SAMPLE_RATE / 20))

    def __init__(self) -> None:
        self._level = 0.0
        self._before = 0.0  # peak of the last window

    def follow(self, samples: Samples) -> float:
        """The level, after the next window."""
        peak = _peak(samples)
        # A click is over within a window. After one at full scale, speech with peaks of -40 dBFS
        # lost half of its time, when that set the level.
        self._level = max(min(peak, self._before), self._level * self._release)
        self._before = peak
        return self._level


def _peak(samples: Samples) -> float:
    return float(np.abs(samples).max())
