"""Windows in which a sound is heard become one event, live as in an upload."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import AnalysisError
from models.sounds.runs import PIECE_S, WINDOWS
from realtime.events import Event, SoundHeard
from realtime.media import SAMPLE_RATE, AudioBlock, Samples
from realtime.rings import AudioRing
from realtime.sounds import SoundWatch

KIND = "laughter"
Hear: TypeAlias = Callable[[Samples], Awaitable[list[dict[str, float]]]]


async def watched(sound: Samples, cuts: list[int], hear: Hear) -> list[Event]:
    """What is told of a sound that arrives in blocks, which are cut at these samples."""
    ring, told = AudioRing(seconds=20), list[Event]()

    async def tell(event: Event) -> None:
        told.append(event)

    watch = SoundWatch(ring, hear, live=False, session="s", tell=tell)
    following = asyncio.create_task(watch.follow())
    places = sorted({0, *cuts, len(sound)})
    for start, stop in pairwise(places):
        ring.write(AudioBlock(start, sound[start:stop]))
        assert await watch.listen()
    await watch.end()
    await following
    return told


async def how_loud(piece: Samples) -> list[dict[str, float]]:
    assert len(piece) == PIECE_S * SAMPLE_RATE
    starts = (0, SAMPLE_RATE)
    return [{KIND: float(np.abs(piece[n : n + 2 * SAMPLE_RATE]).mean())} for n in starts]


@given(st.lists(st.integers(1, 12 * SAMPLE_RATE - 1), max_size=8))
@settings(max_examples=30, deadline=None)
def test_how_sound_arrives_does_not_matter(cuts: list[int]) -> None:
    sound = np.zeros(12 * SAMPLE_RATE, np.float32)
    sound[4 * SAMPLE_RATE : 8 * SAMPLE_RATE] = 1
    (event,) = asyncio.run(watched(sound, cuts, how_loud))
    assert isinstance(event, SoundHeard)
    assert (event.start, event.end, event.confidence) == (4.5, 8.5, 1)


@pytest.mark.parametrize("seconds", [0.3, 2.0, 2.4, 3.0, 3.1, 4.9])
async def test_the_end_is_heard_too_and_no_sound_lasts_longer(seconds: float) -> None:
    async def always(piece: Samples) -> list[dict[str, float]]:
        assert len(piece) == PIECE_S * SAMPLE_RATE
        return [{KIND: 1.0}] * WINDOWS

    (event,) = await watched(np.zeros(round(seconds * SAMPLE_RATE), np.float32), [], always)
    assert isinstance(event, SoundHeard)
    assert event.start == 0
    assert seconds - 0.5 <= event.end <= seconds
    assert await watched(np.zeros(0, np.float32), [], always) == []


async def test_a_live_source_that_is_too_fast_goes_unheard_and_is_told_so() -> None:
    ring, gate = AudioRing(seconds=40), asyncio.Event()

    async def hear(piece: Samples) -> list[dict[str, float]]:
        await gate.wait()
        return []

    async def tell(event: Event) -> None:
        raise AssertionError(event)

    watch = SoundWatch(ring, hear, live=True, session="s", tell=tell)
    following = asyncio.create_task(watch.follow())
    ring.write(AudioBlock(0, np.zeros(8 * SAMPLE_RATE, np.float32)))
    assert await watch.listen()
    ring.write(AudioBlock(8 * SAMPLE_RATE, np.zeros(8 * SAMPLE_RATE, np.float32)))
    assert not await watch.listen()
    gate.set()
    await watch.end()
    await following


async def test_a_network_that_fails_ends_nothing_else() -> None:
    pieces = iter([[0.0, 1.0], None, [1.0, 0.0]])

    async def hear(piece: Samples) -> list[dict[str, float]]:
        if (windows := next(pieces)) is None:
            raise AnalysisError("sounds", "it broke")
        return [{KIND: clear} for clear in windows]

    before, after = await watched(np.zeros(7 * SAMPLE_RATE, np.float32), [], hear)
    assert isinstance(before, SoundHeard)
    assert isinstance(after, SoundHeard)
    assert (before.start, before.end, after.start, after.end) == (1.5, 2.5, 4.5, 5.5)
