"""A camera, through OpenCV, read in a thread of its own so that its frames are never stale.

In: a device, by index or path. Out: the latest wanted frame.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from models.libraries import opencv
from realtime.media import FrameThinner, GreyPicture, VideoFrame
from realtime.sources.devices import Device, quiet_stderr

OPEN_S = 15.0
"""How long a camera may take to open; on Windows some take most of it."""

LOST_S = 2.0
"""A camera that gives no frame for so long has vanished."""

RETRY_EVERY_S = 1.0

SHORTEST_FRAME_S = 0.005

PROBED = 4
"""Where the system has no list of cameras (macOS, Windows), so many indices are tried."""


def cameras() -> list[Device]:
    """The cameras of this machine, the first of them the default."""
    if sys.platform.startswith("linux"):
        # A camera has several nodes: the first gives pictures, the others describe them.
        nodes = [
            (int(node.name.removeprefix("video")), (node / "name").read_text().strip())
            for node in Path("/sys/class/video4linux").glob("video*")
            if (node / "index").read_text().strip() == "0"
        ]
    else:
        nodes = [(i, f"camera {i}") for i in range(PROBED) if _opens(i)]
    nodes.sort()
    return [Device("camera", i, name, i == nodes[0][0]) for i, name in nodes]


class Camera:
    """An open camera, which is looked for again where it was when it has vanished.

    `opened` says whether it opened at first; `lost`, later, whether it has vanished. `UsageError`
    where OpenCV cannot be loaded.

    Args:
        target: its index, or the path of its device.
        thinner: which frames are kept.
        media_time: gives the media time of an instant of `time.monotonic`; None: not known yet.
    """

    def __init__(
        self,
        target: int | str,
        *,
        thinner: FrameThinner,
        media_time: Callable[[float], float | None],
    ) -> None:
        self.opened = self.lost = False
        self._target = target
        self._thinner = thinner
        self._media_time = media_time
        self._latest: VideoFrame | None = None
        self._film: list[GreyPicture] = []  # since the frame before
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._tried = threading.Event()
        self._cv2 = _opencv()
        # OpenCV's captures want to be opened, read and released by one thread.
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()
        self._tried.wait(OPEN_S)

    def take(self) -> VideoFrame | None:
        """The latest frame, if there is one since the last call."""
        with self._lock:
            frame, self._latest = self._latest, None
        return frame

    def close(self) -> None:
        """Release the camera; a driver that hangs in it is left behind."""
        self._stop.set()
        self._thread.join(LOST_S)

    def _run(self) -> None:
        try:
            capture = self._capture()
            self.opened = capture.isOpened()
        finally:
            self._tried.set()
        seen = time.monotonic()
        pause = 0.0
        while self.opened and not self._stop.wait(pause):
            began = time.monotonic()
            grabbed = capture.grab()
            now = time.monotonic()
            # A camera makes us wait for its next frame; one that does not must not make us spin.
            pause = max(0.0, SHORTEST_FRAME_S - (now - began))
            if grabbed:
                seen = now
                self.lost = False
                self._see(capture, now)
            elif now - seen > LOST_S:
                self.lost = True
                capture.release()
                self._stop.wait(RETRY_EVERY_S)
                capture = self._capture()
                if capture.isOpened():
                    seen = time.monotonic()
        capture.release()

    def _capture(self) -> Any:
        # A path must not get to a backend that decodes files: /dev/zero is a device, too.
        backend = self._cv2.CAP_V4L2 if isinstance(self._target, str) else self._cv2.CAP_ANY
        with quiet_stderr():
            return self._cv2.VideoCapture(self._target, backend)

    def _see(self, capture: Any, instant: float) -> None:
        cv2 = self._cv2
        media_time = self._media_time(instant)
        if media_time is None or self._thinner.has(media_time):
            return
        retrieved, image = capture.retrieve()
        if not retrieved:
            return
        height, width = image.shape[:2]
        size = self._thinner.reduced_size(width, height)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        if self._thinner.wants_in_film(media_time):
            grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            self._film.append(GreyPicture(media_time, grey))
        if not self._thinner.wants(media_time):
            return
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        film, self._film = tuple(self._film), []
        with self._lock:
            self._latest = VideoFrame(media_time, image, max(width, height) / max(size), film)


def _opens(index: int) -> bool:
    with quiet_stderr():
        capture = _opencv().VideoCapture(index)
    opened: bool = capture.isOpened()
    capture.release()
    return opened


def _opencv() -> ModuleType:
    cv2 = opencv()
    # It tells on standard error of every index that has no camera. The function moved in OpenCV 5.
    set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    set_level(0)
    return cv2
