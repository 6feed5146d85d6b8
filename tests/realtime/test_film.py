"""The film of a session, as any player reads it."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import pytest
from checkout import REPO
from recordings import tone
from talks import Talk

from realtime import film as film_module
from realtime.film import FilmWriter
from realtime.media import SAMPLE_RATE, AudioBlock, Media, Samples, VideoFrame
from realtime.sources import Source, open_source

WHITE, GREY = 255, 100


class Items(Source):
    """A source of given media."""

    def __init__(self, items: Sequence[Media], *, live: bool = False) -> None:
        self.name = "items"
        self.live = live
        self.has_audio = any(isinstance(item, AudioBlock) for item in items)
        self.has_video = any(isinstance(item, VideoFrame) for item in items)
        self._items = items

    async def __aiter__(self) -> AsyncIterator[Media]:
        for item in self._items:
            yield item

    async def aclose(self) -> None:
        """Nothing is held."""


def picture(at: float, light: int, size: tuple[int, int] = (320, 240)) -> VideoFrame:
    """A picture of one grey, `size` wide and high."""
    return VideoFrame(at, np.full((size[1], size[0], 3), light, np.uint8))


def sound(start: float, stop: float, *, hz: float = 0) -> list[AudioBlock]:
    """Silence or a tone, in blocks of 0.1 s."""
    samples = tone(stop - start, hz=hz)[0] if hz else np.zeros(round((stop - start) * SAMPLE_RATE))
    first, block = round(start * SAMPLE_RATE), SAMPLE_RATE // 10
    return [
        AudioBlock(first + n, samples[n : n + block].astype(np.float32))
        for n in range(0, len(samples), block)
    ]


def mixed(*items: Media) -> list[Media]:
    """In the order of their times."""
    return sorted(
        items, key=lambda x: x.start / SAMPLE_RATE if isinstance(x, AudioBlock) else x.time
    )


class Opened(BytesIO):
    """A file that can be looked into when it was closed."""

    def close(self) -> None:
        """Keep what is in it."""


async def filmed(source: Source, file: BinaryIO | None = None) -> tuple[BinaryIO, list[Exception]]:
    """The film of all that a source gives, and what failed."""
    file, problems = file or Opened(), []
    film = FilmWriter(lambda: file, source, problems.append)
    async for item in source:
        await film.take(item)
    await film.aclose()
    await asyncio.sleep(0)
    return file, problems


@dataclass(frozen=True)
class Played:
    """What a player makes of a film; times in seconds.

    Attributes:
        pictures: when each is shown, and how light its middle is.
        size: width and height.
        samples: float32 (n,), from time 0 on, 16 kHz mono.
    """

    duration: float
    pictures: list[tuple[float, int]]
    size: tuple[int, int]
    samples: Samples


def played(file: BinaryIO | Path) -> Played:
    if isinstance(file, Path):
        file = file.open("rb")
    file.seek(0)
    with av.open(file) as container:
        pictures, heard, size = [], [np.zeros(0, np.float32)], (0, 0)
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                light = frame.to_ndarray(format="gray")[frame.height // 2, frame.width // 2]
                pictures.append((round(frame.time, 3), int(light)))
                size = frame.width, frame.height
            else:
                assert frame.time * SAMPLE_RATE == pytest.approx(sum(map(len, heard)), abs=1)
                heard.append(frame.to_ndarray()[0])
        assert container.duration is not None
        return Played(container.duration / 1e6, pictures, size, np.concatenate(heard))


def loud(samples: Samples) -> tuple[float, float]:
    """From when to when there is sound, in seconds."""
    (at,) = np.nonzero(np.abs(samples) > 0.1)
    return float(at[0]) / SAMPLE_RATE, float(at[-1]) / SAMPLE_RATE


@pytest.mark.asyncio
async def test_the_times_of_a_talk_are_those_of_its_film(talk: Talk) -> None:
    source = await open_source(str(talk.path), "fast")
    items = [item async for item in source]
    await source.aclose()
    given = np.concatenate([item.samples for item in items if isinstance(item, AudioBlock)])
    times = [round(item.time, 3) for item in items if isinstance(item, VideoFrame)]

    file, problems = await filmed(Items(items))
    film = played(file)
    assert problems == []
    assert film.duration == pytest.approx(talk.duration, abs=0.2)
    assert [at for at, _ in film.pictures] == times
    assert film.size == talk.size
    here = slice(SAMPLE_RATE // 10, len(given))  # how a film begins, no encoder of AAC knows
    assert np.corrcoef(film.samples[here], given[here])[0, 1] > 0.95, "to the sample"


def boxes(data: bytes) -> list[str]:
    """The kinds of the boxes at the top of an MP4."""
    found, at = [], 0
    while at < len(data):
        found.append(data[at + 4 : at + 8].decode())
        at += int.from_bytes(data[at : at + 4], "big")
    return found


@pytest.mark.asyncio
async def test_a_film_that_is_closed_is_an_ordinary_one() -> None:
    """One with fragments tells nobody how long it is who has not looked for all of them."""
    file, _ = await filmed(Items(mixed(*sound(0, 10), *[picture(n, n) for n in range(10)])))
    file.seek(0)
    assert set(boxes(file.read())) == {"ftyp", "free", "mdat", "moov"}


@pytest.mark.asyncio
async def test_sound_alone_is_a_film() -> None:
    file, _ = await filmed(Items([*sound(0, 1), *sound(1, 1.5, hz=440), *sound(1.5, 5)]))
    film = played(file)
    assert film.pictures == []
    assert film.duration == pytest.approx(5, abs=0.1)
    assert loud(film.samples) == pytest.approx((1, 1.5), abs=0.03)


@pytest.mark.asyncio
async def test_pictures_alone_are_a_film_with_their_own_times() -> None:
    times = [0.0, 0.2, 0.55, 3.0, 9.0]
    file, _ = await filmed(Items([picture(at, round(at * 20)) for at in times]))
    film = played(file)
    assert [at for at, _ in film.pictures] == times
    assert not len(film.samples)


@pytest.mark.asyncio
async def test_a_microphone_that_gives_nothing_costs_no_picture() -> None:
    source = Items([picture(n / 5, n) for n in range(100)])
    source.has_audio = True
    film = played((await filmed(source))[0])
    assert [at for at, _ in film.pictures] == [n / 5 for n in range(100)]


@pytest.mark.asyncio
async def test_pictures_may_begin_late_and_stay_away() -> None:
    """Until the first there is black, after the last it stays."""
    pictures = [picture(6 + n / 5, WHITE, (640, 360)) for n in range(10)]
    film = played((await filmed(Items(mixed(*sound(0, 20), *pictures))))[0])
    assert film.size == (640, 360)
    assert {light for at, light in film.pictures if at < 6} == {0}
    assert {light for at, light in film.pictures if at >= 6} == {WHITE}
    shown = [at for at, _ in film.pictures]
    assert max(np.diff(shown)) <= film_module.FRAGMENT_S + 0.1
    assert shown[-1] > 17
    assert film.duration == pytest.approx(20, abs=0.2)


@pytest.mark.asyncio
async def test_a_film_begins_with_its_first_picture_where_that_comes_soon() -> None:
    film = played((await filmed(Items(mixed(*sound(0, 5), picture(0.7, GREY)))))[0])
    assert [at for at, _ in film.pictures][:2] == [0, 0.7]
    assert film.pictures[0][1] == pytest.approx(GREY, abs=3)


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [(240, 320), (639, 481), (1280, 720), (63, 47)])
async def test_pictures_may_change_their_size(size: tuple[int, int]) -> None:
    pictures = [picture(0, GREY), picture(1, WHITE, size), picture(2, GREY)]
    film = played((await filmed(Items(mixed(*sound(0, 3), *pictures))))[0])
    assert film.size == (320, 240)
    assert [at for at, _ in film.pictures][:3] == [0, 1, 2]
    assert [x for _, x in film.pictures[:3]] == pytest.approx([GREY, WHITE, GREY], abs=3)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("size", "kept"), [((360, 640), (270, 480)), ((101, 77), (100, 76)), ((1, 1), (2, 2))]
)
async def test_a_film_is_480_pixels_high_at_most_and_has_even_sides(
    size: tuple[int, int], kept: tuple[int, int]
) -> None:
    film = played((await filmed(Items([picture(0, GREY, size), picture(1, GREY, size)])))[0])
    assert film.size == kept


@pytest.mark.asyncio
async def test_sound_that_was_left_out_is_silence() -> None:
    items = [*sound(0, 1, hz=440), *sound(4, 5, hz=440)]
    film = played((await filmed(Items(items)))[0])
    assert loud(film.samples[: 2 * SAMPLE_RATE]) == pytest.approx((0, 1), abs=0.07)
    assert loud(film.samples[2 * SAMPLE_RATE :]) == pytest.approx((2, 3), abs=0.07)


class Hangs(Opened):
    """A file on a disk that hangs for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write when the disk goes on."""
        self.go_on.wait()
        return super().write(data)


@pytest.mark.asyncio
@pytest.mark.parametrize("live", [True, False])
async def test_where_the_disk_hangs_pictures_are_left_out_first(
    live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film_module, "MAX_PICTURES", 5 * 320 * 240 * 3)
    monkeypatch.setattr(film_module, "HUNG_S", 0.5)
    items = mixed(*sound(0, 20, hz=440), *[picture(n / 5, n) for n in range(100)])
    file, source, problems = Hangs(), Items(items, live=live), list[Exception]()
    film = FilmWriter(lambda: file, source, problems.append)
    began = time.monotonic()
    for item in items:
        await film.take(item)
    assert time.monotonic() - began < 8, "nobody waits for the disk, or once"
    file.go_on.set()
    await film.aclose()
    kept = played(file)
    assert problems == []
    assert len([light for _, light in kept.pictures if light]) < 20
    assert loud(kept.samples) == pytest.approx((0, 20), abs=0.1)


@pytest.mark.asyncio
async def test_of_a_recording_at_full_speed_nothing_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(film_module, "MAX_PICTURES", 2 * 320 * 240 * 3)
    items = mixed(*sound(0, 20), *[picture(n / 5, n) for n in range(100)])
    film = played((await filmed(Items(items)))[0])
    assert [at for at, _ in film.pictures] == [n / 5 for n in range(100)]


class Full(Opened):
    """A file on a disk that is full after so many bytes."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write, if there is room."""
        if self.tell() > 20_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


@pytest.mark.asyncio
async def test_a_full_disk_ends_the_film_and_is_told_once() -> None:
    items = mixed(*sound(0, 20, hz=440), *[picture(n / 5, n) for n in range(100)])
    file, problems = await filmed(Items(items), Full())
    (problem,) = problems
    assert isinstance(problem, OSError)
    assert problem.errno == errno.ENOSPC
    film = played(file)
    assert 1 < film.duration < 10


@pytest.mark.asyncio
async def test_of_nothing_there_is_no_film() -> None:
    opened: list[str] = []
    film = FilmWriter(lambda: opened.append("a file") or Opened(), Items([]), opened.append)
    await film.aclose()
    assert opened == []


KILLED = """
import asyncio, sys
sys.path.insert(0, "tests/support")
sys.path.insert(0, "tests/realtime")
from test_film import Items, mixed, picture, sound
from realtime.film import FilmWriter

async def main():
    items = mixed(*sound(0, 20, hz=440), *[picture(n / 5, n) for n in range(100)])
    film = FilmWriter(lambda: open(sys.argv[1], "xb", buffering=0), Items(items), print)
    for item in items:
        await film.take(item)
    while film._written < film._given:
        await asyncio.sleep(0.01)
    print("written", flush=True)
    await asyncio.sleep(100)

asyncio.run(main())
"""


def test_a_film_that_a_kill_cut_off_is_played_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], cwd=REPO, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        writer.send_signal(signal.SIGKILL)
    film = played(path)
    assert 20 - 1.5 * film_module.FRAGMENT_S < film.duration <= 20
    assert film.pictures[-1][0] > 20 - 1.5 * film_module.FRAGMENT_S
    assert loud(film.samples) == pytest.approx((0, film.duration), abs=0.2)
