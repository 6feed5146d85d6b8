"""Tables are read back, by csv and by pandas, as what was told; and no cell is a formula."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pandas
import pytest
from checkout import require_or_skip
from found import FAILED, NASTY, conversation, people, result, session
from hypothesis import given
from hypothesis import strategies as st

from models.emotions import EMOTIONS
from realtime.formats.catalogue import FORMATS, Wish
from realtime.formats.document import to_json
from realtime.formats.findings import Findings, gather
from realtime.formats.report import report
from realtime.formats.tables import FACES, UTTERANCES, face_rows, safe, to_csv, utterance_rows
from realtime.storage.store import SessionStore


def table(found: Sequence[Findings]) -> list[str]:
    return [*to_csv(UTTERANCES, utterance_rows(found))]


def test_csv_has_a_row_for_each_utterance_of_each_person(store: SessionStore) -> None:
    rows = [*csv.DictReader(table(people(store)))]
    assert tuple(rows[0]) == (*UTTERANCES,)
    assert [(row["person"], row["utterance"]) for row in rows] == [
        ("'@Bob", "1"),
        ("Ada <b>", "1"),
        ("Ada <b>", "2"),
        ("Ada <b>", "3"),
    ]
    assert [row["happiness"] for row in rows] == ["0.6000", "0.9000", "", "0.2000"]
    assert [row["neutral"] for row in rows] == ["0.2500", "0.2500", "", "0.2500"]
    assert [*UTTERANCES][[*UTTERANCES].index("surprise") + 1] == "neutral"
    assert [row["expressed"] for row in rows] == ["happiness", "happiness", "", ""]
    assert rows[1]["text"] == f"'{NASTY}"
    assert rows[2]["failed"] == "stt: =it ended"
    assert (rows[1]["start_s"], rows[1]["end_s"]) == ("0.500", "1.750")


def test_what_is_told_less_the_persons_rest_is_in_every_export(store: SessionStore) -> None:
    less = {"emotions": {**dict.fromkeys(EMOTIONS, 0.1), "happiness": 0.3}, "expressed": []}
    adjusted = result(1, "so it goes", 0.6, adjusted={"resting": 4, **less})
    hosted = session(store, "Ada", adjusted, result(2, "well", 0.6))
    found = gather([hosted], {"happiness": 0.25})
    first, second = csv.DictReader(table(found))
    assert (first["happiness"], first["happiness_less_rest"]) == ("0.6000", "0.3000")
    assert (first["expressed_less_rest"], first["utterances_at_rest"]) == ("happiness", "4")
    assert (second["happiness_less_rest"], second["utterances_at_rest"]) == ("", "")
    written = json.loads("".join(to_json(found, together=False)))
    assert written["utterances"][0]["adjusted"]["expressed"] == ["happiness"]
    assert written["average"]["adjusted"]["emotions"]["happiness"] == pytest.approx(0.45)
    assert "Less what is usual for this person at rest, expressed: happiness." in "".join(
        report("Ada", found)
    )


def test_no_cell_of_csv_is_taken_for_a_formula(store: SessionStore) -> None:
    for begin in "=+-@\t\r":
        found = gather(
            [session(store, f"{begin}A", result(1, f"{begin}cmd|' /C calc'!A0", 0.1))], {}
        )
        (row,) = csv.DictReader(table(found))
        assert row["person"] == f"'{begin}A"
        assert row["text"] == f"'{begin}cmd|' /C calc'!A0"


def test_pandas_reads_the_numbers_of_the_events(store: SessionStore) -> None:
    (found,) = conversation(store)
    read = pandas.read_csv(io.StringIO("".join(table([found]))), dtype=str)
    results = [*found.results()]
    for emotion in EMOTIONS:
        told = [*map(float, read[emotion].dropna())]
        assert told == [event.emotions[emotion] for event in results]
    assert read["speaker"].tolist()[0] == "'=Ann"


@pytest.mark.slow
def test_pandas_and_libreoffice_read_the_file_alike(store: SessionStore, tmp_path: Path) -> None:
    if shutil.which("soffice") is None:
        require_or_skip("LibreOffice Calc")
    nasty = session(store, "Zoë", result(1, "=cmd|' /C calc'!A0, \"Grüße\" \u4f60", 0.1), FAILED)
    written = tmp_path / "results.csv"
    told = FORMATS["csv"].write(gather([nasty], {}), Wish(""))
    written.write_text("".join(map(str, told)), encoding="utf-8")
    profile = (tmp_path / "profile").as_uri()
    utf8 = "44,34,76,1"  # and commas between, quotes around
    subprocess.run(
        [
            *("soffice", "--headless", f"-env:UserInstallation={profile}"),
            *(f"--infilter=CSV:{utf8}", "--convert-to", f"csv:Text - txt - csv (StarCalc):{utf8}"),
            *("--outdir", str(tmp_path / "back"), str(written)),
        ],
        check=True,
        capture_output=True,
        timeout=240,
    )
    mine, theirs = (pandas.read_csv(file) for file in (written, tmp_path / "back" / "results.csv"))
    assert mine.columns.tolist() == theirs.columns.tolist() == [*UTTERANCES]
    pandas.testing.assert_frame_equal(mine, theirs, check_dtype=False, rtol=1e-14)
    assert theirs["person"].tolist() == ["Zoë"] * 2
    assert theirs["text"][0] == "'=cmd|' /C calc'!A0, \"Grüße\" \u4f60"


def test_a_row_a_face_has_the_names_of_pyfeat(store: SessionStore) -> None:
    (found,) = conversation(store)
    text = "".join(to_csv(FACES, face_rows([found])))
    read = pandas.read_csv(io.StringIO(text))
    first = next(found.results())
    shown, other = read.iloc[0], read.iloc[1]
    assert len(read) == 2 * 3
    rect = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"]
    assert tuple(shown[rect]) == first.faces[0].box
    assert shown["FaceScore"] == first.faces[0].confidence
    assert {emotion: shown[emotion] for emotion in EMOTIONS} == pytest.approx(first.emotions)
    assert (shown["neutral"], shown["input"]) == (first.neutral, "source of film.mp4")
    assert (shown["approx_time"], shown["time_s"], shown["shown"]) == ("00:00", 0.5, True)
    # Somebody else in view, of whom the utterance says nothing.
    assert tuple(other[rect]) == (5, 6.5, 7, 8)
    assert (other["speaker"], other["shown"]) == ("'=Ann", False)
    assert other[["FaceScore", *EMOTIONS, "neutral"]].isna().all()
    assert read["approx_time"].iloc[-1] == "01:19"


@given(st.text("=+-@\t\r\n'a\N{FULLWIDTH EQUALS SIGN}", max_size=4))
def test_to_take_an_apostrophe_away_gives_the_text(text: str) -> None:
    told = safe(text)
    assert not told or told[0] not in "=+-@\t\r\n\N{FULLWIDTH EQUALS SIGN}"
    assert told in (text, f"'{text}")
    quoted = told.startswith("'") and safe(told) != told
    assert (told[1:] if quoted else told) == text
