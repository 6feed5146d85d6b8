"""A real browser before a real server: Chromium whose camera and microphone play a clip.

In: a clip. Out: the address of a running dashboard, and Chromium, driven by playwright.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from axe_playwright_python.sync_playwright import Axe
from checkout import REPO, require_or_skip
from playwright.sync_api import Browser, Page, Playwright

_FAKE_HZ = 48_000  # what Chromium's fake microphone reads without resampling
_FAKE_FPS = 8  # more than the analysis takes of one face; each further one is encoded and decoded
_FAKE_SIDE = 320  # pixels; the same holds


@contextlib.contextmanager
def dashboard(*options: str, **environment: str) -> Iterator[str]:
    """A dashboard in a process of its own, as a person starts it; gives its address."""
    server = subprocess.Popen(
        [
            sys.executable,
            "run_live.py",
            "--no-browser",
            *("--max-sessions", "8"),  # else as many as a machine holds that is busy with tests
            "--port",
            "0",
            *options,
        ],
        cwd=REPO,
        env={
            **os.environ,
            "LIVE_EMOTION_STORE": f"{tempfile.mkdtemp()}/store.sqlite",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:  # to the end: a server whose words nobody takes would stop
        for line in server.stdout or ():
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    try:
        said = ""
        while not (found := re.search(r"https?://[\w.:[\]]+", said)):
            line = lines.get(timeout=60)
            assert line, f"the server ended:\n{said}"
            said += line
        yield found[0]
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            raise


def chromium(
    playwright: Playwright,
    *,
    devices: FakeDevices | None = None,
    options: tuple[str, ...] = (),
    muted: bool = True,
) -> Browser:
    """Chromium without a window; without `devices` its computer has no camera and microphone.

    What a tab plays is silent, also to those who share the tab, unless it is not `muted`.
    """
    executable = shutil.which("chromium") or require_or_skip("chromium")
    fakes = () if devices is None else devices.options()
    return playwright.chromium.launch(
        executable_path=executable,
        args=["--no-sandbox", *fakes, *options],
        ignore_default_args=None if muted else ["--mute-audio"],
    )


def violations(page: Page) -> list[str]:
    """What axe finds wrong with the page as it is: rule and place."""
    page.wait_for_timeout(400)  # colours that fade are judged where they end
    return [
        f"{rule['id']}: {node['target']}"
        for rule in Axe().run(page).response["violations"]
        for node in rule["nodes"]
    ]


@dataclass(frozen=True)
class FakeDevices:
    """The first seconds of a clip, which a camera and a microphone play again and again.

    Attributes:
        pictures: Y4M, or None without a camera.
        sound: WAV, or None without a microphone.
    """

    pictures: Path | None
    sound: Path | None

    @classmethod
    def of(cls, clip: Path, folder: Path, *, seconds: float) -> FakeDevices:
        """Convert a clip, into files in `folder`."""
        pictures, sound = folder / f"{clip.stem}.y4m", folder / f"{clip.stem}.wav"
        _convert_pictures(clip, pictures, seconds)
        _convert_sound(clip, sound, seconds)
        return cls(pictures, sound)

    def options(self) -> list[str]:
        """The options by which Chromium takes them for its own."""
        options = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        if self.pictures:
            options.append(f"--use-file-for-fake-video-capture={self.pictures}")
        if self.sound:
            options.append(f"--use-file-for-fake-audio-capture={self.sound}")
        return options


def _convert_pictures(clip: Path, to: Path, seconds: float) -> None:
    with av.open(str(clip)) as container, to.open("wb") as out:
        for number, frame in enumerate(_thinned(container, seconds)):
            scale = min(1, _FAKE_SIDE / max(frame.width, frame.height))
            width, height = (round(side * scale) // 2 * 2 for side in (frame.width, frame.height))
            if number == 0:
                out.write(f"YUV4MPEG2 W{width} H{height} F{_FAKE_FPS}:1 Ip A1:1 C420\n".encode())
            plane = frame.reformat(width, height, "yuv420p").to_ndarray()
            out.write(b"FRAME\n" + plane.tobytes())


def _thinned(
    container: av.container.InputContainer, seconds: float
) -> Iterator[av.video.frame.VideoFrame]:
    wanted = 0
    for frame in container.decode(video=0):
        if frame.time is None or frame.time >= seconds:
            return
        while frame.time * _FAKE_FPS >= wanted:  # a slow clip's picture is shown twice
            yield frame
            wanted += 1


def _convert_sound(clip: Path, to: Path, seconds: float) -> None:
    resampler = av.AudioResampler("s16", "mono", _FAKE_HZ)
    with av.open(str(clip)) as container, wave.open(str(to), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(_FAKE_HZ)
        for frame in container.decode(audio=0):
            if frame.time is not None and frame.time >= seconds:
                break
            for part in resampler.resample(frame):
                out.writeframes(part.to_ndarray().tobytes())
