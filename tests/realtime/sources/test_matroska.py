"""Whether a Matroska file is whole, told from how it begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from recordings import film, tone, write

from realtime.sources.matroska import HEAD_BYTES, is_whole


def recorded(tmp_path: Path, suffix: str, **options: str) -> bytes:
    codecs = {"mkv": ("aac", "mpeg4"), "webm": ("libopus", "libvpx")}[suffix]
    path = write(
        tmp_path / f"a.{suffix}",
        [(0, tone(1, 48000))],
        48000,
        codec=codecs[0],
        frames=film(1),
        video_codec=codecs[1],
        options=options,
    )
    return path.read_bytes()


@pytest.mark.parametrize("suffix", ["mkv", "webm"])
def test_a_file_that_lost_its_end_is_not_whole(tmp_path: Path, suffix: str) -> None:
    data = recorded(tmp_path, suffix)
    assert is_whole(data[:HEAD_BYTES], len(data))
    assert not is_whole(data[:HEAD_BYTES], len(data) - 1)
    assert is_whole(data[:HEAD_BYTES], len(data) + 100)  # something was added


def test_a_recorder_that_does_not_know_the_size_is_believed(tmp_path: Path) -> None:
    data = recorded(tmp_path, "webm", live="1")
    assert is_whole(data[:HEAD_BYTES], len(data) // 2)


@pytest.mark.parametrize("head", [b"", b"\x1a\x45", bytes(4096), b"\xff" * 4096, b"\x00" * 20])
def test_what_is_no_matroska_is_left_to_the_demuxer(head: bytes) -> None:
    assert is_whole(head, len(head))
