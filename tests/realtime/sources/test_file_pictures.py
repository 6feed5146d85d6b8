"""Pictures of files: which are kept, upright, in shape and true to their time."""

from __future__ import annotations

import asyncio
import gc
import struct
import time
from collections.abc import Iterator
from contextlib import aclosing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from recordings import (
    codes,
    film,
    frames_of,
    read,
    sound_of,
    tone,
    write,
)

from realtime.media import SAMPLE_RATE, FrameThinner, Media
from realtime.sources import open_source
from realtime.sources.decoding import MediaReader


async def test_frames_are_thinned_and_true_to_their_time(tmp_path: Path) -> None:
    items = await read(write(tmp_path / "a.mkv", [(0, tone(4))], frames=film(4)))
    frames = frames_of(items)
    assert [round(frame.time, 3) for frame in frames] == [n / 5 for n in range(20)]
    for n, frame in enumerate(frames):
        assert frame.image.shape == (120, 160, 3)
        assert frame.image.mean() == pytest.approx(n * 2 + 20, abs=3)


@pytest.mark.slow
async def test_of_pictures_coded_alone_those_that_are_kept_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = 0
    see = MediaReader._see

    def counting(reader: MediaReader, picture: av.VideoFrame) -> Iterator[Media]:
        nonlocal decoded
        decoded += 1
        return see(reader, picture)

    monkeypatch.setattr(MediaReader, "_see", counting)
    clip = write(tmp_path / "a.mkv", [(0, tone(20))], frames=film(20), video_codec="mjpeg")
    frames = frames_of(await read(clip, thinner=FrameThinner(film_rate=0)))
    assert [round(frame.time, 3) for frame in frames] == [n / 5 for n in range(100)]
    for n, frame in enumerate(frames):
        assert frame.image.mean() == pytest.approx(n * 2 + 20, abs=3)
    assert decoded < 250  # of 500: some are on their way when the first of their slot is there


async def test_a_variable_frame_rate(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.51, 0.52, 1.9, 2.0, 2.35, 2.9]
    frames = [(time, (100, 100, 100)) for time in times]
    items = await read(write(tmp_path / "a.mkv", [(0, tone(3))], frames=frames))
    assert [round(f.time, 3) for f in frames_of(items)] == [0.0, 0.5, 1.9, 2.0, 2.35, 2.9]


HALVES = np.array([[[200, 0, 0], [0, 0, 200]]], np.uint8)  # red left, blue right


def write_halves(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """A mp4 of 320 x 160, red left, blue right, to be shown through the matrix (a, b, c, d)."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 320, 160, "yuv420p"
        audio = container.add_stream("aac", rate=16000, layout="mono")
        picture = np.ascontiguousarray(HALVES.repeat(160, 0).repeat(160, 1))
        for _ in range(10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
        sound = av.AudioFrame.from_ndarray(tone(0.4), "fltp", "mono")
        sound.sample_rate = 16000
        container.mux(audio.encode(sound))
        for stream in (video, audio):
            container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # the matrix in the first track's header
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("matrix", "red"),
    [
        ((1, 0, 0, 1), "left"),
        ((-1, 0, 0, -1), "right"),  # turned by 180 degrees
        ((-1, 0, 0, 1), "right"),  # mirrored
        ((0, 1, -1, 0), "top"),  # turned clockwise, as phones do it
        ((0, -1, 1, 0), "bottom"),
        ((0, 1, 1, 0), "top"),  # mirrored and turned
    ],
)
async def test_pictures_are_upright(
    tmp_path: Path, matrix: tuple[int, int, int, int], red: str
) -> None:
    items = await read(write_halves(tmp_path / "a.mp4", matrix))
    frame = frames_of(items)[0]
    image = frame.image
    height, width = image.shape[:2]
    assert (width, height) == ((320, 160) if red in ("left", "right") else (160, 320))
    assert frame.scale == 1.0
    part = {
        "left": image[:, : width // 2 - 8],
        "right": image[:, width // 2 + 8 :],
        "top": image[: height // 2 - 8],
        "bottom": image[height // 2 + 8 :],
    }[red]
    assert part.mean(axis=(0, 1)) == pytest.approx([200, 0, 0], abs=12)


@pytest.mark.slow
async def test_decoded_pictures_are_let_go_without_the_collector_of_cycles(tmp_path: Path) -> None:
    def alive() -> list[object]:
        return [one for one in gc.get_objects() if isinstance(one, av.VideoFrame)]

    path = write_halves(tmp_path / "a.mp4", (0, 1, -1, 0))
    gc.collect()
    gc.disable()
    try:
        of_others = {id(one): one for one in alive()}  # held, so that no other gets their number
        assert frames_of(await read(path))
        deadline = time.monotonic() + 10
        while left := [one for one in alive() if id(one) not in of_others]:
            assert time.monotonic() < deadline, left
            left.clear()
            await asyncio.sleep(0.01)  # the decoder's own picture goes when its thread ends
    finally:
        gc.enable()


async def test_pixels_are_square(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mkv",
        [(0, tone(1))],
        frames=film(1),
        size=(720, 576),
        aspect=Fraction(16, 11),
    )
    frame = frames_of(await read(path))[0]
    shown = 720 * 16 / 11
    assert frame.image.shape[1] == 640
    assert frame.image.shape[0] == pytest.approx(576 * 640 / shown, abs=1)
    assert frame.scale == pytest.approx(shown / 640, rel=0.001)


async def test_cover_art_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        audio = container.add_stream("aac", rate=16000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic.value
        sound = av.AudioFrame.from_ndarray(tone(1), "fltp", "mono")
        sound.sample_rate = 16000
        picture = np.zeros((64, 64, 3), np.uint8)
        container.mux(cover.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(audio.encode(sound))
        container.mux(audio.encode())
    async with aclosing(await open_source(str(path), "fast")) as source:
        assert not source.has_video
    assert frames_of(await read(path)) == []


@pytest.mark.parametrize(
    ("suffix", "sound_codec", "video_codec"),
    [
        ("mp4", "aac", "libx264"),
        ("mov", "pcm_s16le", "mpeg4"),
        ("mkv", "libopus", "libx264"),
        ("webm", "libopus", "libvpx"),
        ("avi", "libmp3lame", "libx264"),
        ("mpg", "mp2", "mpeg2video"),
        ("ts", "aac", "libx264"),
    ],
)
async def test_containers_of_video(
    tmp_path: Path, suffix: str, sound_codec: str, video_codec: str
) -> None:
    path = write(
        tmp_path / f"a.{suffix}",
        [(0, tone(3, 48000))],
        48000,
        codec=sound_codec,
        frames=film(3),
        video_codec=video_codec,
    )
    items = await read(path)
    assert sound_of(items).size / SAMPLE_RATE == pytest.approx(3, abs=0.15)
    assert len(frames_of(items)) in (15, 16)
    assert codes(items) == []
    for frame in frames_of(items):
        # Ten levels a second; AVI knows the times of frames to two frames only.
        assert frame.image.mean() == pytest.approx(frame.time * 10 + 20, abs=4)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "libmp3lame")]
)
async def test_containers_of_sound(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write(tmp_path / f"a.{suffix}", [(0, tone(3, 48000))], 48000, codec=codec)
    async with aclosing(await open_source(str(path), "fast")) as source:
        assert (source.name, source.has_audio, source.has_video) == (path.name, True, False)
        assert source.duration == pytest.approx(3, abs=0.1)
    assert sound_of(await read(path)).size / SAMPLE_RATE == pytest.approx(3, abs=0.1)
