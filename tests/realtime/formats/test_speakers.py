"""What is taken away of a session of several people tells them apart, as they are known last."""

from __future__ import annotations

import csv
import json
import re

import pytest
from found import result, session

from realtime.events import Event, SpeakerChanged, UtteranceFailed, UtteranceResult
from realtime.formats.captions import to_vtt
from realtime.formats.document import to_json
from realtime.formats.findings import Findings, gather
from realtime.formats.report import report
from realtime.formats.tables import UTTERANCES, to_csv, utterance_rows
from realtime.storage.store import SessionStore


def vtt(found: list[Findings]) -> str:
    return "".join(to_vtt(found))


def page(found: list[Findings]) -> str:
    return "".join(report("film", found))


def said(number: int, speaker: int, happiness: float, text: str = "so") -> UtteranceResult:
    """By a speaker of a film, of 1.25 s."""
    by = {"id": speaker, "name": f"Speaker {speaker}", "by": "voice", "confidence": 0.75}
    seen = {"speaks": True, "speaker": speaker, "time": 1, "box": [1, 2, 3, 4]}
    return result(number, text, happiness, speaker=by, in_view=[seen, {**seen, "speaker": None}])


def changed(speaker: int, name: str, gone: int | None = None) -> SpeakerChanged:
    return SpeakerChanged(session="s", time=9, speaker=speaker, name=name, gone=gone)


def film(store: SessionStore, *changes: Event) -> list[Findings]:
    told = said(1, 1, 0.9), said(2, 2, 0.1), said(3, 3, 0.7)
    return gather([session(store, "film.mp4", *told, *changes, kind="upload")], {})


def test_utterances_and_averages_are_of_the_speaker_who_is_known_now(store: SessionStore) -> None:
    (found,) = film(store, changed(1, "Speaker 1", gone=3), changed(1, "=Ann"))
    one, two, three = csv.DictReader(to_csv(UTTERANCES, utterance_rows([found])))
    assert [row["speaker"] for row in (one, two, three)] == ["'=Ann", "Speaker 2", "'=Ann"]
    assert (three["speaker_by"], three["speaker_confidence"]) == ("voice", "0.7500")
    assert (three["faces"], three["faces_in_view"]) == ("1", "2")
    written = json.loads("".join(to_json([found], together=False)))
    assert [event["speaker"]["id"] for event in written["utterances"]] == [1, 2, 1]
    assert [person["speaker"] for person in written["utterances"][2]["in_view"]] == [1, None]
    ann, other = written["average"]["speakers"]
    assert (ann["id"], ann["name"], ann["utterances"], ann["spoken"]) == (1, "=Ann", 2, 2.5)
    assert ann["emotions"]["happiness"] == pytest.approx(0.8)
    assert ann["neutral"] == 0.25
    assert (other["name"], other["expressed"]) == ("Speaker 2", [])


def test_the_averages_of_speakers_follow_the_thresholds(store: SessionStore) -> None:
    hosted = session(store, "film.mp4", said(1, 1, 0.9), said(2, 2, 0.3), kind="upload")
    (found,) = gather([hosted], {"happiness": 0.2})
    assert [speaker.expressed for speaker in found.average.speakers] == [("happiness",)] * 2
    assert found.average.speakers[1].thresholds["happiness"] == 0.2


def test_captions_name_the_speakers_of_a_film_where_that_tells_something(
    store: SessionStore,
) -> None:
    assert vtt(film(store)).count("<v Speaker ") == 3
    one = changed(1, "Speaker 1", gone=2), changed(1, "Speaker 1", gone=3)
    assert "<v" not in vtt(film(store, *one))
    assert vtt(film(store, *one, changed(1, "Ann"))).count("<v Ann>") == 3
    call = session(store, "Ada", said(1, 1, 0.9), said(2, 2, 0.9))
    assert vtt(gather([call], {})).count("<v Ada>") == 2


def test_a_report_has_a_table_of_people_if_there_are_several(store: SessionStore) -> None:
    found = film(store, changed(1, "<Ann>", gone=3))
    text = page(found)
    assert "<h3>People</h3>" in text
    assert '<th scope="row">&lt;Ann&gt;</th><td>67 %</td><td>2</td><td>happiness</td>' in text
    assert '<td>&lt;Ann&gt;</td><td class="words"><div>so</div></td>' in text
    assert re.findall("<th[^>]*>(.*?)</th>", text).count("Speaker") == 1
    assert text.count("<tr>") == 1 + 2 + 1 + 3
    alone = page(film(store, changed(1, "Ann", gone=2), changed(1, "Ann", gone=3)))
    assert "<h3>People</h3>" not in alone
    assert "Speaker</th>" not in alone


def test_a_failed_utterance_fills_the_row_of_a_report_with_speakers(store: SessionStore) -> None:
    failed = UtteranceFailed(
        session="s", time=4, utterance=2, start=2.5, end=3.75, stage="stt", message="it ended"
    )
    told = said(1, 1, 0.9), failed, said(3, 2, 0.1)
    text = page(gather([session(store, "film.mp4", *told, kind="upload")], {}))
    assert '<td colspan="11">Could not be analysed' in text
