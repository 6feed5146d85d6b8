"""Findings as tiers, which is how programs for annotation see a recording.

In: `Findings`. Out: `Tier`s: words, what each speaker says, what is expressed, scores, sounds,
notes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from models.emotions import NEUTRAL, OUTPUTS
from realtime.formats.findings import Findings

Annotation: TypeAlias = tuple[float, float, str]
"""Beginning and end in seconds, and a label."""

NOTE_S = 0.5
"""A note is about a moment, which nobody could click on."""

LEAST_S = 0.002
"""How long an annotation is at least: ELAN counts milliseconds, and takes none of no length."""


@dataclass(frozen=True)
class Tier:
    """Annotations of one kind, in order; none overlaps another.

    Attributes:
        name: no other tier of the file has it.
        annotations: gives them, anew each time it is called.
    """

    name: str
    annotations: Callable[[], Iterator[Annotation]]


def tiers_of(people: Sequence[Findings]) -> list[Tier]:
    """Of each person: the words, what each speaker says, what is expressed, each score, each kind
    of sound that was heard, and notes, each of which is `NOTE_S` long.

    Of several people the time is that of the first session's beginning, and the name of the person
    stands beside that of the tier.
    """
    tiers: list[Tier] = []
    for found in people:
        whose = f" ({found.person})" if len(people) > 1 else ""
        told = _Utterances(found)
        for name, given in (
            (f"words{whose}", told.words),
            *((voice, _said_by(told, voice)) for voice in told.voices),
            (f"expressed{whose}", told.expressed),
            *((f"{label}{whose}", _scores_of(told, label)) for label in OUTPUTS),
            *((f"{kind}{whose}", _sounds_of(found, kind)) for kind in _kinds_of(found)),
            *([(f"notes{whose}", _notes_of(found))] if found.notes else []),
        ):
            tiers.append(Tier(_unlike({tier.name for tier in tiers}, name), _apart(given)))
    return tiers


class _Utterances:
    """What tiers tell of the utterances, read once: some 300 bytes of each.

    The words, which are far more, are read anew each time.
    """

    def __init__(self, found: Findings) -> None:
        self.voices: list[str] = []
        self.starts, self.ends = array("d"), array("d")
        self.texts: list[str] = []
        self.spoken_by = array("l")  # places in `voices`
        self.moods: list[str] = []
        self.scores = {label: array("d") for label in OUTPUTS}
        self._found = found
        nan = float("nan")
        for event in found.results():
            voice = found.person or (event.speaker.name if event.speaker else "speech")
            if voice not in self.voices:
                self.voices.append(voice)
            self.spoken_by.append(self.voices.index(voice))
            self.starts.append(found.began_s + event.start)
            self.ends.append(found.began_s + event.end)
            self.texts.append(event.transcript.shown)
            self.moods.append(", ".join(event.expressed))
            for label, score in event.emotions.items():
                self.scores[label].append(score)
            self.scores[NEUTRAL].append(nan if event.neutral is None else event.neutral)

    def words(self) -> Iterator[Annotation]:
        """Each word at its estimated time."""
        began_s = self._found.began_s
        for event in self._found.results():
            for word in event.transcript.words:
                yield began_s + word.start, began_s + word.end, word.text

    def expressed(self) -> Iterator[Annotation]:
        """The emotions above their thresholds, of each utterance that has any."""
        moods = zip(self.starts, self.ends, self.moods, strict=True)
        return (annotation for annotation in moods if annotation[2])


def _said_by(told: _Utterances, voice: str) -> Callable[[], Iterator[Annotation]]:
    place = told.voices.index(voice)

    def annotations() -> Iterator[Annotation]:
        said = zip(told.starts, told.ends, told.texts, told.spoken_by, strict=True)
        return ((start, end, text) for start, end, text, by in said if by == place)

    return annotations


def _scores_of(told: _Utterances, label: str) -> Callable[[], Iterator[Annotation]]:
    def annotations() -> Iterator[Annotation]:
        scored = zip(told.starts, told.ends, told.scores[label], strict=True)
        return ((start, end, repr(score)) for start, end, score in scored if score == score)

    return annotations


def _kinds_of(found: Findings) -> list[str]:
    return sorted({event.kind for event in found.sounds()})


def _sounds_of(found: Findings, kind: str) -> Callable[[], Iterator[Annotation]]:
    def annotations() -> Iterator[Annotation]:
        for event in found.sounds():
            if event.kind == kind:
                yield found.began_s + event.start, found.began_s + event.end, kind

    return annotations


def _notes_of(found: Findings) -> Callable[[], Iterator[Annotation]]:
    def annotations() -> Iterator[Annotation]:
        for note in found.notes:
            yield found.began_s + note.at, found.began_s + note.at + NOTE_S, note.text

    return annotations


def _apart(annotations: Callable[[], Iterable[Annotation]]) -> Callable[[], Iterator[Annotation]]:
    """The same, each beginning where the one before has ended at the earliest.

    The times of words are estimates, and may overlap.
    """

    def apart() -> Iterator[Annotation]:
        last = 0.0
        for start, end, text in annotations():
            start = max(start, last)
            last = max(end, start + LEAST_S)
            yield start, last, text

    return apart


def _unlike(names: set[str], name: str) -> str:
    """`name`, with a number where it is one of `names`."""
    number, unlike = 1, name
    while unlike in names:
        number += 1
        unlike = f"{name} {number}"
    return unlike
