"""Windows in which a sound is heard become one sound."""

from __future__ import annotations

from models.sounds.runs import Sound, SoundRuns

KIND = "laughter"
SURE = 0.75
WEAK = 0.4  # enough to go on, not to begin


def sounds_in(*heard: float) -> list[tuple[float, float]]:
    """Beginning and end of each sound, of one probability a second."""
    runs = SoundRuns()
    found = [sound for n, p in enumerate(heard) for sound in runs.take(float(n), {KIND: p})]
    return [(sound.start_s, sound.stop_s) for sound in [*found, *runs.end()]]


def test_a_sound_that_lasts_is_one() -> None:
    assert sounds_in(0, SURE, SURE, SURE, 0, 0, 0) == [(1.5, 4.5)]


def test_a_sound_goes_on_below_its_threshold_but_does_not_begin_there() -> None:
    assert sounds_in(WEAK, SURE, WEAK, WEAK, 0) == [(1.5, 4.5)]
    assert sounds_in(WEAK, WEAK) == []


def test_one_window_that_misses_it_does_not_end_it() -> None:
    assert sounds_in(SURE, 0, SURE) == [(0.0, 3.5)]
    assert sounds_in(SURE, 0, 0, 0, SURE) == [(0.0, 1.5), (4.5, 5.5)]


def test_kinds_are_apart_and_confidence_is_the_highest() -> None:
    runs = SoundRuns()
    found = [
        *runs.take(0.0, {KIND: SURE, "crying": 0.0}),
        *runs.take(1.0, {KIND: 0.99, "crying": 1.0}),
        *runs.end(),
    ]
    assert found == [Sound(KIND, 0.0, 2.5, 0.99), Sound("crying", 1.5, 2.5, 1.0)]
