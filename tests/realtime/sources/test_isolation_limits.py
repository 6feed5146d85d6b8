"""Limits of the process that decodes, and files that name other files."""

from __future__ import annotations

import sys
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from file_server import FileServer
from file_server import serving as serving_files
from isolation import isolated
from media_server import Breaking, serving
from recordings import GENEROUS, film, follow, take, tone, write

from models.errors import SourceError, UsageError
from realtime.media import AudioBlock, Media, SourceNotice, VideoFrame
from realtime.sources import Isolation, open_source
from realtime.sources.decoding import MEMORY_FAILURES
from realtime.sources.timeline import media_time

IN_PROCESS_AND_OUT = pytest.mark.parametrize("isolation", [None, GENEROUS], ids=["in", "out"])


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits memory")


SCANT = replace(GENEROUS, memory_mb=24)
"""Less than two pictures of `huge` take."""


def huge(path: Path, pictures: int) -> Path:
    return write(path, [(0, tone(1))], frames=film(pictures / 25), size=(4000, 3000))


# --- limits ---


@pytest.mark.slow
@LINUX
async def test_a_decoder_that_takes_too_much_memory_ends_its_source(tmp_path: Path) -> None:
    path = huge(tmp_path / "a.mkv", MEMORY_FAILURES + 5)
    with pytest.raises((UsageError, SourceError), match=r"a\.mkv takes more memory"):
        await take(await isolated(path, SCANT))


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.fixture
def server(tmp_path: Path) -> Any:
    with serving_files(server := FileServer()):
        clip = write(tmp_path / "clip.ts", [(0, tone(2, 48000))], 48000, codec="mp2")
        server.files["/clip.ts"] = clip.read_bytes()
        yield server


def playlist(target: str) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n"


# --- files that name other files ---


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
