"""A TextGrid is opened by praatio, and says what the events say."""

from __future__ import annotations

from pathlib import Path

from found import NASTY, conversation, people
from praatio import textgrid

from models.emotions import OUTPUTS
from realtime.formats.findings import Findings
from realtime.formats.praat import to_textgrid
from realtime.storage.store import SessionStore


def opened(found: list[Findings], folder: Path) -> textgrid.Textgrid:
    path = folder / "talk.TextGrid"
    path.write_text("".join(to_textgrid(found)), encoding="utf-8")
    return textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")


def test_its_tiers_are_the_words_the_speakers_and_each_score(
    store: SessionStore, tmp_path: Path
) -> None:
    (found,) = conversation(store)
    results = [*found.results()]
    grid = opened([found], tmp_path)
    assert [*grid.tierNames] == ["words", "=Ann", "Bea", "expressed", *OUTPUTS]
    for tier in grid.tiers:  # Praat wants no gap, and nothing twice
        times = [time for entry in tier.entries for time in entry[:2]]
        assert (times[0], times[-1]) == (0, results[-1].end)
        assert times[1:-1:2] == times[2::2]
    for label in OUTPUTS:
        told = [entry for entry in grid.getTier(label).entries if entry.label]
        assert [(entry.start, entry.end, float(entry.label)) for entry in told] == [
            (event.start, event.end, {**event.emotions, "neutral": event.neutral}[label])
            for event in results
        ]
    told = [entry for entry in grid.getTier("=Ann").entries if entry.label]
    assert [(entry.start, entry.end, entry.label) for entry in told] == [
        (event.start, event.end, event.transcript.text) for event in (results[0], results[2])
    ]
    words = [entry for entry in grid.getTier("words").entries if entry.label]
    assert [entry.label for entry in words] == ["=it", 'is "so"', "<b>&", "@well", "--> no"]
    assert [entry.start for entry in words[:3]] == [0.5, 0.71, 0.91]


def test_words_of_several_lines_stay_in_their_interval(store: SessionStore, tmp_path: Path) -> None:
    grid = opened(people(store), tmp_path)
    assert len(grid.tierNames) == 2 * 10
    labels = [entry.label for entry in grid.getTier("Ada <b>").entries]
    assert " ".join(NASTY.split()) in labels


def test_of_nothing_there_is_a_grid_too(store: SessionStore) -> None:
    assert "size = 0" in "".join(to_textgrid([]))
