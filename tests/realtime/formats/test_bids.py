"""The events of BIDS are read by pandas, and each column is described."""

from __future__ import annotations

import io
import json

import pandas
from found import conversation, people

from models.emotions import EMOTIONS
from realtime.formats.bids import to_events_tsv, to_sidecar
from realtime.storage.store import SessionStore


def test_a_row_an_utterance_with_what_is_not_known_as_na(store: SessionStore) -> None:
    (found,) = conversation(store)
    text = "".join(to_events_tsv([found]))
    table = pandas.read_csv(io.StringIO(text), sep="\t", na_values="n/a", dtype=str)
    assert [*table.columns[:3]] == ["onset", "duration", "trial_type"]
    events = [*found.utterances()]
    onsets, durations = [[*map(float, table[name])] for name in ("onset", "duration")]
    assert onsets == [event.start for event in events]
    assert durations == [event.end - event.start for event in events]
    assert table["trial_type"].tolist() == ["happiness", "failed", "none", "happiness"]
    results = [*found.results()]
    for emotion in EMOTIONS:
        told = [*map(float, table[emotion].dropna())]
        assert told == [event.emotions[emotion] for event in results]
    assert table["text"].tolist()[2] == "'@well"
    assert text.splitlines()[2].split("\t")[3:] == ["n/a", "n/a", "2", *["n/a"] * 9]


def test_the_onsets_of_a_call_are_those_of_its_first_session(store: SessionStore) -> None:
    lines = "".join(to_events_tsv(people(store))).splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == ["1.7500", "0.5000", "2.5000", "4.5000"]


def test_the_sidecar_describes_each_column_and_names_the_models(store: SessionStore) -> None:
    found = people(store)
    columns = next(to_events_tsv(found)).split()
    told = json.loads("".join(to_sidecar(found)))
    assert [*told][: len(columns)] == columns
    assert all(told[name]["Description"] for name in columns)
    assert "moonshine-tiny" in told["GeneratedBy"][0]["Description"]
    assert told["trial_type"]["Levels"].keys() >= {*EMOTIONS, "none", "failed"}
