"""What uploads leave on the disk: nothing, if need be after the next start."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from web.errors import ApiError
from web.sessions.uploads import PREFIX, Upload, plain, sweep


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def put(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_text("abc")
    return folder


def test_what_a_killed_server_left_is_deleted_and_nothing_else(folder: Path) -> None:
    upload = Upload()  # of a server that runs
    (upload.path / "a.mp4").write_text("abc")
    elsewhere = put(folder / "elsewhere", ".lock", "a.mp4")
    (folder / f"{PREFIX}link").symlink_to(elsewhere, target_is_directory=True)
    (folder / f"{PREFIX}file").write_text("abc")
    put(folder / f"{PREFIX}unlocked", "a.mp4")
    put(folder / "upload-ours-not", ".lock", "a.mp4")
    others = put(folder / f"{PREFIX}others", ".lock", "a.mp4")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        os.chown(others, 12345, 12345)
    else:
        (others / ".lock").unlink()
    before = {path: path.lstat().st_ino for path in folder.rglob("*")}

    put(folder / f"{PREFIX}left", ".lock", "a.mp4")
    put(folder / f"{PREFIX}begun", ".lock")
    sweep()
    assert {path: path.lstat().st_ino for path in folder.rglob("*")} == before
    upload.delete()
    assert not upload.path.exists()


KILLED = """
import os, signal, sys
from web.sessions.uploads import Upload
upload = Upload()
(upload.path / "a.mp4").write_text("abc")
print("kept", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_the_lock_goes_with_the_process(folder: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(folder)}
    program = [sys.executable, "-c", KILLED]
    assert subprocess.run(program, env=environment, capture_output=True).stdout == b"kept\n"
    assert [path.name for path in folder.glob("*/*.mp4")] == ["a.mp4"]
    sweep()
    assert list(folder.iterdir()) == []


def test_a_missing_folder_for_temporary_files_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "gone"))
    sweep()
    with pytest.raises(ApiError, match=r"cannot be kept \(No such file or directory\)"):
        Upload()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("\u202egpj.exe", "_gpj.exe"),
        ("a\u2028b\x85c.mp4", "a_b_c.mp4"),
        ("nul.mp4", "_nul.mp4"),
        ("COM1", "_COM1"),
        ("con .wav", "_con.wav"),
        ("console.wav", "console.wav"),
        (".lock", "lock"),
        ("..", "recording"),
        ("-rf *", "-rf _"),
        ("C:\\film.mov", "film.mov"),
    ],
)
def test_names_that_some_system_refuses_or_that_mislead_are_changed(sent: str, kept: str) -> None:
    assert plain(sent) == kept
