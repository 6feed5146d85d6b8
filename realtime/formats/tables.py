"""Findings as tables: one row per utterance, face, sound or note.

In: `Findings`. Out: rows of Python values, and CSV of them, a row at a time.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from itertools import chain
from typing import TypeAlias

from models.emotions import EMOTIONS, NEUTRAL
from models.prosody import Prosody
from realtime.baseline import Adjusted
from realtime.events import UtteranceFailed, UtteranceResult
from realtime.formats.findings import Findings
from realtime.wire import WireSpeaker

Columns: TypeAlias = Mapping[str, type]
"""Of a table, in order: name to the type of its values, of which each may be None."""

Row: TypeAlias = dict[str, object]
"""Of a table: column to value. What is left out is None."""

UTTERANCES: Columns = {
    "person": str,
    "session": str,
    "source": str,
    "session_started": str,
    "utterance": int,
    "speaker": str,
    "speaker_by": str,
    "speaker_confidence": float,
    "start_s": float,
    "end_s": float,
    "reason": str,
    "text": str,
    "confidence": float,
    "expressed": str,
    "modalities": str,
    **dict.fromkeys(EMOTIONS, float),
    NEUTRAL: float,
    **{f"threshold_{emotion}": float for emotion in EMOTIONS},
    **{f"{emotion}_less_rest": float for emotion in EMOTIONS},
    "expressed_less_rest": str,
    "utterances_at_rest": int,
    **{field.name: float for field in fields(Prosody)},
    "faces": int,
    "faces_in_view": int,
    "stt": str,
    "close_to_result_s": float,
    "failed": str,
}
"""One row per utterance. What is several is in one cell, with spaces between."""

FACES: Columns = {
    "input": str,
    "session": str,
    "person": str,
    "utterance": int,
    "speaker": str,
    "shown": bool,
    "time_s": float,
    "approx_time": str,
    "FaceRectX": float,
    "FaceRectY": float,
    "FaceRectWidth": float,
    "FaceRectHeight": float,
    "FaceScore": float,
    "anger": float,
    "disgust": float,
    "fear": float,
    "happiness": float,
    "sadness": float,
    "surprise": float,
    "neutral": float,
}
"""One row per face. `input`, `approx_time`, ``FaceRect…``, `FaceScore` and the emotions are named
as py-feat names them; but the scores are of the utterance, from face, voice and words. A face that
the model was not `shown`, of somebody else in view, has none, and no `FaceScore`."""


SOUNDS: Columns = {
    "person": str,
    "session": str,
    "source": str,
    "session_started": str,
    "kind": str,
    "start_s": float,
    "end_s": float,
    "confidence": float,
}
"""One row per non-speech sound: laughter, applause and the like."""

NOTES: Columns = {
    "person": str,
    "session": str,
    "source": str,
    "session_started": str,
    "time_s": float,
    "text": str,
}
"""One row a note that somebody wrote, at the time of what it is about."""


def utterance_rows(people: Iterable[Findings]) -> Iterator[Row]:
    """A row of `UTTERANCES` for each utterance of all `people`."""
    for found in people:
        for event in found.utterances():
            row = _session_cells(found) | {
                "utterance": event.utterance,
                "start_s": event.start,
                "end_s": event.end,
            }
            if isinstance(event, UtteranceFailed):
                yield row | {"failed": f"{event.stage}: {event.message}"}
            else:
                yield row | _result_cells(event)


def face_rows(people: Iterable[Findings]) -> Iterator[Row]:
    """A row of `FACES` for each face that the model was shown, and each that was also in view."""
    for found in people:
        names: dict[int, str] = {}  # of the speakers heard so far
        for event in found.results():
            if event.speaker is not None:
                names[event.speaker.id] = event.speaker.name
            row: Row = {
                "input": found.session["source"],
                "session": found.session["id"],
                "person": found.person,
                "utterance": event.utterance,
            }
            scores: Row = {**event.emotions, NEUTRAL: event.neutral}
            speaker = event.speaker and event.speaker.name
            for face in event.faces:
                place = _place(face.time, face.box)
                shown = {"speaker": speaker, "shown": True, "FaceScore": face.confidence}
                yield row | place | shown | scores
            for person in event.in_view:
                if not (person.speaks and event.faces):  # who speaks is above
                    name = None if person.speaker is None else names.get(person.speaker)
                    place = _place(person.time, person.box)
                    yield row | place | {"speaker": name, "shown": False}


def sound_rows(people: Iterable[Findings]) -> Iterator[Row]:
    """A row of `SOUNDS` for each sound of all `people`."""
    for found in people:
        for event in found.sounds():
            yield _session_cells(found) | {
                "kind": event.kind,
                "start_s": event.start,
                "end_s": event.end,
                "confidence": event.confidence,
            }


def note_rows(people: Iterable[Findings]) -> Iterator[Row]:
    """A row of `NOTES` for each note of all `people`."""
    for found in people:
        for note in found.notes:
            yield _session_cells(found) | {"time_s": note.at, "text": note.text}


def to_csv(columns: Columns, rows: Iterable[Row]) -> Iterator[str]:
    """The table as CSV, with a first line of names.

    Numbers are written in full: whoever reads them gets those of the events. What is text, and
    would be a formula in a spreadsheet, has an apostrophe in front; see `safe`.
    """
    places = {name: 3 if name.endswith("_s") else 4 for name in columns}
    yield from delimited(
        [*columns], ([cell(row.get(name), least) for name, least in places.items()] for row in rows)
    )


def delimited(
    names: Sequence[str], rows: Iterable[Sequence[str]], delimiter: str = ","
) -> Iterator[str]:
    """Cells as lines of a table, the `names` first."""
    line = _Line()
    ending = "\r\n" if delimiter == "," else "\n"
    writer = csv.writer(line, delimiter=delimiter, lineterminator=ending)
    for row in chain([names], rows):
        writer.writerow(row)
        yield line.text


class _Line:
    """Where a `csv.writer` writes one line, to be taken before the next."""

    text = ""

    def write(self, text: str) -> None:
        self.text = text


def cell(value: object, least: int = 4) -> str:
    """A value as it stands in a table: a number with at least so many decimals, none left out."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            short = f"{value:.{least}f}"
            return short if float(short) == value else repr(value)
        case str():
            return safe(value)
        case _:
            return str(value)


def safe(text: str) -> str:
    """`text` so that a spreadsheet takes it for text, whatever it begins with.

    An apostrophe goes before what begins a formula, as OWASP advises against CSV injection. It also
    goes before apostrophes that such a beginning follows, so that to take one away gives `text`.
    """
    return f"'{text}" if _FORMULA.match(text) else text


_FORMULA = re.compile(
    "'*[=+\\-@\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}"
    "\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}]"
)


def _session_cells(found: Findings) -> Row:
    return {
        "person": found.person,
        "session": found.session["id"],
        "source": found.session["source"],
        "session_started": found.session["started"],
    }


def _result_cells(event: UtteranceResult) -> Row:
    return {
        **_speaker_cells(event.speaker),
        "reason": event.reason,
        "text": event.transcript.text,
        "confidence": event.transcript.confidence,
        "expressed": " ".join(event.expressed),
        "modalities": " ".join(event.modalities),
        **event.emotions,
        NEUTRAL: event.neutral,
        **{f"threshold_{emotion}": event.thresholds[emotion] for emotion in EMOTIONS},
        **_adjusted_cells(event.adjusted),
        **(asdict(event.prosody) if event.prosody else {}),
        "faces": len(event.faces),
        "faces_in_view": len(event.in_view),
        "stt": event.transcript.engine,
        "close_to_result_s": event.latency.close_to_result,
    }


def _speaker_cells(speaker: WireSpeaker | None) -> Row:
    if speaker is None:
        return {}
    return {
        "speaker": speaker.name,
        "speaker_by": speaker.by,
        "speaker_confidence": speaker.confidence,
    }


def _adjusted_cells(adjusted: Adjusted | None) -> Row:
    if adjusted is None:
        return {}
    return {
        **{f"{emotion}_less_rest": adjusted.emotions[emotion] for emotion in EMOTIONS},
        "expressed_less_rest": " ".join(adjusted.expressed),
        "utterances_at_rest": adjusted.resting,
    }


def _place(time_s: float, box: tuple[float, float, float, float]) -> Row:
    x, y, width, height = box
    minutes, seconds = divmod(int(time_s), 60)
    return {
        "time_s": time_s,
        "approx_time": f"{minutes:02d}:{seconds:02d}",
        "FaceRectX": x,
        "FaceRectY": y,
        "FaceRectWidth": width,
        "FaceRectHeight": height,
    }
