"""Bounded memories of what was just heard and seen, addressed by absolute position.

In: audio blocks and video frames in order. Out: samples and frames of an interval, or an error if
part of it is gone; never silence in place of what was lost.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import TypeVar

import numpy as np

from realtime.media import SAMPLE_RATE, AudioBlock, Samples, VideoFrame

T = TypeVar("T")


class OutOfRingError(LookupError):
    """What was asked for is no longer, or not yet, in the ring."""


class AudioRing:
    """The last `seconds` of audio, preallocated: float32 mono at 16 kHz.

    Args:
        seconds: capacity. Must exceed the longest utterance by what analysis may lag behind.
    """

    def __init__(self, *, seconds: float) -> None:
        capacity = round(seconds * SAMPLE_RATE)
        if capacity < 1:
            raise ValueError(f"seconds must be at least one sample long, not {seconds}")
        self._buffer = np.zeros(capacity, dtype=np.float32)
        self._written = 0

    @property
    def start(self) -> int:
        """Absolute number of the oldest sample still held."""
        return max(0, self._written - len(self._buffer))

    @property
    def stop(self) -> int:
        """Absolute number of the next sample to come."""
        return self._written

    def write(self, block: AudioBlock) -> None:
        """Append a block, overwriting the oldest samples.

        Raises:
            ValueError: the block does not begin where the last one ended.
        """
        if block.start != self._written:
            raise ValueError(f"block starts at sample {block.start}, expected {self._written}")
        self._written = block.stop
        tail = block.samples[-len(self._buffer) :]
        first = (self._written - len(tail)) % len(self._buffer)
        before_end = min(len(tail), len(self._buffer) - first)
        self._buffer[first : first + before_end] = tail[:before_end]
        self._buffer[: len(tail) - before_end] = tail[before_end:]

    def read(self, start: int, stop: int) -> Samples:
        """A copy of samples [start, stop), float32 (stop - start,).

        Raises:
            OutOfRingError: part of the interval was overwritten or has not arrived.
            ValueError: start is negative or after stop.
        """
        if not 0 <= start <= stop:
            raise ValueError(f"not an interval of samples: [{start}, {stop})")
        if start < self.start or stop > self.stop:
            raise OutOfRingError(
                f"samples [{start}, {stop}) asked for, [{self.start}, {self.stop}) held"
            )
        first = start % len(self._buffer)
        before_end = self._buffer[first : first + stop - start]
        return np.concatenate([before_end, self._buffer[: stop - start - len(before_end)]])

    def level_db(self, seconds: float) -> float:
        """Loudness of the last `seconds`, in dB relative to full scale; at least -120."""
        latest = self.read(max(self.start, self.stop - round(seconds * SAMPLE_RATE)), self.stop)
        power = float(np.mean(np.square(latest))) if len(latest) else 0.0
        return 10 * math.log10(max(power, 1e-12))


FILM_S = 3.0
"""How long the film between the frames is held: for as long as it may take to know that somebody
has begun to speak."""


class FrameRing:
    """The last frames, bounded by age and by memory. Older ones than `FILM_S` have lost their film.

    Args:
        seconds: frames older than this, counted back from the newest, are given up.
        max_bytes: pixel bytes held at most; the oldest frames are given up first.
    """

    def __init__(self, *, seconds: float, max_bytes: int) -> None:
        if not seconds > 0:
            raise ValueError(f"seconds must be above 0, not {seconds}")
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._frames: deque[VideoFrame] = deque()
        self._bytes = 0
        self._with_film = 0  # how many of the newest frames have theirs
        self._lost_until = float("-inf")

    @property
    def start(self) -> float:
        """Media time from which on no frame was given up, in seconds."""
        return math.nextafter(self._lost_until, math.inf)

    def write(self, frame: VideoFrame) -> None:
        """Append a frame, giving up the oldest where a bound is reached.

        Raises:
            ValueError: the frame is older than the newest one held, or alone over `max_bytes`.
        """
        if self._frames and frame.time < self._frames[-1].time:
            raise ValueError(f"frame of {frame.time} s came after one of {self._frames[-1].time} s")
        if frame.nbytes > self._max_bytes:
            raise ValueError(f"one frame of {frame.nbytes} bytes is over {self._max_bytes}")
        self._frames.append(frame)
        self._bytes += frame.nbytes
        self._with_film += 1
        while frame.time - (old := self._frames[-self._with_film]).time > FILM_S:
            self._frames[-self._with_film] = replace(old, film=())
            self._bytes -= old.nbytes - old.image.nbytes
            self._with_film -= 1
        while self._bytes > self._max_bytes or frame.time - self._frames[0].time > self._seconds:
            oldest = self._frames.popleft()
            self._bytes -= oldest.nbytes
            self._lost_until = oldest.time
        self._with_film = min(self._with_film, len(self._frames))

    def read(self, start: float, stop: float) -> list[VideoFrame]:
        """All frames with start <= time < stop (media seconds), oldest first; may be empty.

        Raises:
            OutOfRingError: frames of the interval were given up.
        """
        if start < self.start:
            raise OutOfRingError(
                f"frames from {start:.3f} s asked for, those to {self._lost_until:.3f} s are gone"
            )
        return [frame for frame in self._frames if start <= frame.time < stop]


def spread(frames: list[T], count: int) -> list[T]:
    """At most `count` of the frames, evenly spread over them, in order.

    Each pick is the frame in the middle of one of `count` equal parts, so that the very first and
    last moments of an utterance, when the mouth only opens or closes, weigh least.
    """
    if len(frames) <= count:
        return list(frames)
    return [frames[int((i + 0.5) * len(frames) / count)] for i in range(count)]
