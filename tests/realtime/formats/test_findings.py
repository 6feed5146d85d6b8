"""What sessions found follows the thresholds of whoever asks."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from earlier import store_earlier
from found import people, result, session

from models.emotions import EMOTIONS
from realtime.formats.document import to_json
from realtime.formats.findings import Findings, gather
from realtime.formats.report import report
from realtime.formats.tables import UTTERANCES, to_csv, utterance_rows
from realtime.storage.store import SessionStore
from web.sessions.ended import Kept


def written(found: Findings) -> Any:
    return json.loads("".join(to_json([found], together=False)))


def test_the_average_and_what_is_expressed_follow_the_thresholds(store: SessionStore) -> None:
    _, ada = people(store)
    assert ada.average.utterances == 2
    assert ada.average.emotions["happiness"] == pytest.approx(0.55)
    assert ada.average.expressed == ("happiness",)

    _, ada = people(store, happiness=0.95, fear=0.05)
    assert ada.average.expressed == ("fear",)
    assert [event.expressed for event in ada.results()] == [("fear",), ("fear",)]
    assert next(ada.results()).thresholds == {
        **dict.fromkeys(EMOTIONS, 0.5),
        "happiness": 0.95,
        "fear": 0.05,
    }
    told = written(ada)
    assert told["average"]["emotions"]["happiness"] == pytest.approx(0.55)
    assert [event["type"] for event in told["utterances"]] == [
        "utterance.result",
        "utterance.failed",
        "utterance.result",
    ]
    assert told["models"] == {"profile": "embedded", "stt": "moonshine-tiny"}


def test_neutral_stays_whatever_the_thresholds_are(store: SessionStore) -> None:
    found = session(store, "Ada", result(1, "a", 0.9), result(2, "b", 0.1, neutral=0.75))
    for thresholds in ({}, dict.fromkeys(EMOTIONS, 0.0)):
        (ada,) = gather([found], thresholds)
        told = written(ada)
        assert [event["neutral"] for event in told["utterances"]] == [0.25, 0.75]
        assert told["average"]["neutral"] == 0.5
        assert "neutral" not in told["average"]["expressed"]


def test_what_an_earlier_version_found_is_told_without_neutral(tmp_path: Path) -> None:
    store_earlier(tmp_path / "s.sqlite")
    store = SessionStore(tmp_path / "s.sqlite")
    found = gather([Kept(row, store) for row in store.sessions(1)], {"happiness": 0.7})
    (row,) = csv.DictReader(to_csv(UTTERANCES, utterance_rows(found)))
    assert (row["happiness"], row["neutral"], row["expressed"]) == ("0.6100", "", "")
    told = written(found[0])
    assert told["utterances"][0]["neutral"] is told["average"]["neutral"] is None
    assert told["average"]["emotions"]["happiness"] == 0.61
    assert "Neutral: \N{EN DASH}." in "".join(report("talk.mp4", found))
