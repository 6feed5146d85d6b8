"""Who is who in a session: every utterance is given to a speaker, as they come.

In: of each utterance its voice, and the faces in view. Out: its speaker, and, where
more is known later, which utterances are given to another. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from realtime.casting import Cast, Casting, Lips
from realtime.media import Vector

By: TypeAlias = Literal["face", "voice", "both"]
"""What an utterance was given to its speaker by."""


@dataclass(frozen=True, slots=True)
class _Likeness:
    """How much the similarity of two vectors says for their being of one person.

    Attributes:
        even: the similarity that says nothing.
        slope: log-odds for each unit above it.
        most: log-odds at most, either way.
    """

    even: float
    slope: float
    most: float

    def __call__(self, similarity: float) -> float:
        return max(-self.most, min(self.most, self.slope * (similarity - self.even)))


# Of strings of utterances by actors and readers, alone and two or three in turn (see
# `tests/support/voices_apart.py`), this makes the fewest speakers of one, and gives more
# utterances to the right one than what cuts people apart sooner.
_VOICE = _Likeness(even=0.73, slope=30.0, most=6.0)
_FACE = _Likeness(even=0.30, slope=20.0, most=6.0)
_UNSURE_FACE = 0.5  # what a face counts that was alone in view, and may be that of a listener
_ALONE = 1.0  # how well its lips are taken to go with the sound
_NEW = -2.0  # log-odds that an utterance is of somebody new, against any one of those known
_SHORT_S = 2.4  # a voice that was heard for less says less
_WATCHED_S = 4.0  # lips that were seen for less say less of who it is
_ENOUGH_S = 4.0  # of an utterance; more of it does not weigh more
_MERGE = 2.0  # log-odds from which two speakers are one after all


@dataclass(frozen=True, slots=True)
class Given:
    """An utterance is given to a speaker.

    Attributes:
        confidence: 0 to 1.
        cast: who of several in view it is; None if there were not several.
    """

    speaker: int
    by: By
    confidence: float
    cast: Cast | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """Two speakers are one.

    Attributes:
        speaker: who is left.
        gone: whose utterances are theirs now.
        utterances: these.
    """

    speaker: int
    gone: int
    utterances: tuple[int, ...]


@dataclass(slots=True)
class _Person:
    number: int
    utterances: list[int] = field(default_factory=list)
    voice: Vector | None = None  # sum of what was heard
    face: Vector | None = None


class Speakers:
    """The speakers of one session, in the order in which they were first heard.

    Each is a mean voice and a mean face. An utterance goes to whom both are most like; to somebody
    new, if they are like nobody's. Of several faces in view, see `Casting`.
    """

    def __init__(self) -> None:
        self._people: dict[int, _Person] = {}
        self._casting = Casting()
        self._count = 0

    def give(
        self,
        utterance: int,
        seconds: float,
        voice: Vector | None,
        face: Vector | None,
        lips: Mapping[int, Lips],
    ) -> Given | None:
        """The speaker of the next utterance.

        Args:
            utterance: its number.
            seconds: how long it is.
            voice: of it.
            face: of who was alone in view.
            lips: of several in view, by their places.

        Returns:
            None if there is neither voice nor face.
        """
        if voice is None and face is None and not lips:
            return None
        heard = min(1.0, seconds / _SHORT_S)
        odds = self._odds(heard, voice, face)
        cast, weight = None, _UNSURE_FACE
        if lips:
            cast = self._casting.choose(odds, self._looks(seconds, lips), lips)
            odds = cast.speakers
            if cast.place is not None:
                face, weight = lips[cast.place].face, cast.chances[cast.place]
        best = max(odds, key=odds.__getitem__)
        if best > self._count:
            self._count = best
            self._people[best] = _Person(best)
        person = self._people[best]
        length = min(seconds, _ENOUGH_S)
        person.utterances.append(utterance)
        person.voice = _added(person.voice, voice, length)
        person.face = _added(person.face, face, length * weight)
        alone = {} if face is None else {0: Lips(face, _ALONE)}
        self._casting.learn(best, lips or alone)
        by: By = "both" if voice is not None and face is not None else "face"
        chance = math.exp(odds[best]) / sum(math.exp(value) for value in odds.values())
        return Given(best, "voice" if face is None else by, chance, cast)

    def _odds(self, heard: float, voice: Vector | None, face: Vector | None) -> Mapping[int, float]:
        """Log-odds that what was heard and seen is of each speaker, and of one who would be new."""
        known = {
            number: _log_odds(person, voice, face, heard, _UNSURE_FACE)
            for number, person in self._people.items()
        }
        return known | {self._count + 1: _NEW}

    def _looks(self, seconds: float, lips: Mapping[int, Lips]) -> dict[int, dict[int, float]]:
        """Log-odds that each face is that of each speaker who was seen; less, if it was short."""
        watched = min(1.0, seconds / _WATCHED_S)
        return {
            number: {place: watched * _FACE(float(one.face @ known)) for place, one in lips.items()}
            for number, person in self._people.items()
            if (known := _mean(person.face)) is not None
        }

    def whose(self, face: Vector) -> int | None:
        """The speaker with this face; None if nobody has been seen speaking with it."""
        odds = {
            number: _log_odds(person, None, face, 0.0, 1.0)
            for number, person in self._people.items()
        }
        best = max(odds, key=lambda number: odds[number], default=None)
        return best if best is not None and odds[best] > 0 else None

    def settle(self) -> Merged | None:
        """Two speakers of whom it has turned out that they are one; to be asked until there are
        none."""
        people = list(self._people.values())
        for place, first in enumerate(people):
            for second in people[place + 1 :]:
                if _log_odds(first, _mean(second.voice), _mean(second.face), 1.0, 1.0) > _MERGE:
                    return self.merge(second.number, first.number)
        return None

    def merge(self, gone: int, into: int) -> Merged:
        """What was given to speaker `gone` is `into`'s.

        Raises:
            KeyError: one of them is not known.
            ValueError: they are the same.
        """
        if gone == into:
            raise ValueError("a speaker cannot be merged with itself")
        kept, lost = self._people[into], self._people[gone]
        del self._people[gone]
        moved = tuple(lost.utterances)
        self._casting.merge(gone, into)
        kept.utterances = sorted([*kept.utterances, *moved])
        kept.voice = _added(kept.voice, lost.voice, 1.0)
        kept.face = _added(kept.face, lost.face, 1.0)
        return Merged(into, gone, moved)


def _log_odds(
    person: _Person, voice: Vector | None, face: Vector | None, heard: float, seen: float
) -> float:
    """That what was heard and seen is of that person."""
    odds = 0.0
    known_voice, known_face = _mean(person.voice), _mean(person.face)
    if voice is not None and known_voice is not None:
        odds += heard * _VOICE(float(voice @ known_voice))
    if face is not None and known_face is not None:
        odds += seen * _FACE(float(face @ known_face))
    return odds


def _mean(total: Vector | None) -> Vector | None:
    return None if total is None else np.asarray(total / np.linalg.norm(total), np.float32)


def _added(total: Vector | None, more: Vector | None, weight: float) -> Vector | None:
    if more is None:
        return total
    weighed: Vector = more * np.float32(weight)
    return weighed if total is None else weighed + total
