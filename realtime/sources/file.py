"""A file or a stream's URL as a source, through PyAV.

In: a path or URL. Out: `Media`, paced as it was recorded or as fast as it is taken.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from models.errors import SourceError, UsageError
from models.naming import shown
from realtime.media import FrameThinner, Media, SourceNotice
from realtime.sources import joined, matroska
from realtime.sources.base import ThreadedSource
from realtime.sources.decoding import MediaReader, Piece, why
from realtime.sources.timeline import media_time
from realtime.sources.tracks import (
    HEARD_S,
    audio_tracks,
    best_audio,
    best_video,
    chosen_track,
    heard,
    listed,
)

Pace: TypeAlias = Literal["live", "fast"]

URL_SCHEMES = ("http", "https", "rtsp", "rtsps")

URL_PROTOCOLS = "http,https,httpproxy,tcp,tls,rtsp,rtp,udp,crypto"
"""What FFmpeg may speak to read a URL, and whatever a playlist there names. Never ``file``."""

FORMATS = (
    "3gp,aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,dv,eac3,flac,flv,gxf,loas,matroska,"
    "mov,mp3,mpeg,mpegts,mpegvideo,mpc,mpc8,mxf,nut,ogg,rm,tta,voc,w64,wav,wtv,wv"
)
"""The containers that are read, by FFmpeg's names. None of them makes FFmpeg open another file or
address: playlists, session descriptions and patterns of file names (hls, dash, concat, sdp,
image2, ...) do, whatever the name of the file that holds them, so they are not among these."""

STREAM_FORMATS = f"{FORMATS},hls,dash,rtsp,webvtt"
"""Those of URLs: playlists, too, because what they name is held to `URL_PROTOCOLS`."""

FILE_HOLD_S, STREAM_HOLD_S = 10.0, 0.5
"""How much media may wait for the other stream: of a file, generously, for badly interleaved ones
(50 frames, 35 MB at the defaults); of a live stream, little, because waiting there is delay."""


@dataclass(frozen=True, slots=True)
class About:
    """What opening a recording tells of it.

    Attributes:
        duration: seconds, if its header says so.
        has_video: there are pictures to expect.
        live_stream: it comes from the network at a pace of its own.
    """

    duration: float | None
    has_video: bool
    live_stream: bool


class Recording:
    """A file or a network stream, opened and read by a thread or process that may wait for it.

    Args:
        spec: a path, or a URL with one of `URL_SCHEMES`.
        timeout_s: how long a URL may take to answer, and later to go on.
        audio_track: of several, by number, from 1, or language; None: one that has sound.
        max_frame_mpx: size of one picture, in 10^6 pixels.
        max_hours: of media.
        memory_limited: this process has a limit on its memory; then reading may also raise
            `MemoryError`.

    Raises `UsageError` for a path or URL that cannot be a source.
    """

    def __init__(
        self,
        spec: str,
        *,
        thinner: FrameThinner,
        timeout_s: float,
        audio_track: str | None = None,
        max_frame_mpx: float = math.inf,
        max_hours: float = math.inf,
        memory_limited: bool = False,
    ) -> None:
        self.is_url = is_url(spec)
        if self.is_url:
            self.name, self._target = shown(_without_password(spec)), spec
        else:
            # "file:" keeps FFmpeg from taking a colon in a file's name for a protocol.
            self.name, self._target = shown(Path(spec).name), f"file:{_readable_file(spec)}"
        self._spec = spec
        self._thinner = thinner
        self._timeout_s = timeout_s
        self._audio_track = audio_track
        self._notices: list[SourceNotice] = []
        self._max_frame_mpx = max_frame_mpx
        self._max_hours = max_hours
        self._memory_limited = memory_limited
        self._containers: list[InputContainer] = []

    def open(self) -> About:
        """Open it; `UsageError` if that cannot be, if it has no sound, or is beyond a limit.

        Of recordings that were joined end to end those are passed over that cannot be read.
        """
        spans = self._spans()
        pieces: list[Piece] = []
        refusals: list[UsageError] = []
        for number, span in enumerate(spans, 1):
            try:
                pieces.append(self._open_piece(span))
            except UsageError as error:
                refusals.append(error)
                message = f"recording {number} of {len(spans)} is passed over: {error}"
                self._notices.append(SourceNotice(0.0, "source.corrupt", message))
        if not pieces:
            raise refusals[0]
        durations = [_duration(piece.container) for piece in pieces]
        duration = None if None in durations else sum(filter(None, durations))
        if duration is not None and duration > self._max_hours * 3600:
            raise UsageError(
                f"{self.name} is {duration / 3600:.1f} hours long, of which at most "
                f"{self._max_hours:g} are allowed: cut it into parts"
            )
        live_stream = self._is_live(pieces[0].container)
        self._reader = MediaReader(
            _closing(pieces),
            name=self.name,
            thinner=self._thinner,
            hold_s=STREAM_HOLD_S if live_stream else FILE_HOLD_S,
            max_frame_mpx=self._max_frame_mpx,
            memory_limited=self._memory_limited,
        )
        return About(duration, any(piece.video for piece in pieces), live_stream)

    def __iter__(self) -> Iterator[Media]:
        """Read it, in media-time order; `SourceError` if it breaks or goes beyond a limit."""
        longest_s = self._max_hours * 3600
        yield from self._notices
        for item in self._reader:
            if media_time(item) > longest_s:  # headers lie, and streams have none
                raise SourceError(
                    f"{self.name} goes on for more than {self._max_hours:g} hours, "
                    "which are as much as is allowed: cut it into parts"
                )
            yield item

    def close(self) -> None:
        """Release what `open` got, also after it failed half-way."""
        for container in self._containers:
            container.close()

    def _spans(self) -> list[_Span]:
        """Where the recordings in this source are."""
        if self.is_url:
            return [_ALL]
        with Path(self._spec).open("rb") as file:
            starts = joined.starts(file)
        if len(starts) == joined.MAX_PIECES:
            message = (
                f"{self.name} may hold more than {len(starts)} recordings, joined end to end: "
                "what comes after them may not be heard; take it apart"
            )
            self._notices.append(SourceNotice(0.0, "source.clocks", message))
        return list(zip(starts, [*starts[1:], 0], strict=True))

    def _open_piece(self, span: _Span) -> Piece:
        container = self._connect(span)
        self._containers.append(container)
        audio, video = best_audio(container), best_video(container)
        if audio is None:
            raise UsageError(self._soundless(container))
        audio = self._choose_track(span, container, audio)
        if video is not None:
            if video.width * video.height > self._max_frame_mpx * 1e6:
                raise UsageError(self._oversized(video.width, video.height))
            if video.width > 640 and not self._is_live(container):
                # Decodes faster, and later by a few frames. For small pictures it only costs.
                video.thread_type = "AUTO"
        return Piece(container, audio, video, self._is_whole(span, container))

    def _connect(self, span: _Span) -> InputContainer:
        start, end = span
        part = "" if span == _ALL else f"subfile,,start,{start},end,{end},,:"
        began = time.monotonic()
        try:
            return av.open(
                part + self._target,
                container_options=self._options(),
                metadata_errors="replace",
                timeout=self._timeout_s if self.is_url else None,
            )
        except av.error.FFmpegError as error:
            raise UsageError(self._refusal(error, time.monotonic() - began)) from error

    def _is_live(self, container: InputContainer) -> bool:
        return self.is_url and _duration(container) is None and not _has_size(container)

    def _choose_track(
        self, span: _Span, container: InputContainer, best: AudioStream
    ) -> AudioStream:
        """The track of sound to analyse: the one asked for, or the best one that is not silent."""
        tracks = audio_tracks(container)
        if self._audio_track is not None:
            best = chosen_track(tracks, self._audio_track, self.name)
        # A live stream can be read only once. Beside pictures a track may have not a single packet.
        if self._is_live(container) or (len(tracks) == 1 and not container.streams.video):
            return best
        with self._connect(span) as another:
            seconds = heard(another, best.index)
        if not seconds or (self._audio_track is not None and best.index not in seconds):
            raise UsageError(f"{self._without_sound()}: its track of sound is empty")
        if self._audio_track is not None or len(tracks) == 1:
            return best
        audible = [track for track in tracks if seconds.get(track.index, 0.0) > HEARD_S]
        chosen = best if best in audible or not audible else audible[0]
        labels = dict(zip(tracks, listed(tracks), strict=True))
        reason = "" if chosen is best else f", because {labels[best]} is silent"
        message = (
            f"{self.name} has {len(tracks)} tracks of sound, {', '.join(labels.values())}: "
            f"{labels[chosen]} is heard{reason}; --audio-track chooses another"
        )
        notice = SourceNotice(0.0, "audio.track", message)
        if notice not in self._notices:  # of the recording before
            self._notices.append(notice)
        return chosen

    def _is_whole(self, span: _Span, container: InputContainer) -> bool:
        """Whether it is known that nothing was cut off; FFmpeg tells where a server breaks off."""
        start, end = span
        if self.is_url or end:  # another recording follows
            return True
        if "matroska" not in container.format.name:
            return False
        path = Path(self._spec)
        with path.open("rb") as file:
            file.seek(start)
            return matroska.is_whole(file.read(matroska.HEAD_BYTES), path.stat().st_size - start)

    def _options(self) -> dict[str, str]:
        if not self.is_url:
            # "subfile" reads a part of a file: here, one of several recordings.
            return {"protocol_whitelist": "file,subfile", "format_whitelist": FORMATS}
        options = {"protocol_whitelist": URL_PROTOCOLS, "format_whitelist": STREAM_FORMATS}
        if self._target.startswith("rtsp"):
            # Over UDP, which is RTSP's first choice, packets are lost on the way.
            options["rtsp_flags"] = "prefer_tcp"
        return options

    def _refusal(self, error: av.error.FFmpegError, waited_s: float) -> str:
        if not self.is_url:
            return (
                f"{self.name} is not a sound or video file that can be read ({why(error)}): "
                "check that it plays elsewhere, and that it was copied whole"
            )
        if waited_s >= self._timeout_s:  # each protocol has its own error for that
            return self.unanswered()
        return (
            f"{self.name} cannot be opened ({why(error)}): "
            "check the address, and that its server is running"
        )

    def unanswered(self) -> str:
        """What to say of a server that is silent for longer than it may be."""
        return (
            f"{self.name} did not answer within {self._timeout_s:g} s: "
            "check the address, and that its server is running"
        )

    def _soundless(self, container: InputContainer) -> str:
        if container.streams.audio:
            return f"the sound of {self.name} is in a format that cannot be decoded: convert it"
        if container.streams.video:
            return f"{self._without_sound()}: give a recording in which a person can be heard"
        return f"{self.name} is not a sound or video file: give a recording of a person speaking"

    def _without_sound(self) -> str:
        return f"{self.name} has no sound"

    def _oversized(self, width: int, height: int) -> str:
        return (
            f"{self.name} has pictures of {width} x {height}, of which at most "
            f"{self._max_frame_mpx:g} million pixels are allowed: make them smaller"
        )


class FileSource(ThreadedSource):
    """A recording, or a stream from the network.

    Args:
        spec: a path, or a URL with one of `URL_SCHEMES`.
        pace: "live" gives each item out when as much wall time has passed since the first as
            media time, "fast" as soon as it is taken. The items are the same. A live stream from
            the network has its own pace and is never delayed.
        timeout_s: how long a URL may take to answer, and later to go on.
        audio_track: of several, by number, from 1, or language; None: one that has sound.

    Raises `UsageError` from `start()` for what cannot be opened or has no sound.
    """

    def __init__(
        self,
        spec: str,
        *,
        pace: Pace,
        thinner: FrameThinner,
        timeout_s: float,
        audio_track: str | None = None,
    ) -> None:
        self._recording = Recording(
            spec, thinner=thinner, timeout_s=timeout_s, audio_track=audio_track
        )
        self.name = self._recording.name
        self.live = self._paced = pace == "live"
        self._timeout_s = timeout_s
        super().__init__()

    async def start(self) -> None:
        """Open the source; `UsageError` if it cannot be, or has no sound."""
        # FFmpeg minds its timeout in two stages, but not while it looks up the host's name.
        limit_s = 3 * self._timeout_s if self._recording.is_url else None
        try:
            await asyncio.wait_for(super().start(), limit_s)
        except asyncio.TimeoutError:
            raise UsageError(self._recording.unanswered()) from None

    async def __aiter__(self) -> AsyncIterator[Media]:
        """Deliver the media, in media-time order, at the pace that was asked for."""
        began: float | None = None
        async for item in super().__aiter__():
            if self._paced:
                now = self._loop.time()
                began = now if began is None else began
                await self._wait(began + media_time(item) - now)
                if self._closing.is_set():
                    return
            yield item

    async def _wait(self, seconds: float) -> None:
        """Wait for so long, or until the source is closed."""
        if seconds <= 0:
            return await asyncio.sleep(0)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    def _open(self) -> None:
        self._begin(self._recording.open())

    def _begin(self, about: About) -> None:
        self.duration, self.has_video = about.duration, about.has_video
        if about.live_stream:
            self.live, self._paced = True, False

    def _read(self) -> Iterator[Media]:
        return iter(self._recording)

    def _close(self) -> None:
        self._recording.close()


_Span: TypeAlias = tuple[int, int]
"""Where a recording begins and ends in its file, in bytes; an end of 0 is that of the file."""

_ALL: _Span = (0, 0)


def _closing(pieces: list[Piece]) -> Iterator[Piece]:
    """Each of `pieces`, closed when the next is asked for: decoders take much memory."""
    for piece in pieces:
        yield piece
        piece.container.close()


def _duration(container: InputContainer) -> float | None:
    """Seconds, if it says so."""
    return (container.duration or 0) / av.time_base or None


def _has_size(container: InputContainer) -> bool:
    """Whether it is a file that a server has whole: a browser's recording may have no duration."""
    one_file = {*container.format.name.split(",")} & {*FORMATS.split(",")}
    return bool(one_file) and container.size > 0


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
            raise UsageError(
                f"{spec} is a folder: name a file in it, or analyse all of it with --results"
            )
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
