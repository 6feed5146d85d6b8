"""What was found is read back from a store and from a file of events, by Python and by command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import pandas
import pytest
import srt
from found import FAILED, result, session
from storing import ended, partial, row, written

import run_live
from models.emotions import EMOTIONS
from models.errors import UsageError
from realtime.commands import FormatName
from realtime.events import Event, SessionStarted
from realtime.formats.catalogue import FORMATS
from realtime.reading import PAGE, Results, read_events
from realtime.storage.store import SessionStore

TOLD = [result(1, "so it goes", 1 / 3), FAILED, result(3, "=and on", 0.9123456789012345)]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A store of one session."""
    path = tmp_path / "sessions.sqlite"
    store = SessionStore(path)
    session(store, "film.mp4", *TOLD, kind="upload")
    store.close()
    return path


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Events of two sessions, as `analyze` writes them; the last line is being written."""
    path = tmp_path / "events.jsonl"
    told: list[Event] = []
    for name in ("one", "two"):
        began = SessionStarted(session=name, time=0, source=f"{name}.mp4", profile="p", stt="s")
        told += [began, *(event.model_copy(update={"session": name}) for event in TOLD)]
        told.append(ended(name, at=9.0))
    text = "".join(f"{event.model_dump_json()}\n" for event in told)
    path.write_text(text + '{"session":"two","ti', encoding="utf-8")
    return path


def test_a_store_is_tables_in_two_lines(stored: Path) -> None:
    results = Results.load(str(stored))
    table = results.utterances()
    assert table["happiness"].dropna().tolist() == [1 / 3, 0.9123456789012345]
    assert table["text"].dropna().tolist() == ["so it goes", "=and on"]  # here nothing is a formula
    assert table["utterance"].tolist() == [1, 2, 3]
    assert table["utterance"].dtype == "Int64"
    faces = results.faces()
    assert faces[[*EMOTIONS]].to_dict("records") == [event.emotions for event in (TOLD[0], TOLD[2])]
    assert faces["FaceRectWidth"].tolist() == [3.0, 3.0]
    events = results.events()
    assert events["type"].tolist() == [
        "session.started", "utterance.result", "utterance.failed", "utterance.result",
        "session.ended",  # cut off
    ]  # fmt: skip
    assert events["emotions"][1] == TOLD[0].emotions


def test_a_file_of_events_is_the_same_for_each_of_its_sessions(lines: Path) -> None:
    table = Results.load(lines).utterances()
    assert table["session"].tolist() == ["one"] * 3 + ["two"] * 3
    assert table["source"].tolist() == ["one.mp4"] * 3 + ["two.mp4"] * 3
    assert table["session_started"].isna().all()  # which such a file does not tell
    two = Results.load(lines, session="two")
    assert two.utterances()["happiness"].tolist()[2] == 0.9123456789012345
    assert len(two.events()) == 5


def test_a_file_that_is_neither_is_refused_in_one_line(stored: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "notes.txt"
    wrong.write_text("dear diary")
    for path, told in (
        (tmp_path / "none", "cannot be read"),
        (tmp_path, "cannot be read"),
        (wrong, "line 1 is no event"),
    ):
        with pytest.raises(UsageError, match=told):
            Results.load(path)
    with pytest.raises(UsageError, match="has no session x"):
        Results.load(stored, session="x")
    store = SessionStore(stored)
    with pytest.raises(UsageError, match="in use"):
        Results.load(stored)
    store.close()


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    assert len(Results.load(tmp_path / "empty.jsonl").utterances()) == 0


def test_events_are_read_in_order_whatever_a_page_holds(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "s.sqlite")
    store.begin(row("a"))
    numbers = [*range(1, 2 * PAGE + 2)]
    for number in numbers:
        stored = store.append("a", number, partial("a", number))
    written(stored)
    assert [seq for seq, _ in read_events(store, "a")] == numbers
    assert [*read_events(store, "b")] == []
    store.close()


def test_without_pandas_the_remedy_is_told(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"pip install pandas"):
        Results.load(stored).utterances()


# --- the command ---


def run(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["run_live.py", "export", *map(str, arguments)])
    return run_live.main()


def test_the_command_offers_all_formats() -> None:
    assert get_args(FormatName) == (*FORMATS,)


def test_the_command_writes_files(
    stored: Path, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in FORMATS:
        to = tmp_path / f"out.{name}"
        assert run(stored, "--format", name, "--output", to, monkeypatch=monkeypatch) == 0
        assert to.stat().st_size > 50
    subtitles = [*srt.parse((tmp_path / "out.srt").read_text(encoding="utf-8"))]
    assert [one.content for one in subtitles] == ["so it goes", "=and on\n(happiness)"]
    table = tmp_path / "both.csv"
    assert run(lines, "--output", table, monkeypatch=monkeypatch) == 0
    assert len(pandas.read_csv(table)) == 6


def test_the_command_refuses_in_one_line(
    stored: Path,
    lines: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments, told in (
        ([lines, "--format", "srt"], "holds 2 sessions: name one by --session, as two"),
        ([stored, "--output", lines], "exists: choose another path, or overwrite it with --force"),
        ([lines, "--output", lines, "--force"], "is what is to be exported: choose another path"),
        ([stored, "--output", tmp_path / ("é" * 150)], "cannot be written (File name too long)"),
        ([stored, "--output", tmp_path / "no" / "a.csv"], "cannot be written (No such file"),
        ([stored, "--output", lines / "a.csv"], "cannot be written (Not a directory)"),
        ([tmp_path / "none"], "cannot be read"),
        ([tmp_path / ("é" * 150)], "cannot be read"),
        ([stored, "--format", "xml"], "xml"),
    ):
        assert run(*arguments, monkeypatch=monkeypatch) == 2
        said = capsys.readouterr()
        assert told in said.err
        assert (said.err.count("\n"), said.out) == (1, "")


def test_without_a_path_it_goes_to_the_standard_output(
    lines: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    output = open(1, "w", closefd=False)  # noqa: SIM115 - closed by nobody, as the real one
    monkeypatch.setattr(sys, "stdout", output)
    arguments = [lines, "--session", "one", "--format", "vtt", "--no-emotions"]
    assert run(*arguments, monkeypatch=monkeypatch) == 0
    told = capfdbinary.readouterr().out.decode()
    assert told.startswith("WEBVTT\n")
    assert "so it goes" in told
    assert "happiness" not in told
