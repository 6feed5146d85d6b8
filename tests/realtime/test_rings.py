"""The rings against plain lists: what they hold is right, what they lost is an error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.media import SAMPLE_RATE, AudioBlock, VideoFrame
from realtime.rings import AudioRing, FrameRing, OutOfRingError, spread


def frame(time: float, side: int = 4) -> VideoFrame:
    return VideoFrame(time, np.zeros((side, side, 3), dtype=np.uint8))


@given(sizes=st.lists(st.integers(0, 50), max_size=30), data=st.data())
def test_audio_ring_holds_exactly_the_last_samples(sizes: list[int], data: st.DataObject) -> None:
    capacity = 64
    ring = AudioRing(seconds=capacity / SAMPLE_RATE)
    everything = np.arange(sum(sizes), dtype=np.float32)
    for size in sizes:
        ring.write(AudioBlock(ring.stop, everything[ring.stop : ring.stop + size]))
    assert ring.stop == len(everything)
    assert ring.start == max(0, len(everything) - capacity)
    start = data.draw(st.integers(0, len(everything) + 5))
    stop = data.draw(st.integers(start, len(everything) + 5))
    if ring.start <= start and stop <= ring.stop:
        np.testing.assert_array_equal(ring.read(start, stop), everything[start:stop])
    else:
        with pytest.raises(OutOfRingError):
            ring.read(start, stop)


def test_audio_ring_takes_a_block_longer_than_itself() -> None:
    ring = AudioRing(seconds=10 / SAMPLE_RATE)
    ring.write(AudioBlock(0, np.arange(25, dtype=np.float32)))
    np.testing.assert_array_equal(ring.read(15, 25), np.arange(15, 25, dtype=np.float32))
    with pytest.raises(OutOfRingError):
        ring.read(14, 16)


def test_audio_read_is_a_copy() -> None:
    ring = AudioRing(seconds=1)
    ring.write(AudioBlock(0, np.ones(8, dtype=np.float32)))
    ring.read(0, 8)[:] = 0
    assert ring.read(0, 8).sum() == 8


def test_audio_ring_knows_how_loud_it_was_last() -> None:
    ring = AudioRing(seconds=1)
    assert ring.level_db(0.1) == -120
    ring.write(AudioBlock(0, np.ones(4 * SAMPLE_RATE, dtype=np.float32)))
    assert ring.level_db(0.1) == pytest.approx(0)
    ring.write(AudioBlock(ring.stop, np.full(SAMPLE_RATE // 10, 0.1, dtype=np.float32)))
    assert ring.level_db(0.1) == pytest.approx(-20)
    assert ring.level_db(0.2) > -4


def test_audio_ring_refuses_a_gap() -> None:
    ring = AudioRing(seconds=1)
    with pytest.raises(ValueError, match="expected 0"):
        ring.write(AudioBlock(5, np.zeros(3, dtype=np.float32)))


@given(times=st.lists(st.floats(0, 100), min_size=1, max_size=60))
def test_frame_ring_is_bounded_and_knows_what_it_lost(times: list[float]) -> None:
    times = sorted(times)
    ring = FrameRing(seconds=10, max_bytes=20 * 48)
    for time in times:
        ring.write(frame(time))
    kept = [t for t in times[-20:] if times[-1] - t <= 10]
    lost = times[: len(times) - len(kept)]
    held = [f.time for f in ring.read(ring.start, 101)]
    assert held == [t for t in kept if t not in lost]
    if lost:
        with pytest.raises(OutOfRingError):
            ring.read(lost[-1], 101)


def test_frame_ring_takes_frames_in_order_only() -> None:
    ring = FrameRing(seconds=1, max_bytes=10_000)
    ring.write(frame(1.0))
    with pytest.raises(ValueError, match="came after"):
        ring.write(frame(0.9))


def test_frame_ring_refuses_a_frame_that_alone_is_too_big() -> None:
    with pytest.raises(ValueError, match="one frame"):
        FrameRing(seconds=1, max_bytes=100).write(frame(0.0, side=8))


@given(n=st.integers(0, 60), count=st.integers(1, 6))
def test_spread_is_even_ordered_and_never_repeats(n: int, count: int) -> None:
    frames = [frame(float(i)) for i in range(n)]
    times = [f.time for f in spread(frames, count)]
    assert len(times) == min(n, count)
    assert times == sorted(set(times))
    if n >= count > 1:
        gaps = np.diff(times)
        assert gaps.max() - gaps.min() <= 1
