"""What the timestamps of a recording mean, also where its clock is set anew on the way.

In: the timestamps of sound and pictures, in the order of the file. Out: media time, which goes on.
Pure.
"""

from __future__ import annotations

import math

MAX_GAP_S = 60.0
"""Sound that goes on later than this, and later than the pictures do, has a new clock: nothing was
recorded between. A shorter gap, or one with pictures in it, is silence."""

MAX_OVERLAP_S = 0.25
"""Timestamps that go back further than this have a new clock. What goes back less overlaps: pieces
of a live stream may by some packets."""

AGREEMENT_S = 1.0
"""Where the clocks of sound and pictures differ by less, the pictures go by that of the sound."""


class RecordingClock:
    """Turns timestamps into media time; the first timestamp of all is 0.

    A recording that was joined of pieces, or restarted, has several clocks. Where a timestamp
    cannot go on from the ones before, a new clock begins: what has it goes on where the media was.
    Sound sets the clock. Pictures go by it, too, except where theirs alone was set anew, and
    between a join and the moment at which both are past it.
    """

    def __init__(self) -> None:
        self._sound_s: float | None = None  # the timestamps of media time 0
        self._picture_s: float | None = None
        self._begins_s = 0.0  # media time of the first timestamp of this recording
        self._seen_s = -math.inf  # media time of the last picture
        self._sound_clocks = self._picture_clocks = 0

    @property
    def clocks(self) -> int:
        """How many clocks there were so far."""
        return max(self._sound_clocks, self._picture_clocks)

    def begin(self, origin_s: float | None, heard_s: float) -> None:
        """Begin a recording, the first or, where several are read in a row, the next.

        It begins where the last sound ended, or with the last picture, if that is much later.

        Args:
            origin_s: its first timestamp, in seconds; None: that of the next call.
            heard_s: where the last sound ended, 0 for the first recording.
        """
        self._sound_clocks = self._picture_clocks = self.clocks + 1
        # Pictures and sound of one recording hardly ever end together.
        later = self._seen_s - heard_s > MAX_OVERLAP_S
        self._begins_s = self._seen_s if later else heard_s
        self._sound_s = self._picture_s = None if origin_s is None else origin_s - self._begins_s

    def sound(self, stamp_s: float, expected_s: float) -> float:
        """Media time of sound with this timestamp; `expected_s` is where the last sound ended."""
        origin_s = self._begin_with(stamp_s) if self._sound_s is None else self._sound_s
        jump = stamp_s - origin_s - expected_s
        if not -MAX_OVERLAP_S <= jump <= max(MAX_GAP_S, self._seen_s - expected_s + AGREEMENT_S):
            self._sound_clocks += 1
            origin_s = stamp_s - expected_s
        self._sound_s = origin_s
        return stamp_s - origin_s

    def picture(self, stamp_s: float, heard_s: float) -> float:
        """Media time of a picture with this timestamp; `heard_s` is where the last sound ended."""
        time = self.look_ahead(stamp_s, heard_s)
        if time is None:
            self._picture_clocks += 1
            self._picture_s = stamp_s - max(0.0, self._seen_s)
            time = stamp_s - self._picture_clock()
        self._picture_s = stamp_s - time
        self._seen_s = time
        return time

    def look_ahead(self, stamp_s: float, heard_s: float) -> float | None:
        """What `picture` will say of this timestamp; None if a new clock would have to begin."""
        if self._picture_s is None:
            self._begin_with(stamp_s)
        assert self._picture_s is not None
        time = stamp_s - self._picture_s
        if self._seen_s - MAX_OVERLAP_S <= time <= max(self._seen_s, heard_s) + MAX_GAP_S:
            return stamp_s - self._picture_clock()
        return None

    def _picture_clock(self) -> float:
        """The timestamp that pictures have at media time 0: that of the sound, if it is theirs."""
        assert self._picture_s is not None
        assert self._sound_s is not None
        same_piece = self._picture_clocks == self._sound_clocks
        differ_s = abs(self._picture_s - self._sound_s)
        return (
            self._sound_s
            if differ_s < (MAX_GAP_S if same_piece else AGREEMENT_S)
            else self._picture_s
        )

    def _begin_with(self, stamp_s: float) -> float:
        self._sound_s = self._picture_s = origin_s = stamp_s - self._begins_s
        return origin_s
