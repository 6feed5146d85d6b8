"""Which of several faces in view is the one that speaks, by its lips and by what was seen before.

In: of each utterance how much the voice is like each speaker's, and how well the lips of each face
go with the sound. Out: the face that speaks, or that none does. Pure.

In two seconds, somebody who chews may go with the sound as well as who speaks. But a voice has one
face, and a face one voice, and over some utterances it shows which.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from realtime.analysis import SeenPerson
    from realtime.media import Vector

_SPEAKS = -0.7
"""Lips whose synchrony, in log-odds, is less are not taken for those that speak."""

_STILL = -1.9
"""Lips whose synchrony is not above this keep still, and never speak, whoever spoke before: that of
faces that do was not, in 99 of 100 utterances."""

_KEPT = 0.9  # of what is known of a voice and a face, at each further utterance of that voice
_MOST = 4.5  # that what was seen before weighs, in log-odds of lips: those of now can outweigh it
_SLOPE = 1.4  # of the chances: what is likeliest for pairs of talkers here
_SAME_FACE = 0.3  # cosine of two faces of one person
_REMEMBERED = 200  # faces; more than that pass by in a street


@dataclass(frozen=True, slots=True)
class Lips:
    """A face whose lips were looked at.

    Attributes:
        face: see `models.people.identity`.
        synchrony: see `ActiveSpeakerDetector.synchrony`.
    """

    face: Vector
    synchrony: float


@dataclass(frozen=True, slots=True)
class Cast:
    """Who speaks.

    Attributes:
        speakers: log-odds of each by voice and lips.
        place: of the face of the likeliest of them; None: nobody in view speaks.
        chances: that each face is theirs, by its place, 0 to 1; what is missing to 1 is that of
            nobody in view.
    """

    speakers: Mapping[int, float]
    place: int | None
    chances: Mapping[int, float]


def may_speak(people: Sequence[SeenPerson]) -> list[int | None]:
    """The places of those who may be the one who speaks, the likeliest first, as far as the
    utterance tells; None: nobody in view.

    One who is alone in view is taken for the speaker, and where the source shows no lips, the
    largest.
    """
    lips = {place: one.synchrony for place, one in enumerate(people) if one.synchrony is not None}
    if not lips:
        return [0] if people else [None]
    moving = sorted(_moving(lips), key=lambda place: -lips[place])
    if moving and lips[moving[0]] > _SPEAKS:
        return [*moving, None]
    return [None, *moving]


class Casting:
    """The faces and voices of one session.

    Of two talkers whose lips both move, the right one was taken in 232 of 236 utterances; of first
    utterances, in 9 of 12. See `tests/support/both_talk.py`.
    """

    def __init__(self) -> None:
        self._faces: list[Vector] = []  # sums
        self._known: dict[tuple[int, int], float] = {}  # by speaker and face

    def choose(
        self,
        voice: Mapping[int, float],
        looks: Mapping[int, Mapping[int, float]],
        seen: Mapping[int, Lips],
    ) -> Cast:
        """Who speaks.

        Args:
            voice: how well the voice goes with each speaker, in log-odds; one with a number that is
                not known is new.
            looks: how like each face is to that of each speaker who was seen, in log-odds.
            seen: at least one face, by its place.
        """
        faces = self._recognised(seen)
        moving = _moving({place: one.synchrony for place, one in seen.items()})
        lips: dict[int | None, float] = {None: _SPEAKS}
        lips |= {place: seen[place].synchrony for place in moving}
        alone = _softmax(lips)
        first = max(alone, key=alone.__getitem__)
        sure = max(0.0, 2 * alone[first] - 1) ** 2
        speakers: dict[int, float] = {}
        before: dict[int, dict[int | None, float]] = {}
        for speaker, odds in voice.items():
            before[speaker] = {None: 0.0}
            before[speaker] |= {place: self._before(speaker, place, faces) for place in moving}
            # Which face is theirs, as far as is known, times how well its lips go with the sound.
            theirs = _softmax(before[speaker])
            speakers[speaker] = odds + math.log(sum(theirs[place] * alone[place] for place in lips))
            if speaker in looks and first is not None:
                # Lips that leave no doubt outweigh a voice that is like theirs.
                speakers[speaker] += sure * min(0.0, looks[speaker][first])
        speaker = max(speakers, key=speakers.__getitem__)
        together = {place: value + before[speaker][place] for place, value in lips.items()}
        chances = _softmax(together)
        return Cast(
            speakers,
            max(together, key=together.__getitem__),
            {place: chances.get(place, 0.0) for place in seen},
        )

    def learn(self, speaker: int, seen: Mapping[int, Lips]) -> None:
        """This speaker has spoken while these were in view."""
        mean = statistics.fmean(one.synchrony for one in seen.values()) if len(seen) > 1 else 0.0
        for place, face in self._recognised(seen).items():
            one = seen[place]
            if face is None:
                if len(self._faces) == _REMEMBERED:
                    continue
                face = len(self._faces)
                self._faces.append(one.face)
            else:
                self._faces[face] = self._faces[face] + one.face
            better = one.synchrony - mean
            self._known[speaker, face] = _KEPT * self._of(speaker, face) + better

    def merge(self, gone: int, into: int) -> None:
        """Two speakers are one."""
        for speaker, face in [key for key in self._known if key[0] == gone]:
            lost = self._known.pop((speaker, face))
            self._known[into, face] = self._of(into, face) + lost

    def _of(self, speaker: int, face: int | None) -> float:
        """How much better the face has gone with the voice than others in view."""
        return 0.0 if face is None else self._known.get((speaker, face), 0.0)

    def _before(self, speaker: int, place: int, faces: Mapping[int, int | None]) -> float:
        """What is known for the face at `place` being the speaker's: how well they went together,
        and against it, how much worse any other speaker's voice goes with the other faces."""
        rest = [face for elsewhere, face in faces.items() if elsewhere != place]
        claims = [
            self._of(other, faces[place]) - max((self._of(other, face) for face in rest), default=0)
            for other in {number for number, _ in self._known} - {speaker}
        ]
        odds = self._of(speaker, faces[place]) - max([0.0, *claims])
        return max(-_MOST, min(_MOST, odds))

    def _recognised(self, seen: Mapping[int, Lips]) -> dict[int, int | None]:
        """Which of the faces seen before each is, by their places, None: not
        seen before; no two are the same."""
        alike = sorted(
            (
                (float(known @ one.face / np.linalg.norm(known)), place, number)
                for place, one in seen.items()
                for number, known in enumerate(self._faces)
            ),
            reverse=True,
        )
        found: dict[int, int] = {}
        for likeness, place, number in alike:
            if likeness > _SAME_FACE and place not in found and number not in found.values():
                found[place] = number
        return {place: found.get(place) for place in seen}


def _moving(synchrony: Mapping[int, float]) -> list[int]:
    """The places of those whose lips do not keep still."""
    return [place for place, value in synchrony.items() if value > _STILL]


def _softmax(odds: Mapping[int | None, float]) -> dict[int | None, float]:
    """Chances by places, from how well lips go with the sound."""
    weights = {place: math.exp(_SLOPE * value) for place, value in odds.items()}
    return {place: weight / sum(weights.values()) for place, weight in weights.items()}
