"""Media decoded in a process of its own: the same media, and what happens when it goes wrong."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from isolation import isolated
from media_server import Files, serving
from processes import decoders
from recordings import GENEROUS, film, follow, take, tone, write

from models.errors import SourceError, UsageError
from realtime.media import AudioBlock, FrameThinner, Media, VideoFrame
from realtime.sources import open_source
from realtime.sources.isolated import IsolatedSource
from realtime.sources.timeline import media_time

posix = pytest.mark.skipif(os.name != "posix", reason="these signals are POSIX's")


def digest(items: list[Media]) -> str:
    """Of everything in `items`, to the last bit."""
    whole = hashlib.sha256()
    for item in items:
        match item:
            case AudioBlock(start, samples):
                whole.update(f"{start} {samples.dtype} {samples.shape}".encode() + samples.data)
            case VideoFrame(time, image, scale):
                whole.update(f"{time!r} {image.dtype} {image.shape} {scale!r}".encode())
                whole.update(image.tobytes())
            case notice:
                whole.update(repr(notice).encode())
    return whole.hexdigest()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Any:
    yield
    for _ in range(100):  # a thread that has told its end may have its last steps to go
        threads = [t.name for t in threading.enumerate() if t.name.startswith("source ")]
        if not threads and not decoders():
            return
        time.sleep(0.05)
    pytest.fail(f"left behind: {threads} {decoders()}")


# --- the same media ---


@pytest.mark.slow
@pytest.mark.parametrize("clip", ["talk", "other_talk", "sentence"])
async def test_the_media_is_that_of_a_file_source(
    request: pytest.FixtureRequest, clip: str
) -> None:
    path = request.getfixturevalue(clip).path
    plain = await open_source(str(path), "fast")
    source = await isolated(path)
    for told in ("name", "duration", "live", "has_audio", "has_video"):
        assert getattr(source, told) == getattr(plain, told)
    assert digest(await take(source)) == digest(await take(plain))


@pytest.mark.slow
async def test_live_pace_gives_the_same_on_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [(0, tone(1.5))], frames=film(1.5))
    source = await isolated(path, pace="live")
    assert source.live
    items: list[Media] = []
    began = time.perf_counter()
    async with aclosing(source):
        async for item in source:
            items.append(item)
            assert time.perf_counter() - began > media_time(item) - 0.05
    assert digest(items) == digest(await take(await open_source(str(path), "fast")))


async def test_arrays_may_be_written_to(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [(0, tone(1))], frames=film(1))
    for item in await take(await isolated(path)):
        if isinstance(item, AudioBlock):
            item.samples[:] = 0
        if isinstance(item, VideoFrame):
            item.image[:] = 0


async def test_gaps_and_damage_are_told_alike(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [(0, tone(1)), (1.5, tone(1))], frames=film(2))
    items = await take(await isolated(path))
    assert digest(items) == digest(await take(await open_source(str(path), "fast")))
    assert [item.code for item in items if hasattr(item, "code")] == ["audio.gap"]


@pytest.mark.slow
async def test_errors_are_those_of_a_file_source(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("This is no video. " * 1000)
    (tmp_path / "empty.mp4").touch()
    silent = write(tmp_path / "silent.mp4", frames=film(1))
    with serving(partial(Files, directory=str(tmp_path))) as url:
        for spec in (
            str(tmp_path / "text.mp4"),
            str(tmp_path / "empty.mp4"),
            str(tmp_path / "missing.mp4"),
            str(silent),
            "ftp://example.org/a.mp4",
            f"{url.replace('//', '//ann:secret@')}/b.mkv",
        ):
            with pytest.raises(UsageError) as plain:
                await open_source(spec, "fast")
            with pytest.raises(UsageError) as told:
                await isolated(spec)
            assert str(told.value) == str(plain.value)
            assert "secret" not in str(told.value)


async def test_a_break_midway_is_that_of_a_file_source(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mkv", [(0, tone(4))], frames=film(4)).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: len(whole) // 2])
    outcomes = []
    for isolation in (None, GENEROUS):
        items: list[Media] = []
        try:
            async with aclosing(await open_source(str(cut), "fast", isolation=isolation)) as source:
                await follow(source, items)
        except (UsageError, SourceError) as error:
            outcomes.append((type(error), str(error), digest(items)))
    assert outcomes[0] == outcomes[1]


def test_the_process_imports_what_decoding_needs() -> None:
    code = (
        "import sys, realtime.sources.isolated;"
        "print({'torch', 'cv2', 'transformers', 'fastapi', 'sounddevice'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- its process ---


@pytest.mark.slow
async def test_a_consumer_that_waits_makes_the_process_wait(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [(0, tone(20))], frames=film(20))
    async with aclosing(await isolated(path)) as source:
        [decoder] = decoders()
        await _until(lambda: source._queue.qsize() == source.HANDOVER_ITEMS)
        await asyncio.sleep(0.5)
        assert source._queue.qsize() == source.HANDOVER_ITEMS
        before = decoder.cpu_times().user
        await asyncio.sleep(0.5)
        assert decoder.cpu_times().user == before
    assert not decoder.is_running()


async def test_closing_ends_the_process_and_a_consumer_that_waits(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(60))])
    handles = _handles()
    source = await isolated(path, pace="live")
    items: list[Media] = []
    consumer = asyncio.create_task(follow(source, items))
    await _until(lambda: items)
    await source.aclose()
    assert decoders() == []
    await source.aclose()
    await asyncio.wait_for(consumer, 60)
    assert media_time(items[-1]) < 59  # it was not played to its end
    assert _handles() == handles


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.2])
async def test_opening_may_be_cancelled(tmp_path: Path, after_s: float) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(1))])
    opening = asyncio.create_task(isolated(path))
    await asyncio.sleep(after_s)
    opening.cancel()
    try:
        source = await opening
    except asyncio.CancelledError:
        assert opening.cancelled()
    else:  # it was open before: the machine is quick, or had no time for us
        await source.aclose()
    await _until(lambda: not decoders())


@pytest.mark.slow
@posix
@pytest.mark.parametrize(
    ("fatal", "fate"), [("SIGKILL", "was killed, .* no memory left"), ("SIGSEGV", "crashed .*-11")]
)
async def test_a_decoder_that_dies_ends_its_source_alone(
    tmp_path: Path, fatal: str, fate: str
) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(60))])
    other = await isolated(path)
    async with aclosing(await isolated(path)) as source:
        os.kill(source._process.pid, getattr(signal, fatal))
        with pytest.raises(SourceError, match=rf"a\.wav: its decoder {fate}.*convert it$"):
            await follow(source, [])
        with pytest.raises(SourceError):  # and says so again to who asks again
            await follow(source, [])
    assert digest(await take(other)) == digest(await take(await open_source(str(path), "fast")))


@pytest.mark.slow
@posix
async def test_a_decoder_that_is_stuck_is_ended(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(60))])
    async with aclosing(await isolated(path, replace(GENEROUS, stall_s=2))) as source:
        items: list[Media] = [await anext(aiter(source))]
        os.kill(source._process.pid, signal.SIGSTOP)
        with pytest.raises(SourceError, match=r"a\.wav: its decoder was stuck for 2 s"):
            await follow(source, items)
    assert 0 < len(items) < 1000


@posix
async def test_a_decoder_that_is_stuck_from_the_start_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.sources.isolated.START_S", 1.0)
    path = write(tmp_path / "a.wav", [(0, tone(1))])
    opening = asyncio.create_task(isolated(path, replace(GENEROUS, stall_s=1)))
    await _until(lambda: bool(decoders()))
    for decoder in decoders():
        decoder.suspend()
    with pytest.raises(UsageError, match=r"a\.wav: its decoder was stuck"):
        await opening
    await _until(lambda: not decoders())


@pytest.mark.slow
async def test_a_consumer_that_is_slow_is_no_stuck_decoder(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(20))])
    async with aclosing(await isolated(path, replace(GENEROUS, stall_s=2))) as source:
        await asyncio.sleep(3)
        items: list[Media] = []
        await follow(source, items)
    assert isinstance(items[-1], AudioBlock)
    assert items[-1].stop == 20 * 16_000


@pytest.mark.slow
@posix
async def test_ctrl_c_is_for_the_program_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(60))])
    async with aclosing(await isolated(path)) as source:
        os.kill(source._process.pid, signal.SIGINT)
        items: list[Media] = []
        await follow(source, items)
    assert digest(items) == digest(await take(await open_source(str(path), "fast")))


@pytest.mark.slow
def test_the_process_dies_with_its_parent(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(60))])
    code = f"""
import asyncio, sys
from realtime.sources import Isolation, open_source

async def main():
    isolation = Isolation(memory_mb=1024, max_frame_mpx=16, max_hours=2, stall_s=60)
    source = await open_source({str(path)!r}, isolation=isolation)
    print(source._process.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        decoder = psutil.Process(int(parent.stdout.readline()))
        assert decoder.is_running()
        parent.kill()
        decoder.wait(30)
        assert parent.stderr.read() == b""


async def test_a_decoder_that_fails_in_a_new_way_ends_its_source_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(1))])
    thinner = FrameThinner()
    source = IsolatedSource(
        str(path), pace="fast", thinner=thinner, timeout_s=10, isolation=GENEROUS
    )
    source._job["max_hours"] = "two\nor more"
    with pytest.raises(UsageError) as told:
        await source.start()
    expected = r"a\.wav: its decoder failed \(TypeError: .*\): check .*, or convert it"
    assert re.fullmatch(expected, str(told.value))
    logged = [(r.levelname, r.message) for r in caplog.records]
    assert logged == [("WARNING", "a decoder failed (TypeError)")], "nobody's file is named there"
    assert capfd.readouterr().err == ""


async def _until(done: Callable[[], bool]) -> None:
    for _ in range(600):
        if done():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to that")


def _handles() -> int:
    process = psutil.Process()
    return process.num_fds() if os.name == "posix" else process.num_handles()
