"""What flows: blocks, frames, and the choice of frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.media import AudioBlock, FrameThinner


def test_a_block_knows_where_it_stops() -> None:
    assert AudioBlock(480, np.zeros(160, np.float32)).stop == 640


@pytest.mark.parametrize("fps", [5, 12.5, 24, 25, 29.97, 30, 60])
def test_five_frames_a_second_are_kept_whatever_the_rate(fps: float) -> None:
    thinner = FrameThinner()
    kept = [n / fps for n in range(int(fps * 10)) if thinner.wants(n / fps)]
    assert len(kept) == 50
    assert kept[0] == 0.0


def test_a_slow_camera_loses_nothing() -> None:
    thinner = FrameThinner(rate=5)
    assert all(thinner.wants(n / 2) for n in range(20))


@given(st.lists(st.floats(0, 1000), min_size=1).map(sorted), st.floats(0.5, 30))
def test_no_two_kept_frames_share_a_slot_and_every_slot_keeps_its_first(
    times: list[float], rate: float
) -> None:
    thinner = FrameThinner(rate=rate)
    kept = [time for time in times if thinner.wants(time)]
    slots = [int(time * rate + 1e-6) for time in times]
    assert kept == [t for n, t in enumerate(times) if slots.index(slots[n]) == n]


@pytest.mark.parametrize(
    ("size", "reduced"),
    [
        ((1920, 1080), (640, 360)),
        ((1080, 1920), (360, 640)),
        ((640, 480), (640, 480)),
        ((320, 240), (320, 240)),
        ((9000, 2), (640, 1)),
    ],
)
def test_the_longest_side_is_reduced_to_640(
    size: tuple[int, int], reduced: tuple[int, int]
) -> None:
    assert FrameThinner().reduced_size(*size) == reduced


def test_wrong_options_are_named() -> None:
    with pytest.raises(ValueError, match="above 0 frames a second, not 0"):
        FrameThinner(rate=0)
    with pytest.raises(ValueError, match="at least 64 pixels, not 10"):
        FrameThinner(longest_side=10)
