"""What is written beside the page: never over something else, and as long as it can be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from exits import command
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from safetensors.torch import save_file
from starting import Program, run
from talks import Talk

from models.console import Output
from models.errors import UsageError
from models.mer.checkpoint import FORMAT, is_checkpoint
from models.naming import shown
from models.overwriting import holds_drawing, spare_others
from realtime.events import SessionStarted
from realtime.outputs import EventsFile

pytestmark = pytest.mark.slow

STARTED = SessionStarted(session="s", time=0, source="a.wav", profile="embedded", stt="sphinx")

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")
linux = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


# --- what may be overwritten ---


def refused(path: Path | str, *inputs: Path | str, force: bool = False) -> str:
    with pytest.raises(UsageError) as caught:
        EventsFile(str(path), map(str, inputs), force=force)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "content",
    [
        *(b"fLaC\x00\x00\x00\x22", b"words\n", b"\xff" * 99, b"\n\n", b" ", b"[" * 100_000),
        *(b"{}\n", b"[1]\n", b"null", b'{"type": "other"}\n', b'"session.started"\n'),
        b'{"type":"session.start',
    ],
)
def test_what_holds_no_events_is_not_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert "--force" in refused(path)
    link = tmp_path / "link"
    link.symlink_to(path)
    assert "--force" in refused(link)
    assert path.read_bytes() == content
    output = EventsFile(str(path), [], force=True).open()
    assert output is not None
    output.close()
    assert path.read_bytes() == b""


@given(content=st.binary(min_size=1, max_size=200))
def test_no_bytes_are_taken_for_events(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("content", ["", STARTED.model_dump_json() + "\nand what came after\n"])
def test_events_and_empty_files_are_overwritten(tmp_path: Path, content: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(content)
    output = EventsFile(str(path), [], force=False).open()
    assert output is not None
    output.close()
    assert path.read_bytes() == b""


@pytest.mark.parametrize("force", [False, True])
def test_what_is_to_be_analysed_is_never_overwritten(tmp_path: Path, force: bool) -> None:
    clip, link, hard = tmp_path / "a.wav", tmp_path / "link", tmp_path / "hard"
    clip.write_text(STARTED.model_dump_json())  # whatever it holds
    link.symlink_to(clip)
    os.link(clip, hard)
    for path in (clip, link, hard, tmp_path / "." / "a.wav"):
        assert "is to be analysed" in refused(path, "nowhere.wav", clip, force=force)
    assert clip.read_text() == STARTED.model_dump_json()


@posix
@pytest.mark.parametrize("force", [False, True])
def test_a_name_that_is_too_long_is_told_for_what_it_is(tmp_path: Path, force: bool) -> None:
    assert "cannot be written (File name too long)" in refused(tmp_path / ("é" * 150), force=force)


def test_a_folder_cannot_be_written_and_nothing_is_opened_before_it_is_asked_for(
    tmp_path: Path,
) -> None:
    EventsFile(str(tmp_path / "new.jsonl"), [], force=False)
    assert not (tmp_path / "new.jsonl").exists()
    for path in (tmp_path, tmp_path / "no" / "such.jsonl", "nul\0.jsonl"):
        file = EventsFile(str(path), [], force=False)
        with pytest.raises(UsageError, match="cannot be written"):
            file.open()


# --- what breaks ---


@linux
def test_what_cannot_be_written_is_dropped_and_told() -> None:
    output = Output(open("/dev/full", "w"), "full.jsonl")  # noqa: SIM115
    print("line", file=output, flush=True)
    assert output.problem is not None
    assert output.problem.startswith("full.jsonl takes no more (No space left on device): ")
    for _ in range(10_000):
        print("line" * 100, file=output, flush=True)
    output.close()


def test_a_pipe_whose_reader_has_gone_is_told() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    output = Output(os.fdopen(writer, "w"), "the pipe")
    print("line", file=output, flush=True)
    assert output.problem == "the pipe was closed by whoever read it"
    output.close()


# --- the whole program ---


def outcome(line: str, *arguments: str | Path, **environment: str) -> tuple[int, str, str]:
    """Status, standard output and standard error of a shell's line, in which $@ is the program."""
    ended = subprocess.run(
        ["bash", "-c", line, "bash", *command(*arguments)],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=250,
        env={**os.environ, **environment},
    )
    return ended.returncode, ended.stdout, ended.stderr


@linux
def test_events_go_on_where_the_screen_is_full(sentence: Talk, tmp_path: Path) -> None:
    clip, events = sentence.path, tmp_path / "events.jsonl"
    process = Program("analyze", clip, "--events", events, screen=Path("/dev/full"))
    _, err = process.communicate(timeout=200)
    assert process.returncode == 1
    assert err == (
        "error: standard output takes no more (No space left on device): make room, or write "
        "elsewhere; the analysis goes on without it\n"
    )
    told = [json.loads(text)["type"] for text in events.read_text().splitlines()]
    assert told[-1] == "session.ended"


@linux
def test_the_screen_goes_on_where_the_events_file_is_full(sentence: Talk) -> None:
    clip = sentence.path
    status, out, err = run("analyze", clip, "--events", "/dev/full")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("error: /dev/full takes no more (No space left on device)")
    assert "expressed on average" in out


@linux
@pytest.mark.parametrize("watched", ["analyze", "watch"])
def test_where_nothing_takes_anything_it_ends(long_talk: Talk, watched: str) -> None:
    process = Program(watched, long_talk.path, screen=Path("/dev/full"))
    _, err = process.communicate(timeout=200)
    assert (process.returncode, err.count("\n")) == (1, 1)
    assert err.endswith("the analysis ends\n")


@linux
def test_where_not_even_that_can_be_told_it_ends(long_talk: Talk) -> None:
    line = '"$@" > /dev/full 2> /dev/full'
    assert outcome(line, "analyze", long_talk.path) == (1, "", "")


@posix
def test_a_reader_who_leaves_ends_it_in_one_line(long_talk: Talk) -> None:
    process = Program("analyze", long_talk.path)
    assert process.stdout.readline().startswith("source    long_talk.mp4")
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(200) == 1
    assert err == "error: standard output was closed by whoever read it; the analysis ends\n"


@posix
@pytest.mark.parametrize("line", ['"$@" >&-', '"$@" 2>&-', '"$@" <&- >&- 2>&-'])
def test_streams_that_are_closed_are_no_trouble(sentence: Talk, tmp_path: Path, line: str) -> None:
    clip, events = sentence.path, tmp_path / "events.jsonl"
    status, _, err = outcome(line, "analyze", clip, "--events", events)
    assert status == 0, err
    told = [json.loads(text)["type"] for text in events.read_text().splitlines()]
    assert told[-1] == "session.ended"


@linux
def test_other_commands_tell_of_a_full_disk_in_one_line() -> None:
    for arguments in (["models"], ["--help"]):
        status, _, err = outcome('"$@" > /dev/full', *arguments)
        assert status == 1
        assert "Traceback" not in err
        assert "Exception ignored" not in err
        assert err.count("\n") <= 1
    assert outcome('set -o pipefail; "$@" | true', "models") == (1, "", "")


def test_the_shells_expansion_overwrites_no_recording(sentence: Talk, tmp_path: Path) -> None:
    clips = [tmp_path / "a.flac", tmp_path / "b.flac"]
    for clip in clips:
        clip.write_bytes(sentence.path.read_bytes())
    before = [clip.read_bytes() for clip in clips]
    status, out, err = run("analyze", "--events", *clips)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "a.flac exists and holds no events" in err
    assert [clip.read_bytes() for clip in clips] == before


def test_old_events_stay_where_no_input_can_be_read(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text(STARTED.model_dump_json() + "\n")
    status, _, _ = run("analyze", "nowhere.mp4", "--events", events)
    assert status == 2
    assert events.read_text() == STARTED.model_dump_json() + "\n"


def test_other_files_of_json_overwrite_nothing_else_either(tmp_path: Path) -> None:
    clip = tmp_path / "a.flac"
    clip.write_bytes(b"fLaC")
    for arguments in (
        ["evaluate", "mer", "--data", tmp_path, "--json", clip],
        ["evaluate", "mer", "--data", tmp_path, "--plot", clip],
        ["train", "--data", tmp_path, "--out", clip],
        ["train", "--data", tmp_path, "--out", clip, "--resume"],
        ["--no-browser", "--port", "0", "--log", clip],
    ):
        status, out, err = run(*arguments)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "a.flac exists and " in err
    assert clip.read_bytes() == b"fLaC"


def test_the_picture_of_a_training_overwrites_no_photograph(tmp_path: Path) -> None:
    photograph, out = tmp_path / "face.png", tmp_path / "face"
    photograph.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    status, _, err = run("train", "--data", tmp_path, "--out", out)
    assert (status, err.count("\n")) == (2, 1)
    assert "face.png exists and holds no curves" in err
    (tmp_path / "folder").mkdir()
    status, _, err = run("train", "--data", tmp_path, "--out", tmp_path / "folder")
    assert (status, err) == (2, f"error: {tmp_path / 'folder'} is a folder: choose another FILE\n")


def test_each_kind_of_file_is_replaced_by_its_own(tmp_path: Path) -> None:
    checkpoint, drawing, other = (tmp_path / name for name in ("a.safetensors", "a.svg", "b"))
    save_file({}, checkpoint, {FORMAT: "{}"})
    Figure().savefig(drawing)
    save_file({}, other)
    for path, kind, is_one in (
        (checkpoint, "checkpoint", is_checkpoint),
        (drawing, "drawing", holds_drawing),
    ):
        spare_others(path, kind, is_one, force=False)
        with pytest.raises(UsageError, match=f"b exists and holds no {kind}: .* with --force"):
            spare_others(other, kind, is_one, force=False)
        spare_others(other, kind, is_one, force=True)


def test_figures_stay_where_nothing_can_be_measured(tmp_path: Path) -> None:
    """Neither the figures nor the card of last time are lost; a card is looked at first."""
    figures, card = tmp_path / "figures.json", tmp_path / "CARD.md"
    figures.write_text('{"old": 1}\n')
    card.write_text("a card without marks")
    measure = ("evaluate", "mer", "--data", tmp_path / "nowhere", "--json", figures)
    status, _, err = run(*measure)
    assert (status, err.count("\n")) == (2, 1)
    assert figures.read_text() == '{"old": 1}\n'
    status, _, err = run(*measure, "--card", card)
    assert (status, err.count("\n")) == (2, 1)
    assert "CARD.md has no <!-- figures: begin -->" in err


# --- names ---

ODD_NAMES = [
    b"gr\xfcn.flac",
    b"[bold].flac",
    b"[red]:smile:.flac",
    b"two\nlines.flac",
    b"\x1b[2J.flac",
    "日本語 🎬.flac".encode(),
    b"-.flac",
    b"%s {task.description} {}.flac",
]


@posix
def test_any_name_is_analysed_and_shown(sentence: Talk, tmp_path: Path) -> None:
    clips = [os.fsdecode(os.fsencode(tmp_path) + b"/" + name) for name in ODD_NAMES]
    for clip in clips:
        Path(clip).write_bytes(sentence.path.read_bytes())
    status, out, err = run("analyze", *clips, "--events", tmp_path / "events.jsonl")
    assert (status, err) == (0, "")
    lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    told = [json.loads(line) for line in lines]
    sources = [event["source"] for event in told if event["type"] == "session.started"]
    names = [shown(os.fsdecode(name)) for name in ODD_NAMES]
    assert sources == names
    heads = [line for line in out.splitlines() if line.startswith("source    ")]
    assert heads == [
        f"source    {name}  (model embedded, words {told[0]['stt']})" for name in names
    ]


@posix
@pytest.mark.parametrize(
    ("encoding", "line"),
    [("ascii", '"$@" --events - > "$FOLDER/events"'), ("cp1252", '"$@" --events "$FOLDER/events"')],
)
def test_what_a_console_cannot_print_is_replaced(
    sentence: Talk, tmp_path: Path, encoding: str, line: str
) -> None:
    clip = tmp_path / "日本.flac"
    clip.write_bytes(sentence.path.read_bytes())
    status, out, err = outcome(
        line, "analyze", clip, "nowhere_日本", PYTHONIOENCODING=encoding, FOLDER=str(tmp_path)
    )
    assert status == 2
    assert "source    ??.flac" in out + err
    assert "error: nowhere_?? does not exist" in err
    assert "Traceback" not in err
    first = (tmp_path / "events").read_text(encoding="utf-8").splitlines()[0]
    assert json.loads(first)["source"] == "日本.flac"  # JSON is UTF-8 everywhere


# --- the end ---


@posix
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_hangup_ends_with_the_average_as_a_polite_kill_does(
    long_talk: Talk, tmp_path: Path, number: signal.Signals
) -> None:
    process = Program("watch", long_talk.path)
    for line in process.stdout:
        if "expressed:" in line:
            process.send_signal(number)
            break
    out, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (0, "")
    assert "expressed on average" in out
    assert out.splitlines()[-1] == "ended     stopped"


@posix
def test_nohup_goes_on_after_a_hangup(sentence: Talk) -> None:
    clip = sentence.path
    process = subprocess.Popen(
        ["nohup", *command("watch", clip)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    assert out.splitlines()[-1] == "ended     the source ended"
