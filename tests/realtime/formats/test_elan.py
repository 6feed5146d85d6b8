"""An ELAN document is opened by pympi, and says what the events say."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pympi
from found import conversation, people

from models.emotions import OUTPUTS
from realtime.events import UtteranceResult
from realtime.formats.elan import to_eaf
from realtime.formats.findings import Findings
from realtime.storage.store import SessionStore


def opened(found: list[Findings], folder: Path) -> pympi.Elan.Eaf:
    path = folder / "talk.eaf"
    path.write_text("".join(to_eaf(found)), encoding="utf-8")
    return pympi.Elan.Eaf(str(path))


def span(event: UtteranceResult) -> tuple[int, int]:
    return round(event.start * 1000), round(event.end * 1000)


def test_its_tiers_are_the_words_the_speakers_and_each_score(
    store: SessionStore, tmp_path: Path
) -> None:
    (found,) = conversation(store)
    results = [*found.results()]
    eaf = opened([found], tmp_path)
    assert [*eaf.get_tier_names()] == ["words", "=Ann", "Bea", "expressed", *OUTPUTS]
    for name in ("=Ann", "Bea"):
        assert sorted(eaf.get_annotation_data_for_tier(name)) == [
            (*span(event), event.transcript.text)
            for event in results
            if event.speaker and event.speaker.name == name
        ]
    for label in OUTPUTS:
        scores = [{**event.emotions, "neutral": event.neutral}[label] for event in results]
        told = sorted(eaf.get_annotation_data_for_tier(label))
        assert [annotation[:2] for annotation in told] == [span(event) for event in results]
        assert [float(annotation[2]) for annotation in told] == scores
    assert sorted(eaf.get_annotation_data_for_tier("expressed")) == [
        (*span(event), "happiness") for event in results if event.expressed
    ]
    words = sorted(eaf.get_annotation_data_for_tier("words"))
    assert [word for *_, word in words] == ["=it", 'is "so"', "<b>&", "@well", "--> no"]
    assert words[:2] == [(500, 710, "=it"), (710, 910, 'is "so"')]  # estimates that overlapped


def test_people_of_a_call_have_tiers_of_their_own_on_one_line_of_time(
    store: SessionStore, tmp_path: Path
) -> None:
    bob, ada = people(store)
    eaf = opened([bob, ada, ada], tmp_path)
    names = [*eaf.get_tier_names()]
    assert names[:3] == ["words (@Bob)", "@Bob", "expressed (@Bob)"]
    assert "happiness (Ada <b>) 2" in names
    assert len(names) == 3 * 10
    assert eaf.get_annotation_data_for_tier("@Bob") == [(1750, 3000, "good morning")]


def test_what_xml_cannot_hold_is_left_out(store: SessionStore) -> None:
    (found,) = conversation(store)
    broken = Findings(**{**vars(found), "person": "A\x00\x0b\ud800\uffff&<"})
    assert "A    &amp;&lt;" in "".join(to_eaf([broken]))
    ElementTree.fromstring("".join(to_eaf([broken])).encode())
    assert ElementTree.fromstring("".join(to_eaf([])).encode()).tag == "ANNOTATION_DOCUMENT"
