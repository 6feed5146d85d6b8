"""Quiet speech is heard where loud speech is; noise is no more taken for speech than without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from boundaries import boundaries, streamed_boundaries
from hypothesis import given
from hypothesis import strategies as st

from models.levels import MOST_GAIN, TARGET_PEAK
from models.vad import WINDOW, load_vad
from realtime.endpointing import Endpointer, SpeechChange
from realtime.levelling import Leveller
from realtime.media import SAMPLE_RATE

Sound = npt.NDArray[np.float32]

ALTERNATING = np.tile(np.array([1, -1], np.float32), WINDOW // 2)


def at_peak(sound: Sound, db: float) -> Sound:
    """`sound` with its peak at `db` dBFS, in 16 bits."""
    louder = sound / np.abs(sound).max() * 10 ** (db / 20)
    return (np.round(louder * 32768) / 32768).astype(np.float32)


def at_rms(sound: npt.NDArray[np.float64], db: float) -> Sound:
    return (sound / np.sqrt(np.mean(sound**2)) * 10 ** (db / 20)).astype(np.float32)


def without_gain(sound: Sound) -> list[tuple[int, int]]:
    """Boundaries as they would be if the detector heard `sound` as it is."""
    stream, endpointer = load_vad().stream(), Endpointer()
    padded = np.pad(sound, (0, -len(sound) % WINDOW)).reshape(-1, WINDOW)
    changes: list[SpeechChange] = []
    for window in padded:
        changes += endpointer.window(stream.probability(window))
    return boundaries(changes + endpointer.end(len(sound)))


def spoken(found: list[tuple[int, int]], length: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros(length, bool)
    for start, stop in found:
        mask[start:stop] = True
    return mask


def agreement(found: list[tuple[int, int]], expected: list[tuple[int, int]], length: int) -> float:
    """How much of the time that either counts as speech both do."""
    one, other = spoken(found, length), spoken(expected, length)
    return float((one & other).sum() / (one | other).sum())


QUIET = ["speech/jfk.flac", "speech/LJ001-0002.wav", "speech/librispeech/2033-164914-0004.flac"]


def test_speech_with_peaks_of_minus_40_db_is_heard_as_ordinary_speech_is(
    shared: Path, decode: Callable[[Path], Sound]
) -> None:
    for clip in QUIET:
        sound = decode(shared / "media" / clip)
        expected = without_gain(at_peak(sound, -6))
        quiet = at_peak(sound, -40)
        assert agreement(without_gain(quiet), expected, len(sound)) < 0.8, clip
        assert agreement(streamed_boundaries(iter([quiet])), expected, len(sound)) > 0.93, clip


@pytest.mark.parametrize("at_s", [0.2, 1.0])
def test_a_click_does_not_hide_the_quiet_speech_after_it(speech: Sound, at_s: float) -> None:
    sound = np.pad(speech, (SAMPLE_RATE // 2, SAMPLE_RATE))
    expected = without_gain(at_peak(sound, -6))
    quiet = at_peak(sound, -50)
    quiet[round(at_s * SAMPLE_RATE) :][:50] = 1.0
    assert agreement(streamed_boundaries(iter([quiet])), expected, len(sound)) > 0.9


def hum(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.sin(2 * np.pi * 50 * times)


def rumble(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    noise = np.fft.rfft(np.random.default_rng(0).normal(size=len(times)))
    noise[np.fft.rfftfreq(len(times), 1 / SAMPLE_RATE) > 50] = 0
    return np.fft.irfft(noise, len(times))


@pytest.mark.parametrize("disturbance", [hum, rumble, np.ones_like])
def test_what_lies_below_voices_does_not_hide_quiet_speech(
    speech: Sound, disturbance: Callable[..., npt.NDArray[np.float64]]
) -> None:
    sound = np.pad(speech, (SAMPLE_RATE // 2, SAMPLE_RATE))
    expected = without_gain(at_peak(sound, -6))
    disturbed = disturbance(np.arange(len(sound)) / SAMPLE_RATE)
    quiet = at_peak(sound, -55) + at_peak(disturbed, -30)
    assert agreement(without_gain(quiet), expected, len(sound)) < 0.5
    assert agreement(streamed_boundaries(iter([quiet])), expected, len(sound)) > 0.8


def test_speech_under_hum_of_any_loudness_is_heard(
    shared: Path, decode: Callable[[Path], Sound]
) -> None:
    sound = decode(shared / "media" / QUIET[0])
    expected = without_gain(at_peak(sound, -6))
    for louder_db in (-15, -3, 0, 3, 10, 20):
        loud = at_peak(hum(np.arange(len(sound)) / SAMPLE_RATE), -25 + louder_db)
        found = streamed_boundaries(iter([at_peak(sound, -25) + loud]))
        assert agreement(found, expected, len(sound)) > 0.8, louder_db


@pytest.mark.parametrize("colour", ["white", "pink"])
@pytest.mark.parametrize("db", [-60, -50, -40, -30, -20])
def test_noise_is_no_speech(colour: str, db: float) -> None:
    noise = np.random.default_rng(3).normal(size=20 * SAMPLE_RATE)
    if colour == "pink":
        spectrum = np.fft.rfft(noise)
        noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), len(noise))
    assert streamed_boundaries(iter([at_rms(noise, db)])) == []


@pytest.mark.slow
def test_sounds_of_animals_rain_and_engines_are_no_more_speech_than_without_gain(
    shared: Path, decode: Callable[[Path], Sound]
) -> None:
    clips = sorted((shared / "data/speech_more/esc10").glob("*.opus"))
    assert len(clips) > 100
    plain = gained = 0
    for clip in clips[::2]:
        sound = decode(clip)
        plain += int(spoken(without_gain(sound), len(sound)).sum())
        gained += int(spoken(streamed_boundaries(iter([sound])), len(sound)).sum())
    assert gained <= plain


@given(st.lists(st.floats(0.0, 1.0, width=32), min_size=1, max_size=60))
def test_nothing_is_made_louder_than_the_target_or_quieter_than_it_was(peaks: list[float]) -> None:
    leveller = Leveller()
    for peak in peaks:
        window = peak * ALTERNATING
        out = np.abs(leveller.window(window))
        assert np.all(out >= np.abs(window))
        assert np.all(out <= max(TARGET_PEAK * 1.001, peak))
        assert np.all(out <= np.abs(window) * (MOST_GAIN * 1.001))


def test_ordinary_speech_is_left_as_it_is_also_in_its_pauses() -> None:
    leveller = Leveller()
    for _ in range(2):
        leveller.window(np.float32(0.5) * ALTERNATING)
    quiet = np.float32(0.001) * ALTERNATING
    for _ in range(6 * SAMPLE_RATE // WINDOW):
        assert np.array_equal(leveller.window(quiet), quiet)
    for _ in range(16 * SAMPLE_RATE // WINDOW):
        louder = leveller.window(quiet)
    assert louder[0] == pytest.approx(0.01, rel=0.01)


def test_what_is_far_above_full_scale_is_brought_down_to_it() -> None:
    out = Leveller().window(np.float32(20_000) * ALTERNATING)
    assert out.max() == pytest.approx(1.0)
