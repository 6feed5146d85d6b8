"""Archives: what is taken for a recording, what is done, and what an interruption leaves."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path

import networks
import pytest
from starting import Program, run
from storing import NOBODY
from talks import Talk

from models.errors import UsageError
from realtime.archive import TABLE, Recording, earlier, recordings
from realtime.events import SessionEnded, SessionStarted, UtteranceResult
from realtime.reading import Results
from realtime.session import LiveSession
from realtime.sources import open_source


def names(found: list[Recording]) -> list[str]:
    return [one.name for one in found]


def test_recordings_are_found_in_folders_of_folders(tmp_path: Path) -> None:
    for name in ("b.MP4", "a/c.wav", "a/notes.txt", "a/d/e.opus"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = recordings([str(tmp_path / "in")], tmp_path / "out")
    assert names(found) == ["a/c.wav", "a/d/e.opus", "b.MP4"]
    assert found[1].events == tmp_path / "out" / "a" / "d" / "e.opus.jsonl"
    # A file that is named need have no known ending, and counts once.
    notes = str(tmp_path / "in" / "a" / "notes.txt")
    assert names(recordings([notes, notes], tmp_path)) == ["notes.txt"]


def test_what_cannot_be_worked_off_is_said_before_anything_begins(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere does not exist"):
        recordings([str(tmp_path / "nowhere")], tmp_path)
    with pytest.raises(UsageError, match="holds no recordings"):
        recordings([str(tmp_path)], tmp_path)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").touch()
    with pytest.raises(UsageError, match="would both be written"):
        recordings([str(tmp_path / "one"), str(tmp_path / "two")], tmp_path)


def test_a_recording_is_done_when_its_end_was_told_until_it_changes(tmp_path: Path) -> None:
    one = Recording(tmp_path / "a.wav", "a.wav", tmp_path / "a.wav.jsonl")
    one.path.touch()
    assert earlier(one) is None
    started = SessionStarted(session="s", time=0, source="a", profile="embedded", stt="none")
    ended = SessionEnded(session="s", time=9, reason="end", utterances=0, average=NOBODY)
    for told, done in (("", False), (started, False), (ended, True)):
        one.events.write_text(told and told.model_dump_json() + "\n")
        assert (earlier(one) is not None) == done
    later = one.events.stat().st_mtime + 1
    os.utime(one.path, (later, later))
    assert earlier(one) is None


def test_other_files_are_spared(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.wav.jsonl").write_text("a diary")
    status, _, err = run("analyze", tmp_path, "--results", tmp_path)
    assert (status, err.count("\n")) == (2, 1)
    assert "a.wav.jsonl exists and holds no events" in err
    assert (tmp_path / "a.wav.jsonl").read_text() == "a diary"
    (tmp_path / "a.wav.jsonl").unlink()
    (tmp_path / TABLE).write_text("person,age")
    status, _, err = run("analyze", tmp_path, "--results", tmp_path)
    assert (status, err.count("\n")) == (2, 1)
    assert f"{TABLE} exists and holds no table of utterances" in err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs names of any bytes")
def test_names_that_are_long_or_not_utf_8_stop_nothing(sentence: Talk, tmp_path: Path) -> None:
    folder, found = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in (b"gr\xfcn.flac", os.fsencode("é" * 125 + ".flac")):
        (folder / os.fsdecode(name)).write_bytes(sentence.path.read_bytes())
    status, _, err = run("analyze", folder, "--results", found, "--jobs", "1")
    assert (status, err) == (0, "")
    told = {os.fsencode(path.name): path.open().readline() for path in found.glob("*.jsonl")}
    assert {name: json.loads(first)["source"] for name, first in told.items()} == {
        b"gr\xfcn.flac.jsonl": "gr\ufffdn.flac",
        os.fsencode("é" * 122 + ".jsonl"): "é" * 125 + ".flac",
    }


@pytest.mark.slow
async def test_each_is_analysed_as_it_is_alone_and_only_once(
    talk: Talk, sentence: Talk, tmp_path: Path
) -> None:
    folder, found = tmp_path / "in", tmp_path / "out"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "talk.mp4").symlink_to(talk.path)
    (folder / "sentence.mp4").symlink_to(sentence.path)
    (folder / "words.mp3").write_text("no music")
    command = ("analyze", folder, "--results", found, "--jobs", "2")
    status, out, err = run(*command)
    assert status == 2
    assert (err.count("\n"), "error: words.mp3: " in err) == (1, True)
    assert "a/talk.mp4" in out

    with closing(networks.load()) as analyzer:
        source = await open_source(str(talk.path), "fast")
        alone = [event async for event in LiveSession(source, analyzer).events()]
    with Results(found / "a" / "talk.mp4.jsonl").sessions() as (session,):
        assert session.name == "a/talk.mp4"
        told = [event for _, event in session.read()]
    passing = {"session", "latency"}
    assert [
        one.model_dump(exclude=passing) for one in told if isinstance(one, UtteranceResult)
    ] == [one.model_dump(exclude=passing) for one in alone if isinstance(one, UtteranceResult)]
    with (found / TABLE).open(encoding="utf-8-sig", newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["source"] for row in rows] == ["a/talk.mp4", "a/talk.mp4", "sentence.mp4"]

    written = (found / "sentence.mp4.jsonl").stat().st_mtime_ns
    (folder / "words.mp3").unlink()
    status, again, err = run(*command)
    assert (status, err) == (0, "")
    assert (found / "sentence.mp4.jsonl").stat().st_mtime_ns == written
    assert again == out


@pytest.mark.slow
def test_what_was_interrupted_goes_on_where_it_was(
    sentence: Talk, long_talk: Talk, tmp_path: Path
) -> None:
    folder, found = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "a.mp4").symlink_to(sentence.path)
    (folder / "b.mp4").symlink_to(long_talk.path)
    program = Program("analyze", folder, "--results", found, "--jobs", "1")
    while not (found / "b.mp4.jsonl.part").exists():
        assert program.poll() is None
        time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=100)
    assert (program.returncode, err) == (
        130,
        "error: stopped; 1 of 2 are left: the same command goes on with them\n",
    )
    assert sorted(path.name for path in found.iterdir()) == ["a.mp4.jsonl", "b.mp4.jsonl.part"]
    left = [one for one in recordings([str(folder)], found) if not earlier(one)]
    assert names(left) == ["b.mp4"]


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    for options, said in (
        (("--results", tmp_path, "--events", "-"), "choose one"),
        (("--jobs", "2"), "--jobs is for --results"),
        (("--results", tmp_path, "--analyzer", "ray"), "needs the address of the cluster"),
    ):
        status, _, err = run("analyze", "a.wav", *options)
        assert (status, err.count("\n")) == (2, 1)
        assert said in err
