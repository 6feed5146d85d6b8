"""What a session found, to be taken away: as JSON, CSV and WebVTT.

In: sessions, of one person each, and thresholds that were moved. Out: text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from models.emotions import EMOTIONS, NEUTRAL, above
from realtime.average import RunningAverage
from realtime.baseline import Adjusted
from realtime.events import (
    SessionStarted,
    SourceWarning,
    UtteranceFailed,
    UtteranceResult,
    WireAverage,
)
from web.errors import ApiError
from web.hub import AnySession
from web.kept import Session


@dataclass(frozen=True)
class Findings:
    """All that lasts of one session, judged by the thresholds of whoever asks.

    Attributes:
        person: who speaks; empty where nobody has said so, as of a file.
        began_s: when, in seconds after the first of the sessions that are told together.
        started: which models were used; None if the session has not begun.
        utterances: in order.
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
    average = RunningAverage()
    for _, event in hosted.events:
        match event:
            case UtteranceResult():
                judged = {**event.thresholds, **thresholds}
                adjusted = event.adjusted and replace(
                    event.adjusted, expressed=above(event.adjusted.emotions, judged)
                )
                average.add(event.emotions, event.neutral, judged, adjusted)
                changes = {
                    "thresholds": judged,
                    "expressed": above(event.emotions, judged),
                    "adjusted": adjusted,
                }
                utterances.append(event.model_copy(update=changes))
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
        average=WireAverage.of(average),
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


COLUMNS = (
    "person",
    "session",
    "source",
    "session_started",
    "utterance",
    "start_s",
    "end_s",
    "reason",
    "text",
    "confidence",
    "expressed",
    "modalities",
    *EMOTIONS,
    NEUTRAL,
    *(f"threshold_{emotion}" for emotion in EMOTIONS),
    *(f"{emotion}_less_rest" for emotion in EMOTIONS),
    "expressed_less_rest",
    "utterances_at_rest",
    "faces",
    "stt",
    "close_to_result_s",
    "failed",
)


def to_csv(people: Iterable[Findings]) -> str:
    """One row an utterance, of all `people`; columns as `COLUMNS`."""
    text = io.StringIO()
    rows = csv.DictWriter(text, COLUMNS)
    rows.writeheader()
    for person in people:
        for event in person.utterances:
            row: dict[str, object] = {
                "person": _cell(person.person),
                "session": person.session["id"],
                "source": _cell(person.session["source"]),
                "session_started": person.session["started"],
                "utterance": event.utterance,
                "start_s": f"{event.start:.3f}",
                "end_s": f"{event.end:.3f}",
            }
            if isinstance(event, UtteranceFailed):
                row["failed"] = _cell(f"{event.stage}: {event.message}")
            else:
                row |= _result_cells(event)
            rows.writerow(row)
    return text.getvalue()


def _result_cells(event: UtteranceResult) -> dict[str, object]:
    sure = event.transcript.confidence
    return {
        "reason": event.reason,
        "text": _cell(event.transcript.text),
        "confidence": "" if sure is None else f"{sure:.4f}",
        "expressed": " ".join(event.expressed),
        "modalities": " ".join(event.modalities),
        **{emotion: f"{event.emotions[emotion]:.4f}" for emotion in EMOTIONS},
        NEUTRAL: "" if event.neutral is None else f"{event.neutral:.4f}",
        **{f"threshold_{emotion}": f"{event.thresholds[emotion]:.4f}" for emotion in EMOTIONS},
        **_adjusted_cells(event.adjusted),
        "faces": len(event.faces),
        "stt": event.transcript.engine,
        "close_to_result_s": f"{event.latency.close_to_result:.3f}",
    }


def _adjusted_cells(adjusted: Adjusted | None) -> dict[str, object]:
    if adjusted is None:
        return {}
    return {
        **{f"{emotion}_less_rest": f"{adjusted.emotions[emotion]:.4f}" for emotion in EMOTIONS},
        "expressed_less_rest": " ".join(adjusted.expressed),
        "utterances_at_rest": adjusted.resting,
    }


def _cell(text: str) -> str:
    """`text` so that a spreadsheet takes it for text, whatever it begins with."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def to_vtt(people: Iterable[Findings]) -> str:
    """Captions: who says what, and what they express, in the order it was said.

    Of several people the time is that of the first session's beginning.
    """
    cues = sorted(
        (
            (person.began_s + event.start, person.began_s + event.end, person.person, event)
            for person in people
            for event in person.results
        ),
        key=lambda cue: cue[:2],
    )
    parts = ["WEBVTT\n"]
    for number, (start, end, person, event) in enumerate(cues, 1):
        words = _caption(event.transcript.shown)
        said = f"<v {_caption(person)}>{words}</v>" if person else words
        mood = f"\n({', '.join(event.expressed)})" if event.expressed else ""
        parts.append(f"{number}\n{_vtt_time(start)} --> {_vtt_time(end)}\n{said}{mood}\n")
    return "\n".join(parts)


def _caption(text: str) -> str:
    """`text` on one line, with nothing in it that WebVTT would take for markup."""
    return escape(" ".join(text.split()), quote=False)


def _vtt_time(seconds: float) -> str:
    minutes, ms = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d}.{ms % 1000:03d}"
