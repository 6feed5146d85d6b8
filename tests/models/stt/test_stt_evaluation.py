"""Word error rates, counted by hand and on the real recordings."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from checkout import REPO
from starting import run
from talks import Talk

from models.errors import UsageError
from models.stt import load_transcriber
from models.stt.evaluation import compared, evaluate
from models.stt.network import NetworkTranscriber, Recognised


class Reader(NetworkTranscriber):
    """An engine that hears what it was told it would, clip after clip."""

    def __init__(self, *texts: str) -> None:
        super().__init__("reader")
        self.texts = [texts[0], *texts]  # the first clip is heard twice

    def recognise(self, samples: npt.NDArray[np.float32]) -> Recognised:
        return Recognised(self.texts.pop(0))


def ignore(done: int, total: int) -> None:
    pass


@pytest.fixture
def folder(sentence: Talk, tmp_path: Path) -> Path:
    """Two clips with a transcript, one in each layout, and one without."""
    (tmp_path / "deeper").mkdir()
    for name in ("a.flac", "deeper/b.flac", "c.flac"):
        shutil.copy(sentence.path, tmp_path / name)
    (tmp_path / "transcripts.tsv").write_text("a\tI am so happy to see you.\n", encoding="utf-8")
    (tmp_path / "deeper/b.txt").write_text("It\u2019s 1 test \u2013 no more!\n", encoding="utf-8")
    return tmp_path


def test_errors_are_counted_by_kind_clip_and_in_all(folder: Path) -> None:
    reader = Reader("as am am so happy to see you", "it's one test")
    told: list[tuple[int, int]] = []
    report = evaluate(reader, folder, lambda done, total: told.append((done, total)))
    first, second = report.clips
    assert (first.clip, second.clip) == ("a.flac", str(Path("deeper/b.flac")))
    assert (first.words, first.substitutions, first.deletions, first.insertions) == (7, 1, 0, 1)
    assert (second.words, second.substitutions, second.deletions, second.insertions) == (6, 0, 2, 0)
    assert report.error_rate == pytest.approx(4 / 13)
    assert report.real_time_factor > 0
    assert first.clip_s == pytest.approx(3.14, abs=0.1)
    assert told == [(1, 2), (2, 2)]
    assert "30.8%" in str(report)
    figures = json.loads(report.to_json())
    assert figures["word_error_rate"] == report.error_rate
    assert figures["clips"][1]["heard"] == "it is one test"


def test_only_other_words_count_however_they_are_written() -> None:
    assert compared("Well-known: “It\u2019s Q1, I don't,” um, he said... ") == compared(
        "well known it is q one i do not he said"
    )
    assert compared("two hundred and five") == compared("205")
    assert compared("is not") != compared("is now")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a", "line 1: no tab"),
        ("z\tthe end", "no clip named 'z'"),
        ("a\t...", "no words"),
        ("notes.md\tthe end", "no sound"),
    ],
)
def test_a_transcript_that_cannot_be_used_is_named(folder: Path, line: str, said: str) -> None:
    (folder / "notes.md").write_text("no sound")
    (folder / "transcripts.tsv").write_text(line, encoding="utf-8")
    with pytest.raises(UsageError, match=said) as caught:
        evaluate(Reader(""), folder, ignore)
    assert str(folder) in str(caught.value)


def test_a_folder_without_transcripts_is_said_with_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"transcripts\.tsv .*CLIP\.txt"):
        evaluate(Reader(""), tmp_path, ignore)


@pytest.mark.slow
def test_word_error_rate_is_what_the_readme_says(shared: Path) -> None:
    transcriber = load_transcriber("moonshine-tiny")
    report = evaluate(transcriber, shared / "media/speech", ignore)
    transcriber.close()
    assert len(report.clips) == 30
    assert report.error_rate <= 0.12
    for document in ("README.md", "models/README.md"):
        told = re.search(r"word error rate, .*\| (\d+) %", (REPO / document).read_text("utf-8"))
        assert told is not None
        assert report.error_rate == pytest.approx(int(told[1]) / 100, abs=0.01)


@pytest.mark.slow
def test_the_command_prints_the_report(folder: Path) -> None:
    status, out, err = run("evaluate", "stt", "--data", folder, "--json")
    assert status == 0, err
    figures = json.loads(out)
    assert figures["engine"] == "moonshine-tiny"
    assert figures["clips"][0]["heard"] == "i am so happy to see you"
