"""Utterances are given to speakers: known ones, new ones, and those who turn out to be one."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.casting import Lips
from realtime.media import Vector
from realtime.speakers import Speakers


def near(base: Vector, similarity: float, seed: int) -> Vector:
    """A vector with this similarity to `base`."""
    other = np.random.default_rng(seed).standard_normal(len(base)).astype(np.float32)
    other -= (other @ base) * base
    other /= np.linalg.norm(other)
    return np.asarray(similarity * base + np.sqrt(1 - similarity**2) * other, np.float32)


def seen(face: Vector) -> dict[int, Lips]:
    """A face whose lips go well with the sound."""
    return {0: Lips(face, 2.5)}


def axis(place: int, width: int = 256) -> Vector:
    return np.eye(width, dtype=np.float32)[place]


def test_each_of_three_voices_is_known_again() -> None:
    speakers = Speakers()
    rng = np.random.default_rng(1)
    for number in range(1, 41):
        who = number if number <= 3 else int(rng.integers(1, 4))
        given = speakers.give(number, 3.0, near(axis(who), 0.9, number), None, {})
        assert given is not None
        assert (given.speaker, given.by) == (who, "voice")
        assert given.confidence > 0.7
        assert speakers.settle() is None


def test_a_face_that_was_seen_speaking_goes_before_a_voice_that_is_in_doubt() -> None:
    speakers = Speakers()
    ann, ben = axis(1, 128), axis(2, 128)
    speakers.give(1, 3.0, axis(1), None, seen(ann))
    speakers.give(2, 3.0, axis(2), None, seen(ben))
    doubtful = (axis(1) + axis(2)) / np.float32(2**0.5)
    given = speakers.give(3, 3.0, doubtful, None, seen(near(ann, 0.8, 3)))
    assert given is not None
    assert (given.speaker, given.by) == (1, "both")
    assert speakers.whose(near(ben, 0.7, 4)) == 2
    assert speakers.whose(axis(9, 128)) is None


def test_one_who_was_taken_for_two_is_one_when_that_is_known() -> None:
    speakers = Speakers()
    speakers.give(1, 3.0, axis(1), None, {})
    speakers.give(2, 3.0, axis(2), None, seen(axis(5, 128)))
    # The first voice, seen with the second's face: now both have the same face and voice.
    for number in range(3, 9):
        speakers.give(number, 3.0, near(axis(1), 0.95, number), None, {})
    merged = speakers.merge(2, 1)
    assert (merged.speaker, merged.gone, merged.utterances) == (1, 2, (2,))
    again = speakers.give(9, 3.0, near(axis(1), 0.95, 9), None, seen(axis(5, 128)))
    assert again is not None
    assert again.speaker == 1


def test_two_who_have_the_same_face_and_voices_not_too_unlike_are_told_to_be_one() -> None:
    speakers = Speakers()
    face = axis(1, 128)
    speakers.give(1, 3.0, axis(1), None, seen(face))
    other = near(axis(1), 0.65, 1)  # as with a cold, or another microphone
    assert speakers.give(2, 3.0, other, None, {}).speaker == 2
    assert speakers.settle() is None
    assert speakers.give(3, 3.0, other, None, seen(face)).speaker == 2
    merged = speakers.settle()
    assert merged is not None
    assert (merged.speaker, merged.gone, merged.utterances) == (1, 2, (2, 3))
    assert speakers.settle() is None


def test_a_merged_speaker_is_known_no_more() -> None:
    speakers = Speakers()
    for place in (1, 2):
        speakers.give(place, 3.0, axis(place), None, {})
    speakers.merge(2, 1)
    with pytest.raises(KeyError):
        speakers.merge(2, 1)
    with pytest.raises(ValueError, match="itself"):
        speakers.merge(1, 1)


def test_without_voice_and_face_nobody_speaks() -> None:
    assert Speakers().give(1, 3.0, None, None, {}) is None
