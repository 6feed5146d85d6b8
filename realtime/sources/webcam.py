"""A webcam with its microphone as a source.

In: a microphone's chunks and a camera's frames. Out: `Media` as it is captured. Audio sets the
clock: media time is samples captured so far; a frame's time is its instant on that clock.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator

import av

from models.errors import SourceError, UsageError
from models.naming import shown
from realtime.media import FrameThinner, Media, SourceNotice
from realtime.sources.base import ThreadedSource
from realtime.sources.camera import Camera, cameras
from realtime.sources.devices import choose
from realtime.sources.microphone import Chunk, Microphone
from realtime.sources.timeline import AudioTimeline

SILENT_S = 1.5
"""A microphone that gives nothing, not even silence, for so long has vanished."""

START_S = 3.0
"""How long a microphone that was just opened may take to give its first sound: PulseAudio may take
2 s to wake up."""

RETRY_EVERY_S = 1.0

DRIFT = 0.001
"""How much slower than the wall clock, at most, a sound card's clock is taken to run."""


class WebcamSource(ThreadedSource):
    """A camera and a microphone, either of which may be off.

    A frame is delivered as soon as it is there, which may be shortly after the audio of its time.
    Where no camera was asked for by name and none is found, the source goes on by ear and says so.

    Args:
        microphone, camera: index or part of the name (the path of a camera's device, too); "off";
            None: the default one.
        microphone_retry_s: how long a microphone that vanished is looked for, before
            `SourceError`.
    """

    def __init__(
        self,
        *,
        microphone: str | None,
        camera: str | None,
        thinner: FrameThinner,
        microphone_retry_s: float,
    ) -> None:
        self.has_audio, self.has_video = microphone != "off", camera != "off"
        if not self.has_audio and not self.has_video:
            raise UsageError("camera and microphone are both off: leave one of them on")
        self.name = "webcam" if self.has_video else "microphone"
        self._wanted_microphone, self._wanted_camera = microphone, camera
        self._thinner = thinner
        self._retry_s = microphone_retry_s
        self._microphone: Microphone | None = None
        self._camera: Camera | None = None
        self._camera_lost = False
        self._timeline = AudioTimeline()
        self._began: float | None = None  # the instant of media time 0
        super().__init__()

    def _open(self) -> None:
        if self.has_audio:
            self._microphone = Microphone(self._wanted_microphone)
            self._microphone.open()
        else:
            self._began = time.monotonic()
        if self.has_video:
            self._open_camera()

    def _open_camera(self) -> None:
        target = _camera_target(self._wanted_camera)
        if target is not None:
            camera = Camera(target, thinner=self._thinner, media_time=self._media_time)
            self._camera = camera
            if camera.opened:
                return
            camera.close()
        if self._wanted_camera is not None or not self.has_audio:
            which = "no camera was found" if target is None else f"camera {target} cannot be opened"
            raise UsageError(
                f"{which}: plug one in, close what else uses it, choose another, "
                "or switch it off with --camera off"
            )
        self._camera = None
        self.has_video = False

    def _close(self) -> None:
        if self._camera is not None:
            self._camera.close()
        if self._microphone is not None:
            self._microphone.close()

    def _read(self) -> Iterator[Media]:
        if self._wanted_camera is None and not self.has_video:
            yield SourceNotice(0.0, "camera.missing", "no camera was found: going on by ear")
        sound = self._listen(self._microphone) if self._microphone else self._wait()
        for item in sound:
            yield from self._look()
            if item is not None:
                yield item

    def _wait(self) -> Iterator[None]:
        while not self._stop.wait(0.01):
            if self._camera_lost:
                raise SourceError("the camera is lost, and the microphone is off")
            yield

    def _look(self) -> Iterator[Media]:
        if self._camera is None:
            return
        if self._camera.lost != self._camera_lost:
            self._camera_lost = self._camera.lost
            code, message = (
                ("camera.lost", "the camera gives no more pictures: going on by ear")
                if self._camera_lost
                else ("camera.back", "the camera is back")
            )
            yield SourceNotice(self._media_time(time.monotonic()) or 0.0, code, message)
        frame = self._camera.take()
        if frame is not None:
            yield frame

    def _listen(self, microphone: Microphone) -> Iterator[Media | None]:
        """What the microphone gives; None whenever it gives nothing for a moment."""
        heard = time.monotonic()
        alarm = heard + START_S
        lost: float | None = None
        while not self._stop.is_set():
            chunk = microphone.read(0.1)
            now = time.monotonic()
            if chunk is not None:
                if lost is not None:
                    yield self._tell("back", f"the microphone is back after {now - heard:.1f} s")
                heard, alarm, lost = now, now + SILENT_S, None
                yield from self._hear(chunk, microphone.rate)
                continue
            yield None
            if lost is not None and now - lost > self._retry_s:
                yield from self._timeline.finish()
                raise SourceError(
                    f"the microphone {microphone.name} is lost: "
                    f"it did not come back within {self._retry_s:g} s"
                )
            if now > alarm:
                if lost is None:
                    lost = now
                    yield self._tell("lost", "the microphone gives nothing more: looking for it")
                alarm = now + (START_S if _reopens(microphone) else RETRY_EVERY_S)

    def _hear(self, chunk: Chunk, rate: int) -> Iterator[Media]:
        """Lay the chunk after the last, or, after a loss, where the wall clock says it belongs."""
        length_s = len(chunk.samples) / rate
        end_s = self._timeline.end_s + length_s
        if chunk.after_loss and self._began is not None:
            end_s = max(end_s, chunk.arrived - self._began)
        elif self._began is None:
            self._began = chunk.arrived - end_s
        else:
            # A chunk can come late, never early: the earliest are the true ones.
            self._began = min(self._began + DRIFT * length_s, chunk.arrived - end_s)
        sound = av.AudioFrame.from_ndarray(chunk.samples.reshape(1, -1), "fltp", "mono")
        sound.sample_rate = rate
        yield from self._timeline.add(sound, end_s - length_s)

    def _tell(self, change: str, message: str) -> SourceNotice:
        return SourceNotice(self._timeline.end_s, f"microphone.{change}", message)

    def _media_time(self, instant: float) -> float | None:
        return None if self._began is None else max(0.0, instant - self._began)


def _reopens(microphone: Microphone) -> bool:
    try:
        microphone.open()
    except UsageError:
        return False
    return True


def _camera_target(wanted: str | None) -> int | str | None:
    """What OpenCV is to open; None if nothing was asked for by name and there is no camera.

    Never a file or an address, which OpenCV would decode in this process, whatever is in it.
    """
    if wanted is not None:
        if re.fullmatch("[0-9]{1,4}", wanted):
            return int(wanted)
        if _is_device(wanted):
            return wanted
        if "://" in wanted or os.path.lexists(wanted):
            raise UsageError(
                f"{shown(wanted)} is no camera: give its number, its name or its device, as "
                "/dev/video0; a recording or a stream is opened without webcam:"
            )
    devices = cameras()
    if wanted is not None:
        return choose(devices, wanted).index
    return devices[0].index if devices else None


def _is_device(path: str) -> bool:
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False
