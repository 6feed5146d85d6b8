"""Voices and faces are known again, and told apart."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from clips import beginning_of
from recordings import frames_of, read, sound_of

from models.faces import FaceFinder
from models.people.identity import FaceEncoder
from models.people.voices import VoiceEncoder, mel_windows
from realtime.media import SAMPLE_RATE, FrameThinner

TALKERS = ("talker_512.mp4", "talker_700.mp4", "talker_grid_120s.mp4", "talker_portrait_hevc.mp4")


@pytest.mark.parametrize(("seconds", "windows"), [(0.3, 1), (1.7, 1), (3.3, 2), (20, 3)])
def test_a_voice_is_heard_in_windows(seconds: float, windows: int) -> None:
    sound = np.random.default_rng(0).standard_normal(int(seconds * SAMPLE_RATE)).astype(np.float32)
    assert mel_windows(sound).shape == (windows, 160, 40)


def test_how_loud_quiet_speech_is_does_not_matter() -> None:
    sound = np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE).astype(np.float32) * 0.01
    encoder = VoiceEncoder()
    assert encoder.embed(sound) @ encoder.embed(sound / 5) == pytest.approx(1, abs=1e-4)


async def test_voices_are_told_apart(shared: Path) -> None:
    encoder = VoiceEncoder()
    voices: dict[str, list[np.ndarray]] = {}
    for clip in sorted((shared / "media/speech/librispeech").glob("*.flac")):
        sound = sound_of(await read(clip))
        voices.setdefault(clip.name.split("-")[0], []).append(encoder.embed(sound[:64_000]))
    assert len(voices) == 3
    same = [a @ b for one in voices.values() for a, b in combinations(one, 2)]
    others = [a @ b for one, two in combinations(voices.values(), 2) for a in one for b in two]
    # Where one threshold serves both best, fewer than one pair of twenty-five is on the wrong side.
    wrong = min(
        max(np.mean(np.array(same) < even), np.mean(np.array(others) > even))
        for even in np.linspace(0.5, 0.9, 41)
    )
    assert wrong < 0.04


async def test_faces_are_told_apart(shared: Path, tmp_path: Path) -> None:
    encoder, finder = FaceEncoder(), FaceFinder()
    people = []
    for name in TALKERS:
        clip = beginning_of(shared / "media" / name, 7, tmp_path / name)
        items = await read(clip, thinner=FrameThinner(rate=1, film_rate=0))
        found = finder.find([frame.image for frame in frames_of(items)[:6]])
        people.append(encoder.embed([face.image for face in found if face is not None]))
    same = [a @ b for one in people for a, b in combinations(one, 2)]
    others = [a @ b for one, two in combinations(people, 2) for a in one for b in two]
    assert min(same) > 0.3 > max(others)
