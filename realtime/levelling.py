"""Quiet speech brought up to a level at which it is heard, for the detector and the recogniser.

In: windows of sound, in order. Out: the same, louder where they are quiet. Pure: no clock.
"""

from __future__ import annotations

import numpy as np

from models.vad import WINDOW
from realtime.media import SAMPLE_RATE, Samples

TARGET = 0.05
"""Peak, -26 dBFS, up to which quiet sound is brought; ordinary speech is above it. So 3.7 s of the
550 s of animals, rain and engines in ESC-10 are taken for speech, as without any gain; with a
target of -20 dBFS, 4.4 s."""

MOST = 10.0
"""The greatest gain, 20 dB. A constant one of 30 dB had five times as much of ESC-10 taken for
speech; white and pink noise never were, from -60 to -10 dBFS."""

RELEASE_DB_PER_S = 3.0
"""How fast the level sinks in silence: after ordinary speech, peaks of -6 dBFS, the gain stays 1
for 6 s, so that no pause inside an utterance is touched."""


class Leveller:
    """A gain that follows the peaks of what was heard so far.

    It drops at once, within the window that is louder than all before, so that nothing is made
    louder than `TARGET`; it rises slowly. Sound above full scale, as of a file whose samples were
    written in another unit, is brought down to it. It depends on the samples alone, window by
    window, so that a recording gives the same digits at any pace and in any chunks.

    Silero's network does not scale its input: speech with peaks of -40 dBFS lost a third of its
    time, and at -50 dBFS most. No delay is added.
    """

    def __init__(self) -> None:
        self._level = 0.0
        self._release = float(10 ** (-RELEASE_DB_PER_S * WINDOW / SAMPLE_RATE / 20))

    def window(self, samples: Samples) -> Samples:
        """The next window, float32 (512,), at its level."""
        peak = float(np.abs(samples).max())
        self._level = max(peak, self._level * self._release)
        levelled: Samples = samples * np.float32(self._gain())
        return levelled

    def _gain(self) -> float:
        if self._level > 1.0:
            return 1.0 / self._level
        return min(MOST, max(1.0, TARGET / max(self._level, 1e-9)))
