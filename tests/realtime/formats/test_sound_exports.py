"""Laughter and the like are in every file that is taken away."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pympi
import pytest
import srt
import webvtt
from found import result, session

from realtime.events import SoundHeard
from realtime.formats.captions import to_srt, to_vtt
from realtime.formats.document import to_json
from realtime.formats.elan import to_eaf
from realtime.formats.findings import Findings, gather
from realtime.formats.report import report
from realtime.formats.tables import SOUNDS, sound_rows, to_csv
from realtime.storage.store import SessionStore


def heard(kind: str, start: float, end: float) -> SoundHeard:
    return SoundHeard(session="s", time=end, kind=kind, start=start, end=end, confidence=0.8125)


@pytest.fixture
def found(store: SessionStore) -> list[Findings]:
    """Applause ends before laughter that began sooner, around words."""
    sounds = (
        heard("applause", 5.5, 7.5),
        heard("laughter", 0.25, 9.5),
        heard("laughter", 20.5, 21.5),
    )
    told = session(store, "film.mp4", result(1, "thanks", 0.9), *sounds, kind="upload")
    return gather([told], {})


def test_a_table_has_a_row_for_each(found: list[Findings]) -> None:
    rows = [*csv.DictReader("".join(to_csv(SOUNDS, sound_rows(found))).splitlines())]
    assert [(row["kind"], float(row["start_s"]), float(row["end_s"])) for row in rows] == [
        ("applause", 5.5, 7.5),
        ("laughter", 0.25, 9.5),
        ("laughter", 20.5, 21.5),
    ]
    assert rows[0]["confidence"] == "0.8125"
    assert rows[0]["source"] == "source of film.mp4"


def test_json_has_the_events(found: list[Findings]) -> None:
    told = json.loads("".join(to_json(found, together=False)))
    assert [sound["kind"] for sound in told["sounds"]] == ["applause", "laughter", "laughter"]
    assert told["sounds"] == [event.model_dump(mode="json") for event in found[0].sounds()]


def test_captions_tell_them_in_brackets(found: list[Findings]) -> None:
    vtt = webvtt.from_string("".join(to_vtt(found)))
    words = ["[laughter]", "thanks\n(happiness)", "[applause]", "[laughter]"]
    assert [caption.text for caption in vtt] == words
    assert (vtt[0].start, vtt[0].end) == ("00:00:00.250", "00:00:09.500")
    assert [caption.content for caption in srt.parse("".join(to_srt(found)))] == words


def test_each_kind_is_a_tier(found: list[Findings], tmp_path: Path) -> None:
    path = tmp_path / "talk.eaf"
    path.write_text("".join(to_eaf(found)), encoding="utf-8")
    eaf = pympi.Elan.Eaf(str(path))
    assert [*eaf.get_tier_names()][-2:] == ["applause", "laughter"]
    assert sorted(eaf.get_annotation_data_for_tier("laughter")) == [
        (250, 9500, "laughter"),
        (20_500, 21_500, "laughter"),
    ]


def test_a_report_counts_them(found: list[Findings]) -> None:
    page = "".join(report("Film", found))
    assert "<li>laughter, 2 times: 0:00.2 to 0:09.5, 0:20.5 to 0:21.5</li>" in page
    assert "<li>applause, 1 time: 0:05.5 to 0:07.5</li>" in page
