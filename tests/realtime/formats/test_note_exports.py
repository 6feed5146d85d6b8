"""Notes that somebody wrote are in the files that are taken away."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pympi
import pytest
from found import NASTY, result, session
from praatio import textgrid

from realtime.events import NoteChanged
from realtime.formats.document import to_json
from realtime.formats.elan import to_eaf
from realtime.formats.findings import Findings, gather
from realtime.formats.praat import to_textgrid
from realtime.formats.report import report
from realtime.formats.tables import NOTES, note_rows, to_csv
from realtime.storage.store import SessionStore


def note(number: int, at: float, text: str) -> NoteChanged:
    return NoteChanged(session="s", time=30, note=number, at=at, text=text)


@pytest.fixture
def found(store: SessionStore) -> list[Findings]:
    """The second note is about what was before the first; the third was deleted."""
    notes = (note(1, 3.25, NASTY), note(2, 1.5, "the price"), note(3, 2, "no"), note(3, 2, ""))
    told = session(store, "film.mp4", result(1, "thanks", 0.9), *notes, kind="upload")
    return gather([told], {})


def test_they_come_in_the_order_of_what_they_are_about(found: list[Findings]) -> None:
    told = json.loads("".join(to_json(found, together=False)))["notes"]
    assert [(one["note"], one["at"], one["text"]) for one in told] == [
        (2, 1.5, "the price"),
        (1, 3.25, NASTY),
    ]


def test_none_is_a_formula_in_a_spreadsheet(found: list[Findings]) -> None:
    rows = [*csv.DictReader("".join(to_csv(NOTES, note_rows(found))).splitlines(keepends=True))]
    assert [(float(row["time_s"]), row["text"]) for row in rows] == [
        (1.5, "the price"),
        (3.25, "'" + NASTY),
    ]


def test_they_are_a_tier(found: list[Findings], tmp_path: Path) -> None:
    path = tmp_path / "talk.eaf"
    path.write_text("".join(to_eaf(found)), encoding="utf-8")
    elan = pympi.Elan.Eaf(str(path)).get_annotation_data_for_tier("notes")
    assert sorted(elan)[0] == (1500, 2000, "the price")
    assert len(elan) == 2
    path = tmp_path / "talk.TextGrid"
    path.write_text("".join(to_textgrid(found)), encoding="utf-8")
    praat = textgrid.openTextgrid(str(path), includeEmptyIntervals=False).getTier("notes")
    assert tuple(praat.entries[0]) == (1.5, 2.0, "the price")


def test_a_report_lists_them_and_marks_them_in_its_chart(found: list[Findings]) -> None:
    page = "".join(report("Film", found))
    assert "<h3>Notes</h3><ul><li>0:01.5: the price</li>" in page
    assert "<li>0:03.2: =1+1 &lt;/script&gt;&lt;img" in page
    assert NASTY.splitlines()[0] not in page
    (line,) = (line for line in page.splitlines() if line.startswith("const noted"))
    (points,) = json.loads(line.removeprefix("const noted = ").rstrip(";")).values()
    assert [at for at, _ in points] == [1.5, 3.25]
