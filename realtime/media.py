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

Vector: TypeAlias = npt.NDArray[np.float32]
"""float32 (n,): a face, or a voice. Of length 1, but for sums of them."""


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


GreyImage: TypeAlias = npt.NDArray[np.uint8]
"""uint8 (height, width), grey."""


@dataclass(frozen=True, slots=True)
class GreyPicture:
    """A picture without colour, in which the movement of lips can be seen.

    Attributes:
        time: media time in seconds.
        image: uint8 (height, width), upright, of the same size as that of its frame.
    """

    time: float
    image: GreyImage


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One picture, already reduced to what analysis needs.

    Attributes:
        time: media time in seconds.
        image: uint8 (height, width, 3) RGB, upright.
        scale: source pixels per pixel of `image` (1.0 when the picture was not reduced), so that
            a box found in `image` can be told in source pixels.
        film: the pictures since the frame before, this one included, 25 a second; empty where the
            source does not give so many.
    """

    time: float
    image: Image
    scale: float = 1.0
    film: tuple[GreyPicture, ...] = ()

    @property
    def nbytes(self) -> int:
        """Of all its pixels."""
        return self.image.nbytes + sum(picture.image.nbytes for picture in self.film)


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

    Args:
        rate: frames a second.
        film_rate: pictures a second of the film between them; 0: there is none.
        longest_side: pixels, of both.
    """

    def __init__(
        self, *, rate: float = 5.0, film_rate: float = 25.0, longest_side: int = 640
    ) -> None:
        if not rate > 0:
            raise ValueError(f"rate must be above 0 frames a second, not {rate}")
        if longest_side < 64:
            raise ValueError(f"longest_side must be at least 64 pixels, not {longest_side}")
        self.rate = rate
        self.film_rate = film_rate
        self.longest_side = longest_side
        self._last_slot = self._last_film_slot = -1

    def wants(self, time: float) -> bool:
        """True for the first frame in each slot of 1/rate seconds; call once a frame, in order."""
        slot = _slot(time, self.rate)
        wanted = slot > self._last_slot
        self._last_slot = max(slot, self._last_slot)
        return wanted

    def wants_in_film(self, time: float) -> bool:
        """The same for the film between the frames."""
        slot = _slot(time, self.film_rate)
        wanted = self.film_rate > 0 and slot > self._last_film_slot
        self._last_film_slot = max(slot, self._last_film_slot)
        return wanted

    def has(self, time: float) -> bool:
        """True if nothing is wanted of a frame any more, so that it need not be decoded."""
        film = self.film_rate > 0 and _slot(time, self.film_rate) > self._last_film_slot
        return not film and _slot(time, self.rate) <= self._last_slot

    def reduced_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) with the longest side at most `longest_side`, aspect kept."""
        scale = min(1.0, self.longest_side / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))


def thinner_for(alone: bool) -> FrameThinner | None:
    """For one person without the film, which shows whose lips move; else the default."""
    return FrameThinner(film_rate=0) if alone else None


def _slot(time: float, rate: float) -> int:
    return int(time * rate + 1e-6)
