"""How fast a file comes, who waits for whom, and that nothing is left of a stopped source."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
from recordings import (
    film,
    follow,
    read,
    source_threads,
    take,
    tone,
    write,
)

from realtime.media import AudioBlock, Media, VideoFrame
from realtime.sources import open_source
from realtime.sources.timeline import media_time


@pytest.mark.slow
async def test_both_paces_deliver_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [(0.2, tone(1.2, 44100))], 44100, frames=film(1.4))
    fast = await read(path)
    source = await open_source(str(path))
    assert source.live
    live: list[Media] = []
    began = time.perf_counter()
    async with aclosing(source):
        async for item in source:
            live.append(item)
            assert time.perf_counter() - began > media_time(item) - 0.05
    assert time.perf_counter() - began < 60  # however busy the machine is
    assert len(live) == len(fast)
    for one, other in zip(live, fast, strict=True):
        assert type(one) is type(other)
        assert media_time(one) == media_time(other)
        if isinstance(one, AudioBlock) and isinstance(other, AudioBlock):
            assert np.array_equal(one.samples, other.samples)
        if isinstance(one, VideoFrame) and isinstance(other, VideoFrame):
            assert np.array_equal(one.image, other.image)


async def threads_end() -> None:
    for thread in source_threads():  # it ends just after it has told so
        await asyncio.to_thread(thread.join, 60)
    assert source_threads() == []


async def test_a_consumer_that_waits_makes_the_reader_wait(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(60))])
    async with aclosing(await open_source(str(path), "fast")) as source:
        await asyncio.sleep(0.3)
        assert source._queue.qsize() <= source.HANDOVER_ITEMS  # type: ignore[attr-defined]
        [thread] = source_threads()
        assert thread.is_alive()
    await threads_end()


async def test_closing_ends_a_consumer_that_waits(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(60))])
    source = await open_source(str(path))
    items: list[Media] = []
    consumer = asyncio.create_task(follow(source, items))
    while not items:  # noqa: ASYNC110 - it is told by nobody
        await asyncio.sleep(0.01)
    await source.aclose()
    await source.aclose()
    await asyncio.wait_for(consumer, 60)
    assert media_time(items[-1]) < 59  # it was not played to its end
    await threads_end()


@pytest.mark.slow
async def test_a_consumer_that_is_cancelled_leaves_nothing_behind(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [(0, tone(30))], frames=film(30))
    consumer = asyncio.create_task(take(await open_source(str(path))))
    await asyncio.sleep(0.3)
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    await threads_end()


def test_importing_sources_is_cheap() -> None:
    code = "import sys, realtime.sources; print({'av', 'cv2', 'sounddevice'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
