"""Where media comes from: `open_source(spec, pace)` gives a `Source`, whatever it is.

In: a file, a URL, a camera with its microphone. Out: an asynchronous stream of `Media`.
"""

from __future__ import annotations

from typing import Literal

from models.errors import UsageError
from realtime.media import FrameThinner
from realtime.sources.base import Isolation, Source, ThreadedSource
from realtime.sources.devices import Device

__all__ = ["Device", "Isolation", "Source", "list_devices", "open_source"]


async def open_source(
    spec: str,
    pace: Literal["live", "fast"] = "live",
    *,
    thinner: FrameThinner | None = None,
    timeout_s: float = 10.0,
    audio_track: str | None = None,
    microphone: str | None = None,
    camera: str | None = None,
    microphone_retry_s: float = 10.0,
    isolation: Isolation | None = None,
) -> Source:
    """Open what `spec` names.

    Args:
        spec: a path; an http, https, rtsp or rtsps URL; "webcam", "webcam:1", "webcam:NAME" or
            "webcam:/dev/video1" for a camera and a microphone of this machine.
        pace: for recordings: "live" as they were recorded, "fast" as soon as each item is taken.
            The items are the same.
        thinner: which frames are kept and how small they are made; None: the defaults.
        timeout_s: how long a URL may take to answer, and later to go on.
        audio_track: of a recording with several: its number, from 1, or its language; None: the
            best one that is not silent.
        microphone: of a webcam: index or part of the name; "off"; None: the default one.
        camera: the same; it goes before the one named in `spec`.
        microphone_retry_s: how long a microphone that vanished is looked for.
        isolation: for media that is not trusted: decode it in a process of its own, within these
            limits. A webcam is trusted, and read in this process in any case.

    Raises:
        UsageError: it cannot be opened; one line that names it and says what to do.
    """
    # PyAV, OpenCV and PortAudio take long to import, and each kind of source needs its own only.
    source: ThreadedSource
    thinner = thinner or FrameThinner()
    kind, _, which = spec.partition(":")
    if kind == "webcam":
        if audio_track is not None:
            raise UsageError("a webcam has no tracks of sound: choose with --microphone")
        from realtime.sources.webcam import WebcamSource

        source = WebcamSource(
            microphone=microphone,
            camera=camera or which or None,
            thinner=thinner,
            microphone_retry_s=microphone_retry_s,
        )
    elif microphone is not None or camera is not None:
        raise UsageError(f"{spec} brings its own sound and pictures: leave out the devices")
    elif isolation is not None:
        from realtime.sources.isolated import IsolatedSource

        source = IsolatedSource(
            spec,
            pace=pace,
            thinner=thinner,
            timeout_s=timeout_s,
            isolation=isolation,
            audio_track=audio_track,
        )
    else:
        from realtime.sources.file import FileSource

        source = FileSource(
            spec, pace=pace, thinner=thinner, timeout_s=timeout_s, audio_track=audio_track
        )
    await source.start()
    return source


def list_devices() -> list[Device]:
    """The microphones and cameras of this machine; takes up to some seconds.

    Raises `UsageError` where PortAudio is missing.
    """
    from realtime.sources.camera import cameras
    from realtime.sources.microphone import microphones

    return microphones() + cameras()
