"""The session's timeline: audio without gaps from sample 0, audio and video merged by time.

In: decoded audio as it comes, with its times. Out: `AudioBlock` and notices, in order. No I/O.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from itertools import count

import av
import numpy as np
from av.filter import Graph

from realtime.media import SAMPLE_RATE, AudioBlock, Media, Samples, SourceNotice
from realtime.sources.mixing import Downmixer

BLOCK_SAMPLES = 512
"""32 ms, one window of the voice activity detector: the smallest delay that is of use to it."""

JITTER_S = 0.040
"""Timestamps may be off by this much (containers round them) without a sample moving."""

GAPS_TOLD_EVERY_S = 60.0
"""After the first gap the others are summed up, once in so much media and at the end: a sender that
is silent between words (discontinuous transmission) has one every second."""


def media_time(item: Media) -> float:
    """Seconds at which `item` is complete: the end of a block, the instant of a frame."""
    return item.stop / SAMPLE_RATE if isinstance(item, AudioBlock) else item.time


class AudioTimeline:
    """Resamples audio to 16 kHz mono and lays it where its time says, in one unbroken run.

    Sample n of what comes out sounds at n / 16000 s. Audio that follows on, within `JITTER_S`,
    goes through one resampler whose state is carried along, so borders between chunks leave no
    trace. A gap is filled with zeros and told; what overlaps is cut off; both, and a change of
    rate, begin a new run of the resampler. The resampler's delay is compensated: it holds back
    about 1 ms. How channels become one: see `Downmixer`.
    """

    def __init__(self) -> None:
        self.position = 0  # absolute number of the next block's first sample
        self._mixer = Downmixer()
        self._gaps = _Gaps()
        self._resampler: _Resampler | None = None
        self._anchor_s = 0.0  # media time of the first sample the resampler took ...
        self._taken = 0  # ... and how many it has taken since
        self._exact = True
        self._overlap = 0  # samples to cut off what the resampler gives next
        self._rest: Samples = np.empty(0, np.float32)

    @property
    def end_s(self) -> float:
        """Media time in seconds up to which there is audio: where the next is expected."""
        if self._resampler is None:
            return self._anchor_s
        return self._anchor_s + self._taken / self._resampler.rate

    def expect_gap(self) -> None:
        """Say that audio was lost: the next is laid exactly where its time says."""
        self._exact = True

    def add(
        self, frame: av.AudioFrame, time: float | None = None
    ) -> Iterator[AudioBlock | SourceNotice]:
        """Add audio of any format that begins at media `time` (None: where the last ended).

        The result must be exhausted before the next call.
        """
        expected = self.end_s
        jump = 0.0 if time is None else time - expected
        displaced = abs(jump) > (0.5 / SAMPLE_RATE if self._exact else JITTER_S)
        self._exact = False
        if jump > JITTER_S and self._resampler is not None:
            yield from self._gaps.tell(expected, jump)
        samples, odd = self._mixer.mix(frame)
        for code, message in odd.items():
            yield SourceNotice(expected, code, message)
        rate = frame.sample_rate
        if displaced or self._resampler is None or self._resampler.rate != rate:
            yield from self._begin(expected + (jump if displaced else 0.0), rate)
        assert self._resampler is not None
        self._taken += len(samples)
        yield from self._write(self._resampler.push(samples))

    def finish(self) -> Iterator[AudioBlock | SourceNotice]:
        """Give out what the resampler and the last, shorter block still hold."""
        if self._resampler is not None:
            yield from self._write(self._resampler.push(None))
            self._anchor_s = self.end_s
            # The filters of both have a thread for each core.
            self._resampler, self._mixer = None, Downmixer()
        if len(self._rest):
            yield self._block(len(self._rest))
        yield from self._gaps.sum_up(self.position / SAMPLE_RATE)

    def _begin(self, start_s: float, rate: int) -> Iterator[AudioBlock]:
        """End the resampler's run and begin a new one at `start_s`, on a whole sample."""
        if self._resampler is not None:
            yield from self._write(self._resampler.push(None))
        start = round(start_s * SAMPLE_RATE)
        missing = start - self.position - len(self._rest)
        self._overlap = max(0, -missing)
        while missing > 0:
            zeros = np.zeros(min(missing, BLOCK_SAMPLES), np.float32)
            missing -= len(zeros)
            yield from self._write(zeros)
        self._resampler = _Resampler(rate)
        self._anchor_s, self._taken = start / SAMPLE_RATE, 0

    def _write(self, samples: Samples) -> Iterator[AudioBlock]:
        cut = min(self._overlap, len(samples))
        self._overlap -= cut
        self._rest = np.concatenate((self._rest, samples[cut:]))
        while len(self._rest) >= BLOCK_SAMPLES:
            yield self._block(BLOCK_SAMPLES)

    def _block(self, length: int) -> AudioBlock:
        block = AudioBlock(self.position, self._rest[:length])
        self._rest = self._rest[length:]
        self.position += length
        return block


class Interleaver:
    """Merges audio and video into media-time order: a frame comes before the block that ends later.

    An item is held back until the other stream has passed its time, but no longer than until
    `hold_s` more of media has come: a stream that lags further behind is delivered late rather
    than lost. Whoever pushes also moves `audio_s` and `video_s`, the times up to which each
    stream is complete; infinity for a stream that is not there, or over.
    """

    def __init__(self, *, hold_s: float) -> None:
        self.audio_s = self.video_s = 0.0
        self._hold_s = hold_s
        self._newest_s = 0.0
        self._held: list[tuple[float, int, Media]] = []
        self._order = count()

    def push(self, item: Media) -> None:
        """Add an item."""
        time = media_time(item)
        self._newest_s = max(self._newest_s, time)
        # Of two items at one time the block goes last, because it says "complete up to here".
        rank = next(self._order) + (1 << 62 if isinstance(item, AudioBlock) else 0)
        heapq.heappush(self._held, (time, rank, item))

    def ready(self) -> Iterator[Media]:
        """Take out, in order, what nothing can come before any more."""
        complete_s = max(min(self.audio_s, self.video_s), self._newest_s - self._hold_s)
        while self._held and self._held[0][0] <= complete_s:
            yield heapq.heappop(self._held)[2]

    def rest(self) -> Iterator[Media]:
        """Take out, in order, everything."""
        self.audio_s = self.video_s = math.inf
        yield from self.ready()


class _Gaps:
    """Tells of the first gap at once, and of all others in sums."""

    def __init__(self) -> None:
        self._told_s: float | None = None  # when, in media time
        self._untold = 0
        self._untold_s = 0.0

    def tell(self, time_s: float, gap_s: float) -> Iterator[SourceNotice]:
        """Take note of a gap of `gap_s` at `time_s`; yields what is to be said now."""
        if self._told_s is None:
            self._told_s = time_s
            message = f"no sound for {gap_s:.2f} s: silence takes its place"
            yield SourceNotice(time_s, "audio.gap", message)
            return
        self._untold += 1
        self._untold_s += gap_s
        if time_s - self._told_s >= GAPS_TOLD_EVERY_S:
            yield from self.sum_up(time_s)

    def sum_up(self, time_s: float) -> Iterator[SourceNotice]:
        """Tell of the gaps that were not told yet, if there are any."""
        if self._untold:
            message = (
                f"no sound {self._untold} more times, {self._untold_s:.1f} s in all: "
                "silence takes its place"
            )
            yield SourceNotice(time_s, "audio.gap", message)
            self._told_s, self._untold, self._untold_s = time_s, 0, 0.0


class _Resampler:
    """One run of libswresample, from float32 mono at `rate` to the same at 16 kHz."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._graph = Graph()
        source = self._graph.add(
            "abuffer",
            sample_rate=str(rate),
            sample_fmt="flt",
            channel_layout="mono",
            time_base=f"1/{rate}",
        )
        resample = self._graph.add("aresample", str(SAMPLE_RATE))
        target = self._graph.add("aformat", sample_rates=str(SAMPLE_RATE), sample_fmts="flt")
        sink = self._graph.add("abuffersink")
        source.link_to(resample)
        resample.link_to(target)
        target.link_to(sink)
        self._graph.configure()

    def push(self, samples: Samples | None) -> Samples:
        """Convert float32 (n,), or flush if None; float32 (n,), 16 kHz."""
        frame = None
        if samples is not None:
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "flt", "mono")
            frame.sample_rate = self.rate
        self._graph.push(frame)
        pieces: list[Samples] = []
        while True:
            try:
                piece = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return np.concatenate(pieces) if pieces else np.empty(0, np.float32)
            assert isinstance(piece, av.AudioFrame)
            pieces.append(piece.to_ndarray().reshape(-1).astype(np.float32, copy=False))
