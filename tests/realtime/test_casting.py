"""Of several faces the one that speaks: by its lips, and by which face went with which voice."""

from __future__ import annotations

import numpy as np
import pytest

from models.people.mobilefacenet import WIDTH
from realtime.analysis import SeenPerson
from realtime.casting import Casting, Lips, may_speak
from realtime.media import Vector

ANN, BEN = 1, 2
LEFT, RIGHT = 0, 1
CLEAR = {ANN: 5.0, BEN: -5.0}  # it is Ann's voice
NOBODY_KNOWN = {ANN: 0.0}


def face(place: int) -> Vector:
    return np.eye(WIDTH, dtype=np.float32)[place]


def lips(left: float, right: float) -> dict[int, Lips]:
    return {LEFT: Lips(face(LEFT), left), RIGHT: Lips(face(RIGHT), right)}


def voice_of(speaker: int) -> dict[int, float]:
    return {ANN: -5.0, BEN: -5.0} | {speaker: 5.0}


def test_without_a_past_the_lips_that_go_with_the_sound_speak() -> None:
    cast = Casting().choose(NOBODY_KNOWN, {}, lips(0.4, 2.5))
    assert cast.place == RIGHT
    assert cast.chances[RIGHT] > 0.9 > 0.1 > cast.chances[LEFT]
    assert sum(cast.chances.values()) < 1  # the rest is that of nobody


@pytest.mark.parametrize("still", [-2.6, -5.0])
def test_lips_that_keep_still_never_speak(still: float) -> None:
    casting = Casting()
    for _ in range(20):
        casting.learn(ANN, lips(3.0, 0.0))
    cast = casting.choose(CLEAR, {}, lips(still, still))
    assert (cast.place, cast.chances[LEFT]) == (None, 0.0)
    # Nor do those of somebody else, in her place.
    assert casting.choose(CLEAR, {}, lips(still, 1.0)).place is None


def test_a_voice_keeps_its_face_when_both_chew() -> None:
    """The lips of one who speaks unclearly go with the sound less than those of one who chews."""
    casting = Casting()
    rng = np.random.default_rng(0)
    right = []
    for turn in range(40):
        speaker = ANN if turn % 2 else BEN
        # Ann, on the left, moves her lips more than Ben, whoever speaks.
        left, other = rng.normal((2.6, 1.0) if speaker == ANN else (1.6, 1.4), 0.5)
        cast = casting.choose(voice_of(speaker), {}, lips(left, other))
        right.append(cast.place == (LEFT if speaker == ANN else RIGHT))
        casting.learn(speaker, lips(left, other))
    assert sum(right[:4]) <= 3  # at first Ann is taken for Ben
    assert all(right[10:])


def test_a_new_voice_is_not_that_of_a_face_that_has_one() -> None:
    casting = Casting()
    assert casting.choose({ANN: 0.0}, {}, lips(1.2, 1.0)).place == LEFT
    for _ in range(3):
        casting.learn(ANN, lips(2.5, 0.5))
    assert casting.choose({ANN: -5.0, BEN: -1.0}, {}, lips(1.2, 1.0)).place == RIGHT


def test_who_has_changed_seats_is_known_by_the_face() -> None:
    casting = Casting()
    for _ in range(3):
        casting.learn(ANN, lips(2.5, 0.5))
    swapped = {LEFT: Lips(face(RIGHT), 1.0), RIGHT: Lips(face(LEFT), 1.0)}
    assert casting.choose(CLEAR, {}, swapped).place == RIGHT


def test_a_face_and_lips_without_doubt_outweigh_a_like_voice() -> None:
    """Two brothers: the voice may be the first's, but it is the other who is seen speaking."""
    brothers = {ANN: 1.5, BEN: -1.0}
    looks = {ANN: {LEFT: 6.0, RIGHT: -6.0}}
    seen = lips(-1.5, 2.5)
    odds = Casting().choose(brothers, looks, seen).speakers
    assert odds[BEN] > odds[ANN]
    odds = Casting().choose(brothers, looks, lips(1.0, 1.2)).speakers
    assert odds[ANN] > odds[BEN]


def test_what_is_known_of_two_is_known_of_the_one_they_turn_out_to_be() -> None:
    casting = Casting()
    for speaker in (ANN, BEN):
        casting.learn(speaker, lips(2.5, 0.5))
    casting.merge(BEN, ANN)
    assert casting.choose(CLEAR, {}, lips(1.0, 1.2)).place == LEFT
    # Nobody else claims that face any more.
    assert casting.choose({3: 5.0, ANN: -5.0}, {}, lips(1.0, 1.2)).place == RIGHT


def test_who_passes_by_is_not_remembered_for_ever() -> None:
    casting = Casting()
    rng = np.random.default_rng(0)
    for _ in range(300):
        other = rng.standard_normal(WIDTH).astype(np.float32)
        other /= np.linalg.norm(other)
        casting.learn(ANN, {LEFT: Lips(face(LEFT), 2.5), RIGHT: Lips(other, 0.5)})
    assert len(casting._faces) == 200
    assert casting.choose(CLEAR, {}, lips(1.0, 1.2)).place == LEFT


def test_who_may_speak_as_far_as_one_utterance_tells() -> None:
    def people(*synchrony: float | None) -> list[SeenPerson]:
        return [SeenPerson([], None, value) for value in synchrony]

    assert may_speak([]) == [None]
    assert may_speak(people(None)) == may_speak(people(None, None)) == [0]
    assert may_speak(people(0.5, 2.0, -2.5, None)) == [1, 0, None]
    assert may_speak(people(-1.0, -1.5)) == [None, 0, 1]
    assert may_speak(people(-2.5, -2.5)) == [None]
