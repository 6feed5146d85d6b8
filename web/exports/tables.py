"""Findings as a table: one row an utterance.

In: `Findings`. Out: CSV.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from models.emotions import EMOTIONS, NEUTRAL
from realtime.baseline import Adjusted
from realtime.events import UtteranceFailed, UtteranceResult, WireSpeaker
from web.exports.findings import Findings

COLUMNS = (
    "person",
    "session",
    "source",
    "session_started",
    "utterance",
    "speaker",
    "speaker_by",
    "speaker_confidence",
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
    "faces_in_view",
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
        **_speaker_cells(event.speaker),
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
        "faces_in_view": len(event.in_view),
        "stt": event.transcript.engine,
        "close_to_result_s": f"{event.latency.close_to_result:.3f}",
    }


def _speaker_cells(speaker: WireSpeaker | None) -> dict[str, object]:
    if speaker is None:
        return {}
    return {
        "speaker": _cell(speaker.name),
        "speaker_by": speaker.by,
        "speaker_confidence": f"{speaker.confidence:.4f}",
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
