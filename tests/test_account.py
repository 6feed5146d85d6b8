"""Accounts without a name, or without a home, as containers have them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import require_or_skip
from exits import REPO, command
from talks import Talk

pytestmark = pytest.mark.slow

NAMELESS = 54_321
"""No account has this id."""


@pytest.fixture(scope="module")
def nameless() -> list[str]:
    """Before a command: what runs it under an account id that has no name."""
    command = ["unshare", "--user", f"--map-user={NAMELESS}", f"--map-group={NAMELESS}"]
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        require_or_skip("unshare, and the right to use it")
    return command


def run(arguments: list[str], folder: Path, home: str | None) -> subprocess.CompletedProcess[str]:
    """Run with temporary files in `folder`, and no name of an account in the environment."""
    names = {"USER", "LOGNAME", "LNAME", "USERNAME", "HOME", "LIVE_EMOTION_STORE"}
    told = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        arguments,
        env=told | {"TMPDIR": str(folder)} | ({} if home is None else {"HOME": home}),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=250,
    )


@pytest.mark.parametrize("home", [None, "", "/nonexistent"], ids=["unset", "empty", "none"])
def test_without_a_name_and_a_home_the_command_line_works(
    tmp_path: Path, nameless: list[str], home: str | None
) -> None:
    for arguments in (["--help"], ["models"]):
        ended = run([*nameless, *command(*arguments)], tmp_path, home)
        assert (ended.returncode, ended.stderr) == (0, "")


def test_without_a_name_and_a_home_a_recording_is_analysed(
    tmp_path: Path, nameless: list[str], sentence: Talk
) -> None:
    ended = run([*nameless, *command("analyze", sentence.path)], tmp_path, None)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "expressed on average" in ended.stdout


_STORE = f"""\
import sys
sys.path.insert(0, {str(REPO)!r})
from realtime.storage.store import SessionStore
from web.settings import ServerSettings

settings = ServerSettings()
SessionStore(settings.store).close()
print(settings.store)
"""


def test_sessions_are_kept_among_the_temporary_files_where_there_is_no_home(
    tmp_path: Path, nameless: list[str]
) -> None:
    home = tmp_path / f"live-emotion-{NAMELESS}"
    for _ in range(2):  # and found again
        ended = run([*nameless, sys.executable, "-c", _STORE], tmp_path, None)
        assert (ended.returncode, ended.stderr) == (0, "")
        store = Path(ended.stdout.strip())
        assert store.is_relative_to(home)
        assert store.is_file()
        assert home.stat().st_mode & 0o777 == 0o700


def test_a_link_in_the_place_of_that_folder_is_not_followed(
    tmp_path: Path, nameless: list[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"live-emotion-{NAMELESS}").symlink_to(tmp_path / "elsewhere")
    ended = run([*nameless, sys.executable, "-c", _STORE], tmp_path, None)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert not any((tmp_path / "elsewhere").iterdir())


def test_without_a_folder_for_temporary_files_the_command_line_works(tmp_path: Path) -> None:
    """As in a container that is read-only: neither they nor the home can be written."""
    code = (
        f"import sys, tempfile; sys.path.insert(0, {str(REPO)!r})\n"
        "tempfile._candidate_tempdir_list = lambda: ['/nonexistent']\n"
        "import run_live; sys.argv[1:] = ['models']; raise SystemExit(run_live.main())\n"
    )
    ended = run([sys.executable, "-c", code], tmp_path, "/dev/null")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_missing_home_is_that_of_the_account(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(REPO)!r})\nimport models, os; print(os.environ)"
    ended = run([sys.executable, "-c", code], tmp_path, None)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "'HOME'" not in ended.stdout
