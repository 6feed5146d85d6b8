"""What sessions found, judged by the thresholds of whoever asks.

In: sessions, of one person each, and thresholds that were moved. Out: `Findings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.emotions import EMOTIONS, above
from realtime.attribution import Attribution, averages_of
from realtime.events import (
    SessionStarted,
    SourceWarning,
    UtteranceFailed,
    UtteranceResult,
    WireAverage,
)
from web.errors import ApiError
from web.sessions.ended import Session
from web.sessions.hub import AnySession


@dataclass(frozen=True)
class Findings:
    """All that lasts of one session, judged by the thresholds of whoever asks.

    Attributes:
        person: who is analysed; empty where nobody has said so, as of a file.
        began_s: when, in seconds after the first of the sessions that are told together.
        started: which models were used; None if the session has not begun.
        utterances: in order, each with its speaker as it is known now.
    """

    session: Session
    person: str
    began_s: float
    started: SessionStarted | None
    utterances: tuple[UtteranceResult | UtteranceFailed, ...]
    warnings: tuple[SourceWarning, ...]
    average: WireAverage

    @property
    def results(self) -> list[UtteranceResult]:
        """The utterances that could be analysed."""
        return [event for event in self.utterances if isinstance(event, UtteranceResult)]

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

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return {
            "session": dict(self.session),
            "models": self.started and {"profile": self.started.profile, "stt": self.started.stt},
            "average": self.average.model_dump(mode="json"),
            "utterances": [event.model_dump(mode="json") for event in self.utterances],
            "warnings": [event.model_dump(mode="json") for event in self.warnings],
        }


def gather(people: Sequence[AnySession], thresholds: Mapping[str, float]) -> list[Findings]:
    """What `people` have shown, with `thresholds` in place of the model's own where given."""
    first = min((hosted.started for hosted in people), default=None)
    return [
        _find(hosted, thresholds, (hosted.started - (first or hosted.started)).total_seconds())
        for hosted in people
    ]


def _find(hosted: AnySession, thresholds: Mapping[str, float], began_s: float) -> Findings:
    utterances: list[UtteranceResult | UtteranceFailed] = []
    warnings: list[SourceWarning] = []
    started: SessionStarted | None = None
    events = [event for _, event in hosted.events]
    known = Attribution(events)
    for event in events:
        match event:
            case UtteranceResult():
                judged = {**event.thresholds, **thresholds}
                adjusted = event.adjusted and replace(
                    event.adjusted, expressed=above(event.adjusted.emotions, judged)
                )
                changes = {
                    "thresholds": judged,
                    "expressed": above(event.emotions, judged),
                    "adjusted": adjusted,
                }
                utterances.append(known.of(event).model_copy(update=changes))
            case UtteranceFailed():
                utterances.append(event)
            case SourceWarning():
                warnings.append(event)
            case SessionStarted():
                started = event
    return Findings(
        session=hosted.to_json(),
        person="" if hosted.kind in ("upload", "source") else hosted.name,
        began_s=began_s,
        started=started,
        utterances=tuple(utterances),
        warnings=tuple(warnings),
        average=averages_of(event for event in utterances if isinstance(event, UtteranceResult)),
    )


def parse_thresholds(text: str) -> dict[str, float]:
    """From ``happiness:0.4,fear:0.25``; `ApiError` if it is no such list."""
    thresholds: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        emotion, _, value = part.partition(":")
        try:
            thresholds[emotion] = float(value)
        except ValueError:
            emotion = ""
        if emotion not in EMOTIONS or not 0 <= thresholds[emotion] <= 1:
            raise ApiError(
                400,
                "bad_thresholds",
                f"{part!r} is no threshold: give EMOTION:VALUE with a value from 0 to 1, of "
                f"{', '.join(EMOTIONS)}",
            )
    return thresholds
