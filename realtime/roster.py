"""The people of one session: who said what, and how each of them stands.

In: analysed utterances, in order. Out: the speaker of each, its scores without that person's rest,
and running averages, of the whole and of each speaker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from models.emotions import EmotionScores
from realtime.analysis import Analysis, SeenPerson, Utterance
from realtime.attribution import joint_name, unnamed
from realtime.average import RunningAverage
from realtime.baseline import Adjusted, RestingBaseline, looks_neutral
from realtime.casting import Lips
from realtime.events import WireAverage, WireSpeakerAverage
from realtime.speakers import Merged, Speakers
from realtime.wire import WirePerson, WireSpeaker


@dataclass(frozen=True, slots=True)
class Account:
    """What is told of the people of one utterance.

    Attributes:
        analysis: with who speaks, as far as all utterances tell.
        speaker: who speaks; None where nobody looks for it, or it cannot be told.
        in_view: who was in view, the largest face first.
        adjusted: the scores without the speaker's rest; None where that was not asked for.
    """

    analysis: Analysis
    speaker: WireSpeaker | None
    in_view: tuple[WirePerson, ...]
    adjusted: Adjusted | None


@dataclass(slots=True)
class _Entry:
    name: str
    average: RunningAverage = field(default_factory=RunningAverage)
    rest: RestingBaseline = field(default_factory=RestingBaseline)
    spoken_s: float = 0.0


class Roster:
    """Gives each utterance to a speaker, and keeps account of all of them.

    Args:
        baseline: whether each person's rest is learnt from what looks neutral, and their scores are
            told without it as well. Otherwise both begin with `learn_rest`.

    Attributes:
        average: over the utterances so far, whoever spoke.
    """

    def __init__(self, *, baseline: bool) -> None:
        self.average = RunningAverage()
        self._speakers = Speakers()
        self._entries: dict[int | None, _Entry] = {}
        self._learns = self._adjusts = baseline
        self._last: tuple[_Entry, EmotionScores] | None = None

    def take(self, utterance: Utterance, analysis: Analysis) -> Account:
        """Give the next utterance to its speaker."""
        seconds = utterance.stop_s - utterance.start_s
        lips = {
            place: Lips(one.identity, one.synchrony)
            for place, one in enumerate(analysis.people)
            if one.identity is not None and one.synchrony is not None
        }
        alone = analysis.speaker
        given = self._speakers.give(
            utterance.number,
            seconds,
            analysis.voice,
            alone.identity if alone and not lips else None,
            lips,
        )
        cast = given.cast if given else None
        if cast is not None:
            analysis = replace(analysis, speaking=cast.place)
        number = given.speaker if given else None
        entry = self._entries.setdefault(number, _Entry(unnamed(number or 0)))
        scores = analysis.scores
        adjusted = entry.rest.adjust(scores) if self._adjusts else None
        for average in (self.average, entry.average):
            average.add(
                scores.probabilities,
                scores.neutral,
                scores.thresholds,
                adjusted,
                analysis.prosody,
            )
        entry.spoken_s += seconds
        if self._learns and looks_neutral(scores):
            entry.rest.learn(scores)
        self._last = entry, scores
        speaker = None
        if given is not None:
            speaker = WireSpeaker(
                id=given.speaker,
                name=entry.name,
                by=given.by,
                confidence=round(given.confidence, 4),
            )
        in_view = tuple(
            self._person(
                one,
                number if place == analysis.speaking else self._whose(one),
                speaks=place == analysis.speaking,
                confidence=cast.chances.get(place) if cast else None,
            )
            for place, one in enumerate(analysis.people)
        )
        return Account(analysis, speaker, in_view, adjusted)

    def _whose(self, seen: SeenPerson) -> int | None:
        """Who it is that is in view and does not speak."""
        return None if seen.identity is None else self._speakers.whose(seen.identity)

    def _person(
        self, seen: SeenPerson, speaker: int | None, *, speaks: bool, confidence: float | None
    ) -> WirePerson:
        """Somebody in view, as they are told."""
        last = seen.faces[-1]
        return WirePerson(
            speaks=speaks,
            confidence=confidence,
            speaker=speaker,
            time=last.time,
            box=last.told_box,
        )

    def learn_rest(self) -> None:
        """The last utterance showed its speaker at rest; later scores are also told without that.

        Raises:
            ValueError: no utterance has been analysed.
        """
        if self._last is None:
            raise ValueError("no utterance has been analysed")
        entry, scores = self._last
        entry.rest.learn(scores)
        self._adjusts = True

    def settle(self) -> Iterator[tuple[Merged, str]]:
        """Speakers of whom it has turned out that they are one, and what that one is called."""
        while (merged := self._speakers.settle()) is not None:
            yield merged, self._join(merged)

    def rename(self, speaker: int, name: str) -> None:
        """Call a speaker by a name.

        Raises:
            KeyError: there is no such speaker.
        """
        self._entries[speaker].name = name

    def merge(self, gone: int, into: int) -> tuple[Merged, str]:
        """Two speakers are one.

        Raises:
            KeyError: one of them is not known.
            ValueError: they are the same.
        """
        merged = self._speakers.merge(gone, into)
        return merged, self._join(merged)

    def told(self) -> WireAverage:
        """All averages as they stand."""
        whole = WireAverage.of(self.average)
        each = tuple(
            WireSpeakerAverage.of(number, entry.name, entry.spoken_s, entry.average)
            for number, entry in sorted(
                (number, entry) for number, entry in self._entries.items() if number is not None
            )
        )
        return whole.model_copy(update={"speakers": each})

    def _join(self, merged: Merged) -> str:
        names = {number: self._entries[number].name for number in (merged.speaker, merged.gone)}
        gone, kept = self._entries.pop(merged.gone), self._entries[merged.speaker]
        kept.name = joint_name(names, merged.speaker, merged.gone)
        kept.average.absorb(gone.average)
        kept.rest.absorb(gone.rest)
        kept.spoken_s += gone.spoken_s
        if self._last is not None and self._last[0] is gone:
            self._last = kept, self._last[1]
        return kept.name
