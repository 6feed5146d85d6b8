"""A library that cannot be loaded is told in one line, with its remedies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from exits import REPO, command
from talks import Talk

from models.libraries import cannot_load, unloadable

GL = "libGL.so.1: cannot open shared object file: No such file or directory"


def windows_error(number: int, message: str) -> OSError:
    error = OSError(22, message)
    error.winerror = number  # type: ignore[attr-defined,unused-ignore] # as on Windows
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ImportError(GL, name="cv2"), ["OpenCV", "apt install libgl1", "opencv-python-headless"]),
        (ImportError(GL.replace("GL.so.1", "xy.so.3")), ["libxy.so.3", "package of your system"]),
        (ImportError("/opt/lib/libgomp.so.1: file too short"), ["apt install libgomp1"]),
        (ImportError("libSM.so.6: invalid ELF header", name="cv2.x"), ["OpenCV", "libsm6"]),
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), ["opencv-python-headless"]),
        (ModuleNotFoundError("No module named 'av.x'", name="av.x"), ["pip install av"]),
        (
            ImportError("cannot import name 'x' from 'torch'\n(a.py)", name="torch"),
            ["torch", "install it again"],
        ),
        (ImportError(GL.replace("GL", "xcb"), name="cv2"), ["OpenCV", "libxcb1", "headless"]),
        (
            ImportError("/venv/libtorchaudio.so: undefined symbol: _ZN3c1", name="torchaudio"),
            ["torchaudio cannot be loaded", "): install it again"],
        ),
        (
            ImportError(
                "/lib/libm.so.6: version `GLIBC_2.29' not found (required by x)", name="av"
            ),
            ["av cannot be loaded", "): install it again"],
        ),
        (
            ModuleNotFoundError("No module named 'av.x'; 'av' is not a package", name="av.x"),
            ["a file av.py", "rename it"],
        ),
        (OSError("dlopen(/venv/libtorchaudio.so, 6): Symbol not found: _f"), ["libtorchaudio"]),
        (windows_error(126, "Error loading torch/lib/c10.dll"), ["c10.dll", "install it again"]),
        (OSError("libcudart.so.12: cannot open shared object file: No such"), ["libcudart.so.12"]),
    ],
)
def test_the_message_names_the_library_and_the_remedy(
    error: ImportError | OSError, told: list[str]
) -> None:
    message = str(unloadable(error))
    assert all(part in message for part in told)
    assert "\n" not in message
    if isinstance(error, OSError):
        assert cannot_load(error)


def test_other_errors_of_the_system_are_not_taken_for_it() -> None:
    assert not cannot_load(FileNotFoundError(2, "No such file", "libfoo.so.1: x"))
    assert not cannot_load(OSError("disk"))


@pytest.fixture
def without_libgl(tmp_path: Path) -> dict[str, str]:
    """An environment in which the loader finds a libGL.so.1 that is none."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs the loader of Linux")
    (tmp_path / "libGL.so.1").write_text("no library")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    code = "import cv2"
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    if loaded.returncode == 0:
        pytest.skip("this OpenCV needs no libGL")
    return environment


@pytest.mark.slow
def test_without_libgl_it_is_told_at_start(sentence: Talk, without_libgl: dict[str, str]) -> None:
    clip = sentence.path
    for arguments in (
        ["analyze", clip],
        ["watch", clip],
        ["--no-browser", "--port", "0"],
        ["watch", clip, "--web", "--no-browser", "--port", "0"],
        ["watch", "webcam:nowhere", "--microphone", "off"],
    ):
        ended = subprocess.run(
            command(*arguments), env=without_libgl, capture_output=True, text=True, timeout=200
        )
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith("error: OpenCV cannot be loaded (")
        assert "apt install libgl1, or pip uninstall" in ended.stderr
        assert "opencv-python-headless" in ended.stderr
        assert ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_what_shows_no_pictures_needs_no_libgl(without_libgl: dict[str, str]) -> None:
    for arguments in (["--help"], ["models"], ["analyze", "nowhere.mp4"]):
        ended = subprocess.run(
            command(*arguments), env=without_libgl, capture_output=True, text=True, timeout=200
        )
        assert "OpenCV" not in ended.stderr
        assert ended.returncode == (2 if "analyze" in arguments else 0)


@pytest.mark.slow
def test_a_gateway_of_a_cluster_tells_of_it_in_one_line_too() -> None:
    pytest.importorskip("ray")
    code = (
        "import sys; sys.modules['cv2'] = None\n"
        "import numpy as np\n"
        "from models.errors import UsageError\n"
        "from realtime.analyzers.deployments import packed\n"
        "try: packed(np.zeros((4, 4, 3), np.uint8))\n"
        "except UsageError as error: print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True)
    assert told.stderr == ""
    assert "opencv-python-headless is not installed: pip install" in told.stdout


def test_a_failed_import_leaves_no_folder_of_opencv_on_the_path(
    without_libgl: dict[str, str],
) -> None:
    code = (
        "import sys; before = sys.path[:]\n"
        "from models.errors import UsageError\n"
        "from models.libraries import opencv\n"
        "for _ in range(2):\n"
        "    try: opencv()\n"
        "    except UsageError: pass\n"
        "    else: raise SystemExit('it was loaded')\n"
        "assert sys.path == before, sys.path\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, env=without_libgl, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.slow
def test_on_a_server_without_the_library_it_is_told_at_start(sentence: Talk) -> None:
    """The same where the library is absent."""
    nogl = REPO / "tests/support/nogl"
    if subprocess.run([nogl, "true"], capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount")
    ended = subprocess.run(
        [nogl, *command("analyze", sentence.path)], capture_output=True, text=True, timeout=200
    )
    if ended.returncode == 0:
        pytest.skip("this OpenCV needs no libGL")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "libGL.so.1: cannot open shared object file" in ended.stderr
    assert "apt install libgl1, or pip uninstall" in ended.stderr
