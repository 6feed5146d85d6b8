"""What flows through the program: blocks of audio and frames of video, on one media timeline.

In: nothing. Out: `AudioBlock`, `VideoFrame` and the constants of the timeline. Media time is
seconds since the session began, from presentation timestamps; never the wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000
"""Hz. Every audio sample in the program is mono at this rate."""

Samples: TypeAlias = npt.NDArray[np.float32]
"""float32 (n,), 16 kHz mono, nominally in [-1, 1]."""

Image: TypeAlias = npt.NDArray[np.uint8]
"""uint8 (height, width, 3), RGB."""


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """A run of samples. The blocks of one session follow each other without gap or overlap.

    Attributes:
        start: absolute number of the first sample; sample n sounds at n / SAMPLE_RATE seconds.
        samples: float32 (n,), 16 kHz mono.
    """

    start: int
    samples: Samples

    @property
    def stop(self) -> int:
        """Absolute number of the sample after the last."""
        return self.start + len(self.samples)


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One picture, already reduced to what analysis needs.

    Attributes:
        time: media time in seconds.
        image: uint8 (height, width, 3) RGB, upright.
        scale: source pixels per pixel of `image` (1.0 when the picture was not reduced), so that
            a box found in `image` can be told in source pixels.
    """

    time: float
    image: Image
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class SourceNotice:
    """Something a source has to say while it goes on: a camera lost, a gap in the audio.

    Attributes:
        time: media time in seconds.
        code: stable, dotted: ``camera.lost``, ``microphone.lost``, ``audio.gap``, ...
        message: one line for a person.
    """

    time: float
    code: str
    message: str


Media: TypeAlias = AudioBlock | VideoFrame | SourceNotice


class FrameThinner:
    """Decides which frames are kept: at most `rate` a second, on a fixed grid of media time.

    Frame times alone decide, so a recording gives the same frames however it is paced. Sources
    ask before they convert a frame to RGB, because conversion costs more than the decision.
    """

    def __init__(self, *, rate: float = 5.0, longest_side: int = 640) -> None:
        if not rate > 0:
            raise ValueError(f"rate must be above 0 frames a second, not {rate}")
        if longest_side < 64:
            raise ValueError(f"longest_side must be at least 64 pixels, not {longest_side}")
        self.rate = rate
        self.longest_side = longest_side
        self._last_slot = -1

    def wants(self, time: float) -> bool:
        """True for the first frame in each slot of 1/rate seconds; call once a frame, in order."""
        if self.has(time):
            return False
        self._last_slot = self._slot(time)
        return True

    def has(self, time: float) -> bool:
        """True if the slot already has its frame, so that another one need not be decoded."""
        return self._slot(time) <= self._last_slot

    def _slot(self, time: float) -> int:
        return int(time * self.rate + 1e-6)

    def reduced_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) with the longest side at most `longest_side`, aspect kept."""
        scale = min(1.0, self.longest_side / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))
