"""The program as it is installed: a wheel, in an environment that knows nothing of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from checkout import REPO
from talks import Talk

pytestmark = pytest.mark.slow

PACKAGES = ("models", "realtime", "web")

ALONE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
"""An environment in which nothing leads to the checkout."""


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`live-emotion`, installed away from the checkout; what it depends on is that of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"  # a build leaves files behind, and takes old ones up
    left_out = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info", "tests")
    shutil.copytree(REPO, source, ignore=left_out)
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source]
    subprocess.run(wheel, check=True)
    environment = folder / "environment"
    venv.create(environment)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    packages = next(environment.glob("**/site-packages"))
    # A plain path: what is installed there editable, the checkout, is not followed.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    (built,) = folder.glob("*.whl")
    into = [sys.executable, "-m", "pip", "--python", scripts / "python"]
    subprocess.run([*into, "install", "-q", "--no-deps", built], env=ALONE, check=True)
    where = subprocess.run(
        [scripts / "python", "-c", "import models, web, run_live; print(run_live.__file__)"],
        cwd=folder,
        env=ALONE,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(environment))
    return scripts / "live-emotion"


def test_what_is_deployed_and_what_type_checkers_look_for_are_there(command: Path) -> None:
    [packages] = command.parent.parent.glob("**/site-packages")
    files = ("realtime/analyzers/cluster.yaml", *(f"{name}/py.typed" for name in PACKAGES))
    assert [file for file in files if not (packages / file).is_file()] == []


def test_a_recording_is_analysed(command: Path, talk: Talk, tmp_path: Path) -> None:
    done = subprocess.run(
        [command, "analyze", talk.path],
        cwd=tmp_path,
        env=ALONE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "expressed" in done.stdout


@contextmanager
def dashboard(command: Path, folder: Path) -> Iterator[str]:
    options = ["--port", "0", "--no-browser", "--store", str(folder / "sessions.sqlite")]
    server = subprocess.Popen(
        [command, *options], cwd=folder, env=ALONE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        yield next(word for word in server.stdout.readline().split() if word.startswith("http"))
    finally:
        server.terminate()
        server.communicate()


def test_the_pages_and_all_that_they_load_are_there(command: Path, tmp_path: Path) -> None:
    pages = [file.relative_to(REPO / "web") for file in (REPO / "web/static").rglob("*.*")]
    assert pages
    with dashboard(command, tmp_path) as address:
        for path in ["", "api/docs", *(page.as_posix() for page in pages)]:
            with urllib.request.urlopen(f"{address.rstrip('/')}/{path}") as answer:
                assert answer.status == 200, path
                assert answer.read(), path
