"""Recordings that are made for a test, and what is read of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import aclosing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from models.errors import UsageError
from realtime.media import SAMPLE_RATE, AudioBlock, Media, SourceNotice, VideoFrame
from realtime.sources import Isolation, Source, open_source
from realtime.sources.timeline import AudioTimeline, media_time

Sound = npt.NDArray[np.float32]


def tone(seconds: float, rate: int = SAMPLE_RATE, *, channels: int = 1, hz: float = 440) -> Sound:
    """float32 (channels, n): a tone and some noise, alike in every channel."""
    n = round(seconds * rate)
    noise = np.random.default_rng(7).normal(0, 0.01, n)
    wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(n) / rate) + noise
    return np.tile(wave.astype(np.float32), (channels, 1))


def as_written(sound: Sound) -> npt.NDArray[np.int16]:
    return np.round(sound * 32767).astype(np.int16)


def write(
    path: Path,
    sounds: Sequence[tuple[float, Sound]] = (),
    rate: int = SAMPLE_RATE,
    *,
    codec: str = "pcm_s16le",
    layout: str | None = None,
    frames: Sequence[tuple[float, tuple[int, int, int]]] = (),
    size: tuple[int, int] = (160, 120),
    aspect: Fraction | None = None,
    video_codec: str = "mpeg4",
    options: dict[str, str] | None = None,
) -> Path:
    """Write pieces of sound and frames of one colour, each at its time in seconds."""
    with av.open(str(path), "w", options=options or {}) as container:
        audio = video = None
        if sounds:
            layout = layout or {1: "mono", 2: "stereo", 6: "5.1"}[len(sounds[0][1])]
            audio = container.add_stream(codec, rate=rate, layout=layout)
        if frames:
            video = container.add_stream(video_codec, rate=25)
            video.width, video.height = size
            video.pix_fmt = "yuvj420p" if video_codec == "mjpeg" else "yuv420p"
            video.bit_rate = 1_000_000
            if video_codec == "mpeg4":
                video.codec_context.time_base = Fraction(1, 1000)
            if aspect is not None:
                video.codec_context.sample_aspect_ratio = aspect
        # Pieces of 20 ms, so that sound and frames are interleaved as a recorder does it.
        todo: list[tuple[float, Any]] = list(frames)
        step = audio.codec_context.frame_size or rate // 50 if audio else 1
        for start, sound in sounds:
            pieces = range(0, sound.shape[1], step)
            todo += [(start + n / rate, as_written(sound[:, n : n + step])) for n in pieces]
        for start, content in sorted(todo, key=lambda entry: entry[0]):
            if isinstance(content, tuple):
                picture = np.full((size[1], size[0], 3), content, np.uint8)
                frame = av.VideoFrame.from_ndarray(picture)
                frame.pts, frame.time_base = round(start * 1000), Fraction(1, 1000)
                container.mux(video.encode(frame))
            else:
                packed = content.T.reshape(1, -1)
                piece = av.AudioFrame.from_ndarray(packed, "s16", layout)
                piece.sample_rate, piece.pts = rate, round(start * rate)
                piece.time_base = Fraction(1, rate)
                container.mux(audio.encode(piece))
        for stream in (audio, video):
            if stream is not None:
                container.mux(stream.encode())
    return path


def film(seconds: float, start: float = 0.0) -> list[tuple[float, tuple[int, int, int]]]:
    """25 frames a second; the brightness tells the time, 10 levels a second."""
    return [(start + n / 25, (n // 5 * 2 + 20,) * 3) for n in range(round(seconds * 25))]


async def take(source: Source) -> list[Media]:
    items: list[Media] = []
    async with aclosing(source):
        await follow(source, items)
    return items


async def follow(source: Source, items: list[Media]) -> None:
    async for item in source:
        items.append(item)


async def read(path: Path | str, **options: Any) -> list[Media]:
    """All of a file, as fast as possible; checks what holds for every source."""
    items = await take(await open_source(str(path), "fast", **options))
    check(items)
    return items


def check(items: list[Media]) -> None:
    blocks = [item for item in items if isinstance(item, AudioBlock)]
    assert [b.start for b in blocks] == [0, *(b.stop for b in blocks[:-1])]
    assert all(b.samples.dtype == np.float32 and b.samples.ndim == 1 for b in blocks)
    assert all(0.02 <= len(b.samples) / SAMPLE_RATE <= 0.06 for b in blocks[:-1])
    times = [media_time(item) for item in items]
    assert times == sorted(times)


def sound_of(items: list[Media]) -> Sound:
    blocks = [item.samples for item in items if isinstance(item, AudioBlock)]
    return np.concatenate([np.empty(0, np.float32), *blocks])


def frames_of(items: list[Media]) -> list[VideoFrame]:
    return [item for item in items if isinstance(item, VideoFrame)]


def codes(items: list[Media]) -> list[str]:
    return [item.code for item in items if isinstance(item, SourceNotice)]


def resampled(sound: Sound, rate: int) -> Sound:
    """What the whole of `sound` gives in one go, s16 as it was written."""
    timeline = AudioTimeline()
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(sound)]
    frame = av.AudioFrame.from_ndarray(as_written(sound).T.reshape(1, -1), "s16", layout)
    frame.sample_rate = rate
    return sound_of([*timeline.add(frame), *timeline.finish()])


def source_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("source ")]


async def refusal(spec: str, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        await open_source(spec, "fast", **options)
    message = str(caught.value)
    assert "\n" not in message
    await asyncio.sleep(0.05)
    assert source_threads() == []
    return message


GENEROUS = Isolation(memory_mb=1024, max_frame_mpx=16, max_hours=2, stall_s=60)
