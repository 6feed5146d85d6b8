"""The formats in which findings can be taken away.

In: nothing. Out: `FORMATS`, for the command line and the server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

from realtime.formats.bids import to_events_tsv, to_sidecar
from realtime.formats.captions import to_srt, to_vtt
from realtime.formats.document import to_json
from realtime.formats.elan import to_eaf
from realtime.formats.findings import Findings
from realtime.formats.parquet import to_parquet
from realtime.formats.praat import to_textgrid
from realtime.formats.report import report
from realtime.formats.tables import (
    FACES,
    NOTES,
    SOUNDS,
    UTTERANCES,
    face_rows,
    note_rows,
    sound_rows,
    to_csv,
    utterance_rows,
)

BOM = "\ufeff"
"""The byte order mark, without which Excel takes a CSV file for one in an old code page."""


@dataclass(frozen=True)
class Wish:
    """How findings are to be told.

    Attributes:
        title: of the report.
        together: in JSON, as a list of people, though there may be one.
        speakers, emotions: whether captions tell them.
    """

    title: str
    together: bool = True
    speakers: bool = True
    emotions: bool = True


Write: TypeAlias = Callable[[Sequence[Findings], Wish], Iterable[str | bytes]]


@dataclass(frozen=True)
class Format:
    """A way to write findings into a file.

    Attributes:
        about: what is in the file, in a line.
        route: what it is called in the interface of the server.
        ending: of the name of the file.
        media_type: of the file.
        write: gives its pieces; a `UsageError` where a library is missing.
        one_time: everything in it stands on one line of time, so that sessions of different days
            do not belong together.
    """

    about: str
    route: str
    ending: str
    media_type: str
    write: Write
    one_time: bool = True


FORMATS = {
    "json": Format(
        "Everything that was found: each utterance, the average, the warnings.",
        "results.json",
        ".json",
        "application/json",
        lambda people, wish: to_json(people, together=wish.together),
        one_time=False,
    ),
    "csv": Format(
        "A table: one row per utterance.",
        "results.csv",
        ".csv",
        "text/csv",
        lambda people, _: chain([BOM], to_csv(UTTERANCES, utterance_rows(people))),
        one_time=False,
    ),
    "faces": Format(
        "A table: one row per face, with columns as py-feat names them.",
        "faces.csv",
        "_faces.csv",
        "text/csv",
        lambda people, _: chain([BOM], to_csv(FACES, face_rows(people))),
        one_time=False,
    ),
    "sounds": Format(
        "A table: one row per non-speech sound: laughter, crying, applause and the like.",
        "sounds.csv",
        "_sounds.csv",
        "text/csv",
        lambda people, _: chain([BOM], to_csv(SOUNDS, sound_rows(people))),
        one_time=False,
    ),
    "notes": Format(
        "A table: one row per note that was written on the dashboard.",
        "notes.csv",
        "_notes.csv",
        "text/csv",
        lambda people, _: chain([BOM], to_csv(NOTES, note_rows(people))),
        one_time=False,
    ),
    "parquet": Format(
        "The table of utterances, for pandas, R and DuckDB.",
        "results.parquet",
        ".parquet",
        "application/vnd.apache.parquet",
        lambda people, _: to_parquet(people),
        one_time=False,
    ),
    "vtt": Format(
        "Captions (WebVTT): who said what, and what it expressed.",
        "results.vtt",
        ".vtt",
        "text/vtt",
        lambda people, wish: to_vtt(people, speakers=wish.speakers, emotions=wish.emotions),
    ),
    "srt": Format(
        "Captions (SubRip): who said what, and what it expressed.",
        "results.srt",
        ".srt",
        "application/x-subrip",
        lambda people, wish: to_srt(people, speakers=wish.speakers, emotions=wish.emotions),
    ),
    "eaf": Format(
        "Annotations for ELAN: tiers of words, of each speaker, of each emotion.",
        "results.eaf",
        ".eaf",
        "application/xml",
        lambda people, _: to_eaf(people),
    ),
    "textgrid": Format(
        "Annotations for Praat: the same tiers.",
        "results.TextGrid",
        ".TextGrid",
        "text/plain",
        lambda people, _: to_textgrid(people),
    ),
    "bids": Format(
        "Events as the Brain Imaging Data Structure (BIDS) has them.",
        "events.tsv",
        "_events.tsv",
        "text/tab-separated-values",
        lambda people, _: to_events_tsv(people),
    ),
    "bids-sidecar": Format(
        "What the columns of the events mean (BIDS).",
        "events.json",
        "_events.json",
        "application/json",
        lambda people, _: to_sidecar(people),
    ),
    "report": Format(
        "A page with charts and words that needs no server, and no network.",
        "report.html",
        ".html",
        "text/html",
        lambda people, wish: report(wish.title, people),
    ),
}
"""By name, as the command line calls them."""
