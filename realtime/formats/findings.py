"""What sessions found, judged by the thresholds of whoever asks.

In: sessions, of one person each, and thresholds that were moved. Out: `Findings`, which hold no
events: each reading begins anew, and goes through them one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

from models.emotions import above
from realtime.attribution import Attribution, averages_of
from realtime.events import (
    Event,
    NoteChanged,
    SessionStarted,
    SoundHeard,
    SourceWarning,
    UtteranceFailed,
    UtteranceResult,
    WireAverage,
)


class Told(Protocol):
    """A session whose events can be read, in memory, in a store or in a file."""

    @property
    def name(self) -> str:
        """Of the person, or of what is played."""

    @property
    def kind(self) -> str:
        """Where its media come from, as the server calls it."""

    @property
    def started(self) -> datetime:
        """When it was asked for, UTC."""

    def read(self) -> Iterator[tuple[int, Event]]:
        """Its events until now, each with its number."""

    def to_json(self) -> Mapping[str, Any]:
        """What there is to say of it: at least `id`, `name`, `source`, `started` and `time`."""


@dataclass(frozen=True)
class Findings:
    """All that lasts of one session, judged by the thresholds of whoever asks.

    Attributes:
        session: what there is to say of it.
        person: who is analysed; empty where nobody has said so, as of a file.
        began_s: when, in seconds after the first of the sessions that are told together.
        started: which models were used; None if the session has not begun.
        notes: those that somebody wrote and did not delete, in the order of what they are about.
    """

    session: Mapping[str, Any]
    person: str
    began_s: float
    started: SessionStarted | None
    notes: Sequence[NoteChanged]
    _told: Told
    _thresholds: Mapping[str, float]
    _known: Attribution

    def utterances(self) -> Iterator[UtteranceResult | UtteranceFailed]:
        """In order, each with its speaker as it is known now."""
        for _, event in self._told.read():
            if isinstance(event, UtteranceResult):
                yield self._judged(event)
            elif isinstance(event, UtteranceFailed):
                yield event

    def results(self) -> Iterator[UtteranceResult]:
        """The utterances that could be analysed."""
        return (event for event in self.utterances() if isinstance(event, UtteranceResult))

    def sounds(self) -> Iterator[SoundHeard]:
        """Laughter, applause and the like, in the order in which they ended."""
        return (event for _, event in self._told.read() if isinstance(event, SoundHeard))

    def warnings(self) -> Iterator[SourceWarning]:
        """What went wrong."""
        return (event for _, event in self._told.read() if isinstance(event, SourceWarning))

    @cached_property
    def average(self) -> WireAverage:
        """The averages, of the whole and of each speaker."""
        return averages_of(self.results())

    @property
    def several(self) -> bool:
        """Whether more than one speaker was told apart."""
        return len(self.average.speakers) > 1

    def voice_of(self, result: UtteranceResult) -> str:
        """Who says it, as far as that is worth telling; empty if it is not.

        Of one speaker whom nobody has named there is nothing to tell.
        """
        if self.person or result.speaker is None:
            return self.person
        speaker = result.speaker
        named = speaker.name != f"Speaker {speaker.id}"
        return speaker.name if named or self.several else ""

    def _judged(self, event: UtteranceResult) -> UtteranceResult:
        judged = {**event.thresholds, **self._thresholds}
        adjusted = event.adjusted and replace(
            event.adjusted, expressed=above(event.adjusted.emotions, judged)
        )
        changes = {
            "thresholds": judged,
            "expressed": above(event.emotions, judged),
            "adjusted": adjusted,
        }
        return self._known.of(event).model_copy(update=changes)


def gather(people: Sequence[Told], thresholds: Mapping[str, float]) -> list[Findings]:
    """What `people` have shown, with `thresholds` in place of the model's own where given."""
    first = min((told.started for told in people), default=None)
    return [
        _find(told, thresholds, (told.started - (first or told.started)).total_seconds())
        for told in people
    ]


def _find(told: Told, thresholds: Mapping[str, float], began_s: float) -> Findings:
    known, started = Attribution(), None
    notes: dict[int, NoteChanged] = {}
    for _, event in told.read():
        known.take(event)
        if isinstance(event, SessionStarted):
            started = event
        elif isinstance(event, NoteChanged):
            notes[event.note] = event
    return Findings(
        session=told.to_json(),
        person="" if told.kind in ("upload", "source") else told.name,
        began_s=began_s,
        started=started,
        notes=sorted((note for note in notes.values() if note.text), key=lambda note: note.at),
        _told=told,
        _thresholds=thresholds,
        _known=known,
    )
