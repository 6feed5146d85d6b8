"""A file or a stream's URL as a source, through PyAV.

In: a path or URL. Out: `Media`, paced as it was recorded or as fast as it is taken.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import av
from av.container import InputContainer

from models.errors import UsageError
from realtime.media import FrameThinner, Media
from realtime.sources.base import ThreadedSource
from realtime.sources.decoding import MediaReader, choose_streams, why
from realtime.sources.timeline import media_time

Pace: TypeAlias = Literal["live", "fast"]

URL_SCHEMES = ("http", "https", "rtsp", "rtsps")

FILE_HOLD_S, STREAM_HOLD_S = 10.0, 0.5
"""How much media may wait for the other stream: of a file, generously, for badly interleaved ones
(50 frames, 35 MB at the defaults); of a live stream, little, because waiting there is delay."""


class FileSource(ThreadedSource):
    """A recording, or a stream from the network.

    Args:
        spec: a path, or a URL with one of `URL_SCHEMES`.
        pace: "live" gives each item out when as much wall time has passed since the first as
            media time, "fast" as soon as it is taken. The items are the same. A live stream from
            the network has its own pace and is never delayed.
        timeout_s: how long a URL may take to answer, and later to go on.

    Raises `UsageError` from `start()` for what cannot be opened or has no sound.
    """

    def __init__(self, spec: str, *, pace: Pace, thinner: FrameThinner, timeout_s: float) -> None:
        self._is_url = is_url(spec)
        if self._is_url:
            self.name, self._target = _without_password(spec), spec
        else:
            # "file:" keeps FFmpeg from taking a colon in a file's name for a protocol.
            self.name, self._target = Path(spec).name, f"file:{_readable_file(spec)}"
        self.live = self._paced = pace == "live"
        self._thinner = thinner
        self._timeout_s = timeout_s
        self._container: InputContainer | None = None
        super().__init__()

    async def start(self) -> None:
        """Open the source; `UsageError` if it cannot be, or has no sound."""
        # FFmpeg minds its timeout in two stages, but not while it looks up the host's name.
        limit_s = 3 * self._timeout_s if self._is_url else None
        try:
            await asyncio.wait_for(super().start(), limit_s)
        except asyncio.TimeoutError:
            raise UsageError(self._unanswered()) from None

    async def __aiter__(self) -> AsyncIterator[Media]:
        """Deliver the media, in media-time order, at the pace that was asked for."""
        began: float | None = None
        async for item in super().__aiter__():
            if self._paced:
                now = self._loop.time()
                began = now if began is None else began
                await asyncio.sleep(max(0.0, began + media_time(item) - now))
            yield item

    def _open(self) -> None:
        timeout_s = self._timeout_s if self._is_url else None
        # Over UDP, which is RTSP's first choice, packets are lost on the way.
        options = {"rtsp_flags": "prefer_tcp"} if self._target.startswith("rtsp") else {}
        began = time.monotonic()
        try:
            self._container = av.open(self._target, options=options, timeout=timeout_s)
        except av.error.FFmpegError as error:
            raise UsageError(self._refusal(error, time.monotonic() - began)) from error
        audio, video = choose_streams(self._container)
        if audio is None:
            raise UsageError(self._soundless(self._container))
        live_stream = self._is_url and not self._container.duration
        if live_stream:
            self.live, self._paced = True, False
        elif video is not None and video.width > 640:
            # Decodes faster, and later by a few frames. For small pictures it only costs.
            video.thread_type = "AUTO"
        self.duration = (self._container.duration or 0) / av.time_base or None
        self.has_video = video is not None
        self._reader = MediaReader(
            self._container,
            audio,
            video,
            name=self.name,
            thinner=self._thinner,
            hold_s=STREAM_HOLD_S if live_stream else FILE_HOLD_S,
        )

    def _read(self) -> Iterator[Media]:
        return iter(self._reader)

    def _close(self) -> None:
        if self._container is not None:
            self._container.close()

    def _refusal(self, error: av.error.FFmpegError, waited_s: float) -> str:
        if not self._is_url:
            return (
                f"{self.name} is not a sound or video file that can be read ({why(error)}): "
                "check that it plays elsewhere, and that it was copied whole"
            )
        if waited_s >= self._timeout_s:  # each protocol has its own error for that
            return self._unanswered()
        return (
            f"{self.name} cannot be opened ({why(error)}): "
            "check the address, and that its server is running"
        )

    def _unanswered(self) -> str:
        return (
            f"{self.name} did not answer within {self._timeout_s:g} s: "
            "check the address, and that its server is running"
        )

    def _soundless(self, container: InputContainer) -> str:
        undecodable = [s.name for s in container.streams.audio]
        if undecodable:
            return f"the sound of {self.name} is in a format that cannot be decoded: convert it"
        if container.streams.video:
            return f"{self.name} has no sound: give a recording in which a person can be heard"
        return f"{self.name} is not a sound or video file: give a recording of a person speaking"


def is_url(spec: str) -> bool:
    """Whether `spec` is a URL (else a path); `UsageError` for a URL that cannot be a source."""
    scheme = re.match(r"([a-z][a-z0-9+.-]+)://", spec, re.IGNORECASE)
    if scheme is None:
        return False
    if scheme[1].lower() not in URL_SCHEMES:
        raise UsageError(
            f"{scheme[1]}:// cannot be opened: give a file, or a URL that begins with "
            f"{', '.join(f'{known}://' for known in URL_SCHEMES)}"
        )
    return True


def _readable_file(spec: str) -> Path:
    path = Path(spec)
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise UsageError(f"{spec} is a directory: give one file in it")
        if not path.is_file():
            raise UsageError(f"{spec} is not a regular file: give a recording, a URL or webcam")
        if not os.access(path, os.R_OK):
            raise UsageError(f"{spec} may not be read: change its permissions, or your user")
    except FileNotFoundError:
        raise UsageError(f"{spec} does not exist: check the name and the folder") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{spec} cannot be opened ({reason}): check the name") from None
    if size == 0:
        raise UsageError(f"{spec} is empty (0 bytes): was it copied whole?")
    return path


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
