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
from file_server import FileServer
from file_server import serving as serving_files
from media_server import Breaking, Files, serving
from recordings import GENEROUS, film, follow, take, tone, write

from models.errors import SourceError, UsageError
from realtime.media import AudioBlock, FrameThinner, Media, SourceNotice, VideoFrame
from realtime.sources import Isolation, open_source
from realtime.sources.decoding import MEMORY_FAILURES
from realtime.sources.isolated import IsolatedSource
from realtime.sources.timeline import media_time

IN_PROCESS_AND_OUT = pytest.mark.parametrize("isolation", [None, GENEROUS], ids=["in", "out"])

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


async def isolated(path: Path | str, isolation: Isolation = GENEROUS, **options: Any) -> Any:
    source = await open_source(str(path), **{"pace": "fast", **options}, isolation=isolation)
    assert isinstance(source, IsolatedSource)
    return source


def decoders() -> list[psutil.Process]:
    """The decoding processes of this one, also those that ended and were not waited for."""
    return [
        child
        for child in psutil.Process().children()
        if child.status() == psutil.STATUS_ZOMBIE or "isolated" in " ".join(child.cmdline())
    ]


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


@pytest.mark.parametrize(
    "clip", ["talker_700.mp4", "many_faces_1080p.mp4", "speech/LJ001-0002.wav"]
)
async def test_the_media_is_that_of_a_file_source(shared: Path, clip: str) -> None:
    path = shared / "media" / clip
    plain = await open_source(str(path), "fast")
    source = await isolated(path)
    for told in ("name", "duration", "live", "has_audio", "has_video"):
        assert getattr(source, told) == getattr(plain, told)
    assert digest(await take(source)) == digest(await take(plain))


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


async def test_errors_are_those_of_a_file_source(tmp_path: Path, shared: Path) -> None:
    (tmp_path / "text.mp4").write_text("This is no video. " * 1000)
    (tmp_path / "empty.mp4").touch()
    with serving(partial(Files, directory=str(tmp_path))) as url:
        for spec in (
            str(tmp_path / "text.mp4"),
            str(tmp_path / "empty.mp4"),
            str(tmp_path / "missing.mp4"),
            str(shared / "media" / "no_audio_track.mp4"),
            "ftp://example.org/a.mp4",
            f"{url.replace('//', '//ann:secret@')}/b.mkv",
        ):
            with pytest.raises(UsageError) as plain:
                await open_source(spec, "fast")
            with pytest.raises(UsageError) as told:
                await isolated(spec)
            assert str(told.value) == str(plain.value)
            assert "secret" not in str(told.value)


async def test_a_break_midway_is_that_of_a_file_source(tmp_path: Path, shared: Path) -> None:
    whole = (shared / "media" / "talker_grid_120s.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
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


async def test_a_consumer_that_is_slow_is_no_stuck_decoder(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(20))])
    async with aclosing(await isolated(path, replace(GENEROUS, stall_s=2))) as source:
        await asyncio.sleep(3)
        items: list[Media] = []
        await follow(source, items)
    assert isinstance(items[-1], AudioBlock)
    assert items[-1].stop == 20 * 16_000


@posix
async def test_ctrl_c_is_for_the_program_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(60))])
    async with aclosing(await isolated(path)) as source:
        os.kill(source._process.pid, signal.SIGINT)
        items: list[Media] = []
        await follow(source, items)
    assert digest(items) == digest(await take(await open_source(str(path), "fast")))


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
    assert [(r.levelname, r.message) for r in caplog.records] == [("WARNING", str(told.value))]
    assert capfd.readouterr().err == ""


# --- limits ---


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits memory")

SCANT = replace(GENEROUS, memory_mb=24)
"""Less than two pictures of `huge` take."""


def huge(path: Path, pictures: int) -> Path:
    return write(path, [(0, tone(1))], frames=film(pictures / 25), size=(4000, 3000))


@LINUX
async def test_a_decoder_that_takes_too_much_memory_ends_its_source(tmp_path: Path) -> None:
    path = huge(tmp_path / "a.mkv", MEMORY_FAILURES + 5)
    with pytest.raises((UsageError, SourceError), match=r"a\.mkv takes more memory"):
        await take(await isolated(path, SCANT))


@LINUX
async def test_some_pictures_that_take_too_much_memory_are_passed_over(tmp_path: Path) -> None:
    path = huge(tmp_path / "a.mkv", MEMORY_FAILURES // 2)
    items = await take(await isolated(path, SCANT))
    assert [item.code for item in items if isinstance(item, SourceNotice)] == ["source.corrupt"]
    assert [item for item in items if isinstance(item, AudioBlock)][-1].stop == 16_000
    assert not [item for item in items if isinstance(item, VideoFrame)]
    whole = await take(await isolated(path))
    assert [item for item in whole if isinstance(item, VideoFrame)]


@IN_PROCESS_AND_OUT
async def test_a_size_that_is_damaged_is_no_lack_of_memory(
    tmp_path: Path, isolation: Isolation | None
) -> None:
    path = write(tmp_path / "a.mp4", [(0, tone(4))], codec="aac", frames=film(4))
    data = bytearray(path.read_bytes())
    size = data.index(b"stsz") + 16 + 4 * 30  # of the 30th packet
    data[size] = 0x20  # FFmpeg finds no memory for that, however much there is
    path.write_bytes(data)
    source = await open_source(str(path), "fast", isolation=isolation)
    with pytest.raises(SourceError, match=r"a\.mp4 broke off: it is damaged and cannot be read"):
        await take(source)


async def test_pictures_that_are_too_large_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [(0, tone(1))], frames=film(1), size=(640, 480))
    with pytest.raises(UsageError, match=r"a\.mkv has pictures of 640 x 480, .*make them smaller"):
        await isolated(path, replace(GENEROUS, max_frame_mpx=0.3))
    assert await take(await isolated(path, replace(GENEROUS, max_frame_mpx=0.31)))


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video", "mpeg4"])
async def test_pictures_that_become_too_large_end_the_source(tmp_path: Path, codec: str) -> None:
    parts = []
    for size in ((320, 240), (640, 480)):
        path = write(
            tmp_path / f"{size[0]}.ts",
            [(0, tone(3, 48000))],
            48000,
            codec="mp2",
            frames=film(3),
            size=size,
            video_codec=codec,
        )
        parts.append(path.read_bytes())
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(parts))
    items: list[Media] = []
    async with aclosing(await isolated(both, replace(GENEROUS, max_frame_mpx=0.2))) as source:
        with pytest.raises(SourceError, match=r"both\.ts goes on with pictures .*too large|of 640"):
            await follow(source, items)
    assert media_time(items[-1]) > 1


async def test_a_recording_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(60))])
    with pytest.raises(UsageError, match=r"a\.wav is 0\.0 hours long, of which at most 0\.01"):
        await isolated(path, replace(GENEROUS, max_hours=0.01))


async def test_a_stream_that_goes_on_for_too_long_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ts", [(0, tone(60, 48000))], 48000, codec="mp2")
    handler = type("Endless", (Breaking,), {"data": path.read_bytes(), "hang": False})
    items: list[Media] = []
    with serving(handler) as url:
        async with aclosing(
            await isolated(f"{url}/live", replace(GENEROUS, max_hours=0.01))
        ) as source:
            assert source.live
            with pytest.raises(SourceError, match=r"goes on for more than 0\.01 hours"):
                await follow(source, items)
    assert media_time(items[-1]) == pytest.approx(36, abs=0.2)


# --- files that name other files ---


@pytest.fixture
def server(tmp_path: Path) -> Any:
    with serving_files(server := FileServer()):
        clip = write(tmp_path / "clip.ts", [(0, tone(2, 48000))], 48000, codec="mp2")
        server.files["/clip.ts"] = clip.read_bytes()
        yield server


def playlist(target: str) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n"


@IN_PROCESS_AND_OUT
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", playlist("clip.ts")),
        ("list.mp4", "ffconcat version 1.0\nfile 'clip.ts'\n"),  # whatever its name
    ],
    ids=["m3u8", "concat"],
)
async def test_a_file_makes_no_other_file_be_opened(
    tmp_path: Path, name: str, text: str, isolation: Isolation | None
) -> None:
    write(tmp_path / "clip.ts", [(0, tone(2, 48000))], 48000, codec="mp2")
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match="is not a sound or video file"):
        await open_source(str(path), "fast", isolation=isolation)


async def test_a_pattern_of_names_is_one_name(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"picture{number}.jpg").write_bytes(b"no picture")
    pattern = tmp_path / "picture%d.jpg"
    pattern.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="is not a sound or video file"):
        await open_source(str(pattern), "fast")


@IN_PROCESS_AND_OUT
async def test_a_playlist_over_http_is_played(
    server: FileServer, isolation: Isolation | None
) -> None:
    server.files["/list.m3u8"] = playlist("clip.ts").encode()
    server.files["/master.m3u8"] = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\nlist.m3u8\n"
    for name in ("list.m3u8", "master.m3u8"):
        items = await take(await open_source(f"{server.url}/{name}", "fast", isolation=isolation))
        assert media_time(items[-1]) == pytest.approx(2, abs=0.1)


async def test_a_playlist_over_http_opens_no_file_of_ours(
    tmp_path: Path, server: FileServer
) -> None:
    server.files["/list.m3u8"] = playlist(f"file://{tmp_path}/clip.ts").encode()
    with pytest.raises(UsageError, match="cannot be opened"):
        await open_source(f"{server.url}/list.m3u8", "fast")


async def _until(done: Callable[[], bool]) -> None:
    for _ in range(600):
        if done():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to that")


def _handles() -> int:
    process = psutil.Process()
    return process.num_fds() if os.name == "posix" else process.num_handles()
