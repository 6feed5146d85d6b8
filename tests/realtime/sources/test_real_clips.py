"""The real clips as sources, and some that are made here."""

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
from talks import Talk

from realtime.media import SAMPLE_RATE

CLIPS: list[tuple[str, float, int, tuple[int, int, int] | None]] = [
    ("talker_512.mp4", 8.0, 40, (512, 512, 3)),
    ("talker_700.mp4", 6.11, 31, (640, 640, 3)),
    ("talker_portrait_hevc.mp4", 20.04, 101, (640, 360, 3)),
    ("two_people_interview.mp4", 17.54, 88, (360, 640, 3)),
    ("many_faces_1080p.mp4", 4.21, 21, (360, 640, 3)),
    ("no_face.mp4", 3.97, 20, (360, 640, 3)),
    ("speech/jfk.flac", 11.0, 0, None),
    ("speech/LJ001-0002.wav", 1.9, 0, None),
]
"""Their names, lengths in seconds, numbers of frames and what shape those have."""


@pytest.mark.slow
async def test_real_clips(shared: Path) -> None:
    for clip, seconds, frames, shape in CLIPS:
        items = await read(shared / "media" / clip)
        assert sound_of(items).size / SAMPLE_RATE == pytest.approx(seconds, abs=0.02), clip
        assert len(frames_of(items)) == frames, clip
        assert {frame.image.shape for frame in frames_of(items)} == ({shape} if shape else set())
        assert codes(items) == [], clip
    message = await refusal(str(shared / "media" / "no_audio_track.mp4"))
    assert "no_audio_track.mp4 has no sound" in message


async def test_a_film_and_a_sound_are_read_whole(talk: Talk, sentence: Talk) -> None:
    items = await read(talk.path)
    assert sound_of(items).size / SAMPLE_RATE == pytest.approx(talk.duration, abs=0.05)
    assert len(frames_of(items)) == pytest.approx(5 * talk.duration, abs=1)
    assert {frame.image.shape for frame in frames_of(items)} == {(*talk.size[::-1], 3)}
    assert codes(items) == []
    sound = sound_of(await read(sentence.path))
    assert sound.size / SAMPLE_RATE == pytest.approx(sentence.duration, abs=0.001)
