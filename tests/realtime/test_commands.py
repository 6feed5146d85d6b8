"""The option that says how many people there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from talks import Talk
from typer.testing import CliRunner

from realtime.commands import app
from realtime.media import thinner_for


def test_for_one_person_there_is_no_film() -> None:
    assert thinner_for(False) is None
    thinner = thinner_for(True)
    assert thinner is not None
    assert not thinner.wants_in_film(0.0)
    assert thinner.wants(0.0)


def test_other_numbers_of_people_are_refused() -> None:
    told = CliRunner().invoke(app, ["analyze", "--speakers", "2", "talk.mp4"])
    assert told.exit_code == 2


@pytest.mark.slow
def test_of_one_person_nobody_looks_for_others(talk: Talk, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    clip = str(talk.path)
    told = CliRunner().invoke(app, ["analyze", "--speakers", "1", "--events", str(events), clip])
    assert told.exit_code == 0
    lines = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    results = [line for line in lines if line["type"] == "utterance.result"]
    assert results
    assert [line["speaker"] for line in results] == [None] * len(results)
    assert lines[-1]["average"]["speakers"] == []
