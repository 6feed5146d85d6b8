"""How an utterance was said: measures of sounds of which they are known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from models.prosody import Prosody, prosody

RATE = 16_000
Sound = npt.NDArray[np.float32]


def voice(hz: float | Sound, seconds: float, level: float = 0.3) -> Sound:
    """Harmonics of a pitch, falling off as those of a voice do."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hz, round(seconds * RATE))) / RATE
    sound = sum(np.sin(n * phase) / n**1.5 for n in range(1, 12))
    return np.asarray(level * sound / 2, np.float32)


def silence(seconds: float) -> Sound:
    return np.zeros(round(seconds * RATE), np.float32)


def measured(sound: Sound, text: str = "") -> Prosody:
    found = prosody(sound, text)
    assert found is not None
    return found


@pytest.mark.parametrize("hz", [90.0, 180.0, 330.0, 520.0])
def test_a_steady_voice_has_its_pitch(hz: float) -> None:
    found = measured(voice(hz, 1.0))
    for told in (found.pitch_hz, found.pitch_low_hz, found.pitch_high_hz):
        assert told == pytest.approx(hz, rel=0.03)


def test_a_voice_that_rises_has_its_range() -> None:
    found = measured(voice(np.linspace(100, 200, 2 * RATE, dtype=np.float32), 2.0))
    assert found.pitch_low_hz == pytest.approx(110, rel=0.05)
    assert found.pitch_hz == pytest.approx(150, rel=0.05)
    assert found.pitch_high_hz == pytest.approx(190, rel=0.05)


def test_noise_and_silence_have_no_pitch() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    assert measured(noise).pitch_hz is None
    found = measured(silence(1.0))
    assert (found.pitch_hz, found.loudness_lufs, found.words_per_s) == (None, None, None)
    assert prosody(silence(0.0), "") is None


def test_the_loudness_is_that_of_the_standard() -> None:
    """ITU-R BS.1770: a full-scale tone of 997 Hz in one channel has -3.01 LKFS.

    torchaudio's filters are 0.3 off at 16 kHz.
    """
    tone = np.sin(2 * np.pi * 997 * np.arange(3 * RATE) / RATE).astype(np.float32)
    assert measured(tone).loudness_lufs == pytest.approx(-3.0, abs=0.4)
    assert measured(tone / 10).loudness_lufs == pytest.approx(-23.0, abs=0.4)
    assert measured(tone[: RATE // 4]).loudness_lufs is None


def test_pauses_are_counted_and_left_out_of_the_pace() -> None:
    """0.1 s is part of a word, 0.4 and 0.6 s are pauses; before and after there is none."""
    gaps = (0.1, 0.4, 0.6)
    spoken = voice(150, 1.0)
    parts = [silence(0.5), *(part for gap in gaps for part in (spoken, silence(gap))), spoken]
    found = measured(np.concatenate([*parts, silence(0.7)]), "one two three four five")
    assert (found.pauses, found.paused_s) == (2, pytest.approx(1.0, abs=0.05))
    assert found.words_per_s == pytest.approx(5 / 4.1, abs=0.05)


def test_what_is_too_short_has_no_pace() -> None:
    assert measured(voice(150, 0.2), "so").words_per_s is None
