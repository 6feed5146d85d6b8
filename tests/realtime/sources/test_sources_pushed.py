"""Pushed media on its timeline: order, gaps, clocks set anew, and a consumer that is slow."""

from __future__ import annotations

import asyncio
import io
import itertools
import time

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UsageError
from realtime.media import SAMPLE_RATE, AudioBlock, Media, SourceNotice, VideoFrame
from realtime.sources.pushed import HANDOVER_ITEMS, PushedSource
from realtime.sources.rate_check import ENOUGH, RateCheck

Pcm = npt.NDArray[np.int16]


def noise(seconds: float) -> Pcm:
    random = np.random.default_rng(1)
    return random.integers(-20_000, 20_000, round(seconds * SAMPLE_RATE), dtype=np.int16)


def picture(width: int = 320, height: int = 240, turned: bool = False) -> bytes:
    """A JPEG that is white above and black below, as it is to be seen."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2] = 255
    image = PIL.Image.fromarray(np.rot90(pixels) if turned else pixels)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6 if turned else 1  # to be seen, turn it by 90 degrees clockwise
    data = io.BytesIO()
    image.save(data, "JPEG", exif=exif)
    return data.getvalue()


async def take(source: PushedSource) -> list[Media]:
    return [item async for item in source]


def heard(items: list[Media]) -> npt.NDArray[np.float32]:
    blocks = [item for item in items if isinstance(item, AudioBlock)]
    assert [block.start for block in blocks] == [0, *(block.stop for block in blocks)][:-1]
    return np.concatenate([block.samples for block in blocks] or [np.empty(0, np.float32)])


def frames(items: list[Media]) -> list[VideoFrame]:
    return [item for item in items if isinstance(item, VideoFrame)]


def notices(items: list[Media]) -> list[str]:
    return [item.code for item in items if isinstance(item, SourceNotice)]


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.integers(1, 6000), min_size=1, max_size=12), st.floats(-1e9, 1e9))
def test_any_pieces_from_any_first_time_give_the_same_sound(
    lengths: list[int], first_s: float
) -> None:
    sound = noise(sum(lengths) / SAMPLE_RATE)

    async def push() -> list[Media]:
        source = PushedSource("a", has_audio=True, has_video=False)
        taking = asyncio.create_task(take(source))
        for start, stop in itertools.pairwise([0, *itertools.accumulate(lengths)]):
            await source.audio(first_s + start / SAMPLE_RATE, sound[start:stop])
        await source.end()
        return await taking

    items = asyncio.run(push())
    assert np.array_equal(heard(items), sound.astype(np.float32) / 32768)
    assert notices(items) == []


async def pushed(*pieces: tuple[float, Pcm]) -> list[Media]:
    source = PushedSource("a", has_audio=True, has_video=False)
    taking = asyncio.create_task(take(source))
    for time_s, sound in pieces:
        await source.audio(time_s, sound)
    await source.end()
    return await taking


async def test_a_gap_becomes_silence_and_is_told() -> None:
    items = await pushed((0.0, noise(1)), (3.0, noise(1)))
    sound = heard(items)
    assert notices(items) == ["audio.gap"]
    assert len(sound) == 4 * SAMPLE_RATE
    assert not sound[SAMPLE_RATE : 3 * SAMPLE_RATE].any()
    assert np.array_equal(sound[3 * SAMPLE_RATE :], sound[:SAMPLE_RATE])


async def test_the_gaps_of_a_client_that_is_silent_between_words_are_summed_up() -> None:
    """Discontinuous transmission: 38 gaps in 40 s."""
    times = [n * 1.05 for n in range(39)]
    items = await pushed(
        (0.0, noise(0.5)), (0.5, noise(0.5)), *((1 + t, noise(0.6)) for t in times)
    )
    told = [item.message for item in items if isinstance(item, SourceNotice)]
    assert len(told) == 2
    assert "no sound for 0.45 s" in told[0]
    assert "no sound 37 more times, 16.7 s in all" in told[1]


@pytest.mark.parametrize("seconds", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("rate", [8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000])
async def test_sound_of_another_rate_is_one_error_that_tells_the_rate(
    rate: int, seconds: float
) -> None:
    source = PushedSource("a", has_audio=True, has_video=False)
    taking = asyncio.create_task(take(source))
    piece = np.zeros(round(rate * seconds), np.int16)

    async def push() -> None:
        for number in range(20):
            await source.audio(7 + number * seconds, piece)

    with pytest.raises(UsageError, match=f"do not agree: {rate} samples .* {rate / 1000:g} kHz"):
        await push()
    await source.aclose()
    assert notices(await taking) == []


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (0.0, "the times do not go on: send the second at which each piece begins"),
        (-0.02, "the times do not go on"),
        (20.0, "the times look like milliseconds: send seconds"),
        (20_000.0, "the times look like microseconds"),
        (20_000_000.0, "the times look like nanoseconds"),
        (320.0, "the times look like numbers of samples"),
        (960.0, "the times look like numbers of samples at 48 kHz"),
        (1800.0, "the times look like RTP's 90 000 a second"),
        (1.0, "the times count pieces: send seconds"),
        (0.08, "4000 samples came for each second, which suggests 8 kHz in 8 bits: send 16 kHz"),
    ],
)
def test_times_that_are_no_seconds_are_one_error(step: float, told: str) -> None:
    check = RateCheck()
    for number in range(ENOUGH):
        check.follow(7 + number * step, 320)
    with pytest.raises(UsageError, match=f"samples and times do not agree: {told}"):
        check.follow(7 + ENOUGH * step, 320)


def test_another_rate_is_noticed_after_pieces_that_were_lost() -> None:
    check = RateCheck()
    for number in [0, 1, 3, 5, 6, 7, 9, 10, 11, 12]:
        check.follow(number * 0.02, 960)
    with pytest.raises(UsageError, match="48000 samples came for each second"):
        check.follow(13 * 0.02, 960)


@pytest.mark.parametrize("lost", [{1}, {1, 2, 3}, {2, 3, 5, 6, 8}, {1, 4, 6, 7, 8, 9}])
async def test_a_client_that_loses_pieces_has_the_right_rate(lost: set[int]) -> None:
    pieces = [(n / 50, noise(0.02)) for n in range(100) if n not in lost]
    sound = heard(await pushed(*pieces))
    assert len(sound) == pytest.approx(2 * SAMPLE_RATE, abs=0.04 * SAMPLE_RATE)


async def test_times_of_a_wall_clock_are_no_other_rate() -> None:
    random = np.random.default_rng(4)
    times = np.maximum.accumulate(np.arange(100) / 50 + random.uniform(0, 0.03, 100))
    items = await pushed(*((float(time), noise(0.02)) for time in times))
    assert len(heard(items)) == pytest.approx(2 * SAMPLE_RATE, abs=1000)


async def test_what_overlaps_is_cut_off() -> None:
    sound = heard(await pushed((0.0, noise(2)), (1.0, noise(2))))
    assert np.array_equal(sound, np.concatenate([noise(2), noise(2)[SAMPLE_RATE:]]) / 32768)


@pytest.mark.parametrize("second_s", [1e6, -50.0])
async def test_after_a_clock_that_was_set_anew_the_sound_goes_on(second_s: float) -> None:
    items = await pushed((0.0, noise(1)), (second_s, noise(1)), (second_s + 1, noise(1)))
    assert len(heard(items)) == 3 * SAMPLE_RATE
    assert notices(items) == []


async def test_pictures_come_in_their_place_among_the_sound() -> None:
    source = PushedSource("a", has_audio=True, has_video=True)
    taking = asyncio.create_task(take(source))
    for number in range(50):  # 25 a second
        await source.jpeg(7 + number / 25, picture())
        await source.audio(7 + number / 25, noise(1 / 25))
    await source.end()
    items = await taking
    times = [
        item.stop / SAMPLE_RATE if isinstance(item, AudioBlock) else item.time for item in items
    ]
    assert times == sorted(times)
    assert [frame.time for frame in frames(items)] == pytest.approx([n / 5 for n in range(10)])
    assert len(heard(items)) == 2 * SAMPLE_RATE


async def test_pictures_alone_are_a_source_too() -> None:
    source = PushedSource("a", has_audio=False, has_video=True)
    taking = asyncio.create_task(take(source))
    for time_s in (100.0, 100.1, 100.2, 5.0, 5.2, 5.1, 5.4):  # its clock is set anew on the way
        await source.jpeg(time_s, picture())
    await source.end()
    times = [frame.time for frame in frames(await taking)]
    assert times == pytest.approx([0.0, 0.2, 0.4, 0.6])


@pytest.mark.parametrize("turned", [False, True])
async def test_pictures_are_made_small_and_upright(turned: bool) -> None:
    source = PushedSource("a", has_audio=False, has_video=True)
    await source.jpeg(0.0, picture(1200, 1600, turned))
    await source.end()
    (frame,) = frames(await take(source))
    assert frame.image.shape == (640, 480, 3)
    assert frame.scale == 2.5
    assert frame.image[:300].min() > 240
    assert frame.image[340:].max() < 15


async def test_pictures_that_cannot_be_read_are_told_once() -> None:
    source = PushedSource("a", has_audio=False, has_video=True)
    for time_s, data in ((0.0, b"no picture"), (0.2, picture()[:200]), (0.4, picture())):
        await source.jpeg(time_s, data)
    await source.end()
    items = await take(source)
    assert notices(items) == ["picture.unreadable"]
    assert [frame.time for frame in frames(items)] == [0.4]


async def test_pictures_that_are_too_big_are_told_once_and_never_decoded() -> None:
    source = PushedSource("a", has_audio=False, has_video=True, max_frame_mpx=0.1)
    whole = picture(640, 480)
    head = whole[: whole.index(b"\xff\xda")]  # its size is known, but there is nothing to decode
    for time_s, data in ((0.0, head), (0.2, whole), (0.4, picture())):
        await source.jpeg(time_s, data)
    await source.end()
    items = await take(source)
    assert notices(items) == ["picture.too_big"]
    assert [frame.time for frame in frames(items)] == [0.4]


async def test_a_picture_of_endless_scans_is_passed_over() -> None:
    """Some hundred kilobytes that would keep a thread busy for minutes."""
    data = io.BytesIO()
    PIL.Image.new("L", (4000, 4000)).save(data, "JPEG", progressive=True)
    whole = data.getvalue()
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    source = PushedSource("a", has_audio=False, has_video=True)
    began = time.process_time()
    await source.jpeg(0.0, whole[:-2] + scan * 3000 + whole[-2:])
    await source.jpeg(0.2, whole)
    await source.end()
    items = await take(source)
    assert notices(items) == ["picture.unreadable"]
    assert [frame.time for frame in frames(items)] == [0.2]
    assert time.process_time() - began < 5


async def test_while_the_consumer_is_behind_sound_waits_and_pictures_go() -> None:
    source = PushedSource("a", has_audio=True, has_video=True)
    second = noise(1)

    async def push() -> None:
        for number in range(10):
            await source.jpeg(float(number), picture())
            await source.audio(float(number), second)
        await source.end()

    pushing = asyncio.create_task(push())
    for _ in range(50):
        await asyncio.sleep(0.01)
    assert not pushing.done()
    assert source._queue.qsize() == HANDOVER_ITEMS
    items = await take(source)
    await pushing
    assert np.array_equal(heard(items), np.tile(second, 10).astype(np.float32) / 32768)
    assert len(frames(items)) < 10


async def test_whoever_pushes_into_a_closed_source_goes_on() -> None:
    source = PushedSource("a", has_audio=True, has_video=False)
    pushing = asyncio.create_task(source.audio(0.0, noise(60)))
    await asyncio.sleep(0.01)
    assert not pushing.done()
    await source.aclose()
    await pushing
    await source.audio(60.0, noise(60))
    await source.end()
    assert await take(source) == []
    assert await take(source) == []
