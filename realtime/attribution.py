"""Whose each utterance of a session is, after all that was told of its speakers.

In: events, in order. Out: the speakers with their names, results given to them, averages of each.
Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from realtime.average import RunningAverage
from realtime.events import (
    Event,
    SpeakerChanged,
    UtteranceResult,
    WireAverage,
    WireSpeakerAverage,
)


def unnamed(speaker: int) -> str:
    """What a speaker is called until somebody gives a name."""
    return f"Speaker {speaker}"


def joint_name(names: Mapping[int, str], into: int, gone: int) -> str:
    """What speaker `into` is called who turned out to be `gone`, too: a given name is kept."""
    given = names[into] != unnamed(into) or names[gone] == unnamed(gone)
    return names[into] if given else names[gone]


class Attribution:
    """The speakers of a session as far as its events have told.

    Attributes:
        names: of those who are left, by number.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.names: dict[int, str] = {}
        self._into: dict[int, int] = {}  # who is no more, and who they turned out to be
        for event in events:
            self.take(event)

    def take(self, event: Event) -> None:
        """Follow the next event."""
        match event:
            case UtteranceResult(speaker=speaker) if speaker is not None:
                self.names.setdefault(self._now(speaker.id), speaker.name)
            case SpeakerChanged(speaker=number, name=name, gone=gone):
                self.names[number] = name
                if gone is not None:
                    self.names.pop(gone, None)
                    self._into = {
                        was: number if now == gone else now for was, now in self._into.items()
                    } | {gone: number}

    def of(self, result: UtteranceResult) -> UtteranceResult:
        """The result with its speaker, and those in view, as they are known now."""
        speaker = result.speaker
        if speaker is not None:
            number = self._now(speaker.id)
            speaker = speaker.model_copy(update={"id": number, "name": self.names[number]})
        in_view = tuple(
            person
            if person.speaker is None
            else person.model_copy(update={"speaker": self._now(person.speaker)})
            for person in result.in_view
        )
        return result.model_copy(update={"speaker": speaker, "in_view": in_view})

    def _now(self, number: int) -> int:
        return self._into.get(number, number)


def averages_of(results: Iterable[UtteranceResult]) -> WireAverage:
    """The averages over `results`: of the whole, and of each speaker that they name."""
    whole = RunningAverage()
    each: defaultdict[int, RunningAverage] = defaultdict(RunningAverage)
    names: dict[int, str] = {}
    spoken_s: defaultdict[int, float] = defaultdict(float)
    for result in results:
        averages = [whole]
        if result.speaker is not None:
            number = result.speaker.id
            averages.append(each[number])
            names[number] = result.speaker.name
            spoken_s[number] += result.end - result.start
        for average in averages:
            average.add(
                result.emotions,
                result.neutral,
                result.thresholds,
                result.adjusted,
                result.prosody,
            )
    speakers = tuple(
        WireSpeakerAverage.of(number, names[number], spoken_s[number], average)
        for number, average in sorted(each.items())
    )
    return WireAverage.of(whole).model_copy(update={"speakers": speakers})


def share_of_talk(speaker: WireSpeakerAverage, average: WireAverage) -> str:
    """How much of what all speakers said was theirs: ``62 %``."""
    all_s = sum(one.spoken for one in average.speakers)
    return f"{speaker.spoken / all_s if all_s else 0:.0%}".replace("%", " %")
