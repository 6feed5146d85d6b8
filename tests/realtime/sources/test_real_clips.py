"""The real clips as sources."""

from __future__ import annotations

from pathlib import Path

import pytest
from recordings import (
    codes,
    frames_of,
    read,
    refusal,
    sound_of,
)

from realtime.media import SAMPLE_RATE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clip", "seconds", "frames", "shape"),
    [
        ("talker_512.mp4", 8.0, 40, (512, 512, 3)),
        ("talker_700.mp4", 6.11, 31, (640, 640, 3)),
        ("talker_portrait_hevc.mp4", 20.04, 101, (640, 360, 3)),
        ("two_people_interview.mp4", 17.54, 88, (360, 640, 3)),
        ("many_faces_1080p.mp4", 4.21, 21, (360, 640, 3)),
        ("no_face.mp4", 3.97, 20, (360, 640, 3)),
        ("speech/jfk.flac", 11.0, 0, None),
        ("speech/LJ001-0002.wav", 1.9, 0, None),
    ],
)
async def test_real_clips(
    shared: Path, clip: str, seconds: float, frames: int, shape: tuple[int, int, int] | None
) -> None:
    items = await read(shared / "media" / clip)
    assert sound_of(items).size / SAMPLE_RATE == pytest.approx(seconds, abs=0.02)
    assert len(frames_of(items)) == frames
    assert {frame.image.shape for frame in frames_of(items)} == ({shape} if shape else set())
    assert codes(items) == []


async def test_the_clip_without_sound_is_refused(shared: Path) -> None:
    message = await refusal(str(shared / "media" / "no_audio_track.mp4"))
    assert "no_audio_track.mp4 has no sound" in message
