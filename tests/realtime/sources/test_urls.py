"""Sources by URL: files, streams and cameras, and servers that fail."""

from __future__ import annotations

import socket
import time
from contextlib import aclosing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from media_server import Breaking, Files, serving
from recordings import (
    check,
    film,
    follow,
    frames_of,
    read,
    refusal,
    resampled,
    sound_of,
    tone,
    write,
)
from rtsp_server import TONE_S, rtsp_camera

from models.errors import SourceError
from realtime.media import SAMPLE_RATE, Media
from realtime.sources import open_source


async def test_a_file_over_http_is_that_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [(0, tone(2))], frames=film(2))
    with serving(partial(Files, directory=str(tmp_path))) as url:
        items = await read(f"{url}/a.mkv")
        message = await refusal(f"{url.replace('//', '//ann:secret@')}/b.mkv")
    assert np.array_equal(sound_of(items), sound_of(await read(path)))
    assert len(frames_of(items)) == 10
    assert "404" in message
    assert "secret" not in message


@pytest.mark.slow
async def test_what_a_browser_recorded_is_a_recording_over_http_too(tmp_path: Path) -> None:
    """It has neither duration nor index, and the size of its segment is unknown."""
    write(
        tmp_path / "a.webm",
        [(0, tone(3, 48000))],
        48000,
        codec="libopus",
        frames=film(3),
        video_codec="libvpx",
        options={"live": "1"},
    )
    with serving(partial(Files, directory=str(tmp_path))) as url:
        async with aclosing(await open_source(f"{url}/a.webm", "fast")) as source:
            assert (source.live, source.duration) == (False, None)
        items = await read(f"{url}/a.webm")
    assert sound_of(items).size / SAMPLE_RATE == pytest.approx(3, abs=0.05)


async def test_an_unreachable_url_is_refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for scheme in ("http", "rtsp"):
        message = await refusal(f"{scheme}://127.0.0.1:{port}/a.mp4")
        assert "connection refused" in message


@pytest.mark.slow
async def test_a_server_that_answers_and_sends_nothing_is_refused_in_time() -> None:
    handler = type("Hanging", (Breaking,), {"data": b"", "hang": True})
    with serving(handler) as url:
        assert "did not answer within 1 s" in await refusal(f"{url}/live", timeout_s=1.0)


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
async def test_a_server_that_never_answers_is_refused_in_time(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.perf_counter()
        url = f"{scheme}://127.0.0.1:{mute.getsockname()[1]}/a.mp4"
        assert "did not answer within 1 s" in await refusal(url, timeout_s=1.0)
        assert time.perf_counter() - began < 60  # however busy the machine is


@pytest.mark.slow
async def test_a_stream_that_falls_silent_ends_with_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ts", [(0, tone(5, 48000))], 48000, codec="mp2")
    handler = type("Hanging", (Breaking,), {"data": path.read_bytes(), "hang": True})
    items: list[Media] = []
    with serving(handler) as url:
        async with aclosing(await open_source(f"{url}/live", timeout_s=2)) as source:
            assert source.live
            with pytest.raises(SourceError, match="broke off: no answer in time"):
                await follow(source, items)
    assert sound_of(items).size / SAMPLE_RATE > 4


@pytest.mark.slow
async def test_an_rtsp_stream_is_live() -> None:
    items: list[Media] = []
    with rtsp_camera() as url:
        async with aclosing(await open_source(url, "fast", timeout_s=5)) as source:
            assert (source.live, source.duration, source.has_video) == (True, None, False)
            await follow(source, items)
    check(items)
    heard = sound_of(items)
    assert len(heard) == TONE_S * SAMPLE_RATE
    assert np.sqrt(np.mean((heard - resampled(tone(TONE_S, 8000), 8000)) ** 2)) < 0.01
