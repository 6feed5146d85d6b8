"""Who said what: what is known of two speakers is known of the one who they turn out to be."""

from __future__ import annotations

import numpy as np
import pytest

from models.emotions import EMOTIONS, EmotionScores
from models.stt import Transcript
from realtime.analysis import Analysis, Utterance
from realtime.attribution import joint_name, unnamed
from realtime.media import SAMPLE_RATE, Vector
from realtime.roster import Account, Roster

SADNESS = 0.3  # of everybody here at rest, where others have 0.05


def voice(place: int) -> Vector:
    return np.eye(8, dtype=np.float32)[place]


BETWEEN = (voice(0) + voice(1)) / np.float32(2**0.5)


def say(roster: Roster, number: int, whose: Vector) -> Account:
    scores = EmotionScores(
        {**dict.fromkeys(EMOTIONS, 0.05), "sadness": SADNESS},
        0.9,
        dict.fromkeys(EMOTIONS, 0.5),
        ("acoustic",),
        {},
        dict.fromkeys(EMOTIONS, 0.05),
    )
    utterance = Utterance(number, 0, 3 * SAMPLE_RATE, "silence", np.zeros(0, np.float32))
    return roster.take(
        utterance, Analysis(Transcript("", (), "none"), [], None, whose, None, {None: scores}, {})
    )


def test_the_rest_of_two_who_are_one_is_that_of_the_one() -> None:
    roster = Roster(baseline=True)
    for number, place in enumerate((0, 1), 1):
        say(roster, number, voice(place))
    roster.merge(2, 1)
    told = say(roster, 3, BETWEEN)
    assert told.adjusted is not None
    assert told.adjusted.resting == 2
    (one,) = roster.told().speakers
    assert (one.id, one.utterances, one.spoken) == (1, 3, 9.0)


def test_the_last_to_speak_is_at_rest_whoever_they_turned_out_to_be() -> None:
    roster = Roster(baseline=False)
    say(roster, 1, voice(0))
    say(roster, 2, voice(1))
    roster.merge(2, 1)
    roster.learn_rest()
    told = say(roster, 3, BETWEEN)
    assert told.adjusted is not None
    assert told.adjusted.resting == 1
    assert told.adjusted.emotions["sadness"] < SADNESS


@pytest.mark.parametrize("into", [1, 2])
def test_a_name_that_was_given_outlives_one_that_was_not(into: int) -> None:
    roster = Roster(baseline=False)
    say(roster, 1, voice(0))
    say(roster, 2, voice(1))
    roster.rename(2, "Ada")
    _, name = roster.merge(3 - into, into)
    assert name == "Ada"
    assert [(one.id, one.name) for one in roster.told().speakers] == [(into, "Ada")]


def test_of_two_names_that_were_given_the_one_who_is_left_keeps_theirs() -> None:
    assert joint_name({1: "Ann", 2: "Ada"}, into=1, gone=2) == "Ann"
    assert joint_name({1: unnamed(1), 2: unnamed(2)}, into=2, gone=1) == unnamed(2)
