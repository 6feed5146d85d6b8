"""Files that cannot be opened, and files that break in the middle."""

from __future__ import annotations

import os
import sys
from contextlib import aclosing
from pathlib import Path

import av
import numpy as np
import pytest
from recordings import (
    check,
    codes,
    film,
    follow,
    read,
    refusal,
    sound_of,
    tone,
    write,
)

from models.errors import SourceError
from realtime.media import SAMPLE_RATE, Media
from realtime.sources import open_source

# --- what cannot be opened ---


async def test_files_that_cannot_be_opened(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text, empty, picture = (tmp_path / name for name in ("text.mp4", "empty.mp4", "a.png"))
    text.write_text("This is no video. " * 1000)
    empty.touch()
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (tmp_path / "notes.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    silent = write(tmp_path / "silent.mp4", frames=film(1))
    assert "missing.mp4 does not exist: check" in await refusal(str(tmp_path / "missing.mp4"))
    assert "is a folder: name a file in it" in await refusal(str(tmp_path))
    assert "text.mp4 is not a sound or video file" in await refusal(str(text))
    assert "empty.mp4 is empty (0 bytes)" in await refusal(str(empty))
    assert "a.png" in await refusal(str(picture))
    assert "notes.srt is not a sound or video file" in await refusal(str(tmp_path / "notes.srt"))
    assert "silent.mp4 has no sound: give" in await refusal(str(silent))
    unheard = write(tmp_path / "unheard.mkv", [(0, tone(1))], 48_000, codec="libopus")
    unheard.write_bytes(unheard.read_bytes().replace(b"A_OPUS", b"A_ODDS"))
    assert "unheard.mkv is in a format that cannot be decoded" in await refusal(str(unheard))
    assert "cannot be opened" in await refusal("a\0b")
    assert "ftp:// cannot be opened: give a file" in await refusal("ftp://example.org/a.mp4")
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="this user may read everything"
)
async def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(1))])
    path.chmod(0)
    assert "may not be read: change its permissions" in await refusal(str(path))


async def test_a_colon_in_a_name_is_no_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no colons in names")
    write(tmp_path / "a.wav", [(0, tone(1))]).rename(tmp_path / "http:a.wav")
    monkeypatch.chdir(tmp_path)
    assert len(sound_of(await read("http:a.wav"))) == SAMPLE_RATE


def cut(path: Path, part: float) -> Path:
    data = path.read_bytes()
    short = path.with_name(f"cut.{path.name}")
    short.write_bytes(data[: int(len(data) * part)])
    return short


# --- what breaks midway ---


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "aac"), ("mkv", "aac"), ("flac", "flac")])
async def test_a_file_cut_off_in_the_middle(
    tmp_path: Path, suffix: str, codec: str, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = write(
        tmp_path / f"a.{suffix}",
        [(0, tone(6, 44100))],
        44100,
        codec=codec,
        frames=() if suffix == "flac" else film(6),
        options={"movflags": "faststart"},
    )
    expected = await read(whole)
    items: list[Media] = []
    async with aclosing(await open_source(str(cut(whole, 0.6)), "fast")) as source:
        with pytest.raises(SourceError, match=r"is cut off: its header promises 6\.\d s"):
            await follow(source, items)
        with pytest.raises(SourceError):  # and says so again to who asks again
            await follow(source, items)
    check(items)
    heard = sound_of(items)
    assert 2 * SAMPLE_RATE < len(heard) < 5 * SAMPLE_RATE
    assert np.array_equal(heard[:-1600], sound_of(expected)[: len(heard) - 1600])
    assert capfd.readouterr().err == ""


async def test_a_file_cut_off_before_its_header(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.mp4", [(0, tone(3))], codec="aac", frames=film(3))
    message = await refusal(str(cut(whole, 0.5)))
    assert "copied whole" in message


async def test_of_sound_in_which_nothing_can_be_decoded_no_end_is_missing(tmp_path: Path) -> None:
    """Opus with a matrix (channel mapping family 3), of which FFmpeg can make nothing."""
    plain = write(tmp_path / "a.webm", [(0, tone(2, 48000))], 48000, codec="libopus")
    path = tmp_path / "b.webm"
    with av.open(str(plain)) as container, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(container.streams.audio[0])
        head = bytes(container.streams.audio[0].codec_context.extradata or b"")
        stream.codec_context.extradata = head[:18] + b"\3\1\0\xff\x7f"
        for packet in container.demux():
            if packet.pts is not None:
                packet.stream = stream
                out.mux(packet)
    items: list[Media] = []
    with pytest.raises(SourceError, match=r"none of the sound in b\.webm could be decoded"):
        async with aclosing(await open_source(str(path), "fast")) as source:
            await follow(source, items)
    assert codes(items) == ["source.corrupt"]


async def test_a_damaged_packet_is_passed_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = write(tmp_path / "a.mp4", [(0, tone(6, 44100))], 44100, codec="aac")
    expected = sound_of(await read(whole))
    with av.open(str(whole)) as container:
        packets = [p for p in container.demux() if p.pts is not None and 2 <= p.pts / 44100 < 2.2]
        damaged = [(p.pos, p.size) for p in packets]
    data = bytearray(whole.read_bytes())
    for position, size in damaged:
        data[position : position + size] = b"\xff" * size
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(data)
    items = await read(bad)
    assert codes(items).count("source.corrupt") == 1
    heard = sound_of(items)
    assert len(heard) == pytest.approx(len(expected), abs=2)
    assert not heard[round(2.06 * SAMPLE_RATE) : round(2.14 * SAMPLE_RATE)].any()
    # What comes after the damage sounds when it should, to half a sample.
    assert np.sqrt(np.mean((heard[40000:90000] - expected[40000:90000]) ** 2)) < 0.03
    assert capfd.readouterr().err == ""


async def test_a_stream_that_appears_midway_is_passed_over(tmp_path: Path) -> None:
    sound = write(tmp_path / "a.flv", [(0, tone(12, 44100))], 44100, codec="aac")
    later = write(tmp_path / "b.flv", frames=film(2), video_codec="flv1")
    both = tmp_path / "both.flv"
    both.write_bytes(sound.read_bytes() + later.read_bytes()[13:])  # without its header
    assert np.array_equal(sound_of(await read(both)), sound_of(await read(sound)))
