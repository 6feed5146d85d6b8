"""Accounts without a name, or without a home, as containers have them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import require_or_skip
from exits import REPO, command

NAMELESS = 54_321
"""No account has this id."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Which everybody may write to; pytest's own are for one account alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def run_as(
    uid: int | None, arguments: list[str], folder: Path, **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """Run with the temporary files in `folder`, as `uid`; None in `environment` unsets."""
    told = {**os.environ, "TMPDIR": str(folder), **environment}
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        told.setdefault(name, None)
        if uid is not None:
            told[name] = None
    return subprocess.run(
        arguments,
        env={name: value for name, value in told.items() if value is not None},
        cwd=folder,
        user=uid,
        group=uid,
        extra_groups=[] if uid is not None else None,
        capture_output=True,
        text=True,
        timeout=250,
    )


@pytest.fixture
def nameless() -> int:
    """The id of an account without a name, under which the program can be started."""
    if not hasattr(os, "getuid") or os.getuid() != 0:
        require_or_skip("the right to run as another account")
    reads = subprocess.run(
        [sys.executable, "-c", f"import os; os.listdir({str(REPO)!r})"],
        user=NAMELESS,
        group=NAMELESS,
        capture_output=True,
    )
    if reads.returncode != 0:
        pytest.skip("other accounts may not read this checkout, or this Python")
    return NAMELESS


@pytest.mark.parametrize(
    "home", [None, "", "/", "/nonexistent", "/root"], ids=["unset", "empty", "/", "none", "root"]
)
def test_without_a_name_and_a_home_the_command_line_works(
    folder: Path, nameless: int, home: str | None
) -> None:
    for arguments in (["--help"], ["models"]):
        ended = run_as(nameless, command(*arguments), folder, HOME=home)
        assert (ended.returncode, ended.stderr) == (0, "")


def test_without_a_name_and_a_home_a_recording_is_analysed(
    folder: Path, nameless: int, shared: Path
) -> None:
    clip = shared / "media/cases/plain_short.flac"
    ended = run_as(nameless, command("analyze", clip, "--stt", "sphinx"), folder, HOME=None)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "expressed on average" in ended.stdout


_SERVER = """\
import threading, sys
from web.app import create_app
from web.settings import DEFAULT_STORE, ServerSettings
from realtime.storage import SessionStore

SessionStore(ServerSettings().store).close()
print(DEFAULT_STORE)
"""


@pytest.mark.parametrize("home", [None, "/", "/nonexistent", "/root"])
def test_sessions_are_kept_among_the_temporary_files_where_there_is_no_home(
    folder: Path, nameless: int, home: str | None
) -> None:
    code = f"import sys; sys.path.insert(0, {str(REPO)!r})\n{_SERVER}"
    for _ in range(2):  # and found again
        ended = run_as(nameless, [sys.executable, "-c", code], folder, HOME=home)
        assert (ended.returncode, ended.stderr) == (0, "")
        store = Path(ended.stdout.strip())
        assert store.is_relative_to(folder / f"live-emotion-{nameless}")
        assert store.is_file()
        assert (folder / f"live-emotion-{nameless}").stat().st_mode & 0o777 == 0o700


def test_a_home_of_somebody_elses_making_is_not_used(folder: Path, nameless: int) -> None:
    (folder / f"live-emotion-{nameless}").mkdir(mode=0o777)  # of root
    code = f"import sys; sys.path.insert(0, {str(REPO)!r})\n{_SERVER}"
    ended = run_as(nameless, [sys.executable, "-c", code], folder, HOME=None)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert not any((folder / f"live-emotion-{nameless}").iterdir())


def test_a_missing_home_is_that_of_the_account(folder: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(REPO)!r})\nimport models, os; print(os.environ)"
    ended = run_as(None, [sys.executable, "-c", code], folder, HOME=None)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "'HOME'" not in ended.stdout
