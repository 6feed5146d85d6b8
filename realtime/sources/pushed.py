"""Media that a client pushes, with its own times: a source for devices without WebRTC.

In: 16-bit samples and JPEG pictures. Out: `Media` on one timeline, which begins with the first.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable
from io import BytesIO

import av
import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.Image import Resampling
from PIL.ImageOps import exif_transpose

from models.naming import shown
from realtime.media import SAMPLE_RATE, FrameThinner, Media, SourceNotice, VideoFrame
from realtime.metrics import FRAMES_DROPPED
from realtime.sources.base import Source
from realtime.sources.rate_check import RateCheck
from realtime.sources.timeline import AudioTimeline, Interleaver

HANDOVER_ITEMS = 64
"""Items that wait for the consumer, about 2 s; then sound waits outside, and pictures go."""

HOLD_S = 0.5
"""How long sound may wait for the pictures of its time, and they for it."""

MAX_SCANS = 100
"""Of one JPEG. A progressive one has about 10; each costs the time of a whole picture, and fits
into some bytes."""

MAX_GAP_S, MAX_OVERLAP_S = 60.0, 10.0
"""Times that jump further than this, forward or back, mean a clock that was set anew: the media
goes on where it was."""


class PushedSource(Source):
    """What one client pushes; one task at a time may do so.

    Args:
        name: what to show.
        has_audio, has_video: what is going to be pushed, at least one of them.
        max_frame_mpx: how big a picture may be, in 10^6 pixels; bigger ones are passed over.
    """

    def __init__(
        self, name: str, *, has_audio: bool, has_video: bool, max_frame_mpx: float = math.inf
    ) -> None:
        if not has_audio and not has_video:
            raise ValueError("a source needs sound or pictures")
        self.name = shown(name)
        self.has_audio, self.has_video = has_audio, has_video
        self._thinner = FrameThinner()
        self._timeline = AudioTimeline()
        self._rate = RateCheck()
        self._unsure: list[tuple[float, npt.NDArray[np.int16]]] = []  # may have another rate
        self._merger = Interleaver(hold_s=HOLD_S)
        if not has_audio:
            self._merger.audio_s = math.inf
        if not has_video:
            self._merger.video_s = math.inf
        self._origin_s: float | None = None
        self._max_frame_mpx = max_frame_mpx
        self._told: set[str] = set()  # each notice about pictures, once
        self._queue: asyncio.Queue[Media | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(HANDOVER_ITEMS)
        self._over = False

    async def __aiter__(self) -> AsyncIterator[Media]:
        """Deliver the media, in media-time order."""
        while (item := await self._queue.get()) is not None:
            self._room.release()
            yield item
        self._queue.put_nowait(None)  # whoever asks again hears the same answer

    @property
    def position_s(self) -> float:
        """Seconds of media pushed so far."""
        return max(
            self._timeline.end_s if self.has_audio else 0.0,
            self._merger.video_s if self.has_video else 0.0,
        )

    async def audio(self, time_s: float, samples: npt.NDArray[np.int16]) -> None:
        """Push sound, int16 (n,) at 16 kHz mono, that begins at `time_s`.

        Waits while the consumer is behind, so that nothing is lost.

        Raises:
            UsageError: the first pieces and their times show that the samples have another rate.
        """
        if self._over:
            return
        self._unsure.append((time_s, samples))
        if self._rate.follow(time_s, len(samples)):
            await self._pass_on()

    async def _pass_on(self) -> None:
        sounds, self._unsure = self._unsure, []
        for time_s, samples in sounds:
            await self._lay(time_s, samples)

    async def _lay(self, time_s: float, samples: npt.NDArray[np.int16]) -> None:
        time = self._media_time(time_s, self._timeline.end_s)
        sound = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", "mono")
        sound.sample_rate = SAMPLE_RATE
        for item in self._timeline.add(sound, time):
            self._merger.push(item)
            self._merger.audio_s = self._timeline.position / SAMPLE_RATE
            await self._hand_over(self._merger.ready())

    async def jpeg(self, time_s: float, data: bytes) -> None:
        """Push the picture of the instant `time_s`; given up if the consumer is behind."""
        if self.has_audio:  # it sets the clock
            time = time_s - self._origin(time_s)
            if abs(time - self._timeline.end_s) > MAX_GAP_S:
                return
        else:
            time = self._media_time(time_s, self._merger.video_s)
        self._merger.video_s = max(self._merger.video_s, time)
        if time >= 0 and self._thinner.wants(time) and not self._gives_up():
            item = await asyncio.to_thread(self._decode, data, time)
            if isinstance(item, VideoFrame) or item.code not in self._told:
                self._merger.push(item)
            if isinstance(item, SourceNotice):
                self._told.add(item.code)
        await self._hand_over(self._merger.ready())

    async def end(self) -> None:
        """Nothing more will be pushed; what is here is still delivered."""
        await self._pass_on()
        for item in self._timeline.finish():
            self._merger.push(item)
        await self._hand_over(self._merger.rest())
        self._queue.put_nowait(None)

    async def aclose(self) -> None:
        """Stop; what is pushed from now on goes nowhere."""
        self._over = True
        self._timeline = AudioTimeline()  # the old one may still have a resampler, and its threads
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)
        self._room.release()  # who pushes may be waiting for room

    def _media_time(self, time_s: float, expected: float) -> float:
        """Seconds since the first item; `expected` where the client's clock was set anew."""
        jump = time_s - self._origin(time_s) - expected
        if not -MAX_OVERLAP_S <= jump <= MAX_GAP_S:
            self._origin_s = time_s - expected
        return time_s - self._origin(time_s)

    def _origin(self, time_s: float) -> float:
        """What the client calls the instant at which the media begins."""
        if self._origin_s is None:
            self._origin_s = time_s
        return self._origin_s

    async def _hand_over(self, items: Iterable[Media]) -> None:
        for item in items:
            if isinstance(item, VideoFrame) and self._gives_up():
                continue
            await self._room.acquire()
            if self._over:
                self._room.release()
                return
            self._queue.put_nowait(item)

    def _gives_up(self) -> bool:
        """Whether a picture is given up, because the consumer is behind; then it is counted."""
        if self._room.locked():
            FRAMES_DROPPED.labels("pushed").inc()
        return self._room.locked()

    def _decode(self, data: bytes, time: float) -> VideoFrame | SourceNotice:
        """The picture, reduced and upright; runs in a thread."""
        try:
            if data.count(b"\xff\xda") > MAX_SCANS:
                raise ValueError("it would take a thread for minutes")
            with PIL.Image.open(BytesIO(data), formats=["JPEG"]) as picture:
                width, height = picture.size
                if width * height > self._max_frame_mpx * 1e6:
                    message = (
                        f"a picture of {width} x {height} is passed over: "
                        f"send at most {self._max_frame_mpx:g} million pixels"
                    )
                    return SourceNotice(time, "picture.too_big", message)
                longest = max(picture.size)
                size = self._thinner.reduced_size(*picture.size)
                picture.draft("RGB", size)  # a big one is decoded at a fraction of its size
                reduced = exif_transpose(picture.convert("RGB").resize(size, Resampling.BOX))
        except Exception:  # a damaged picture makes PIL, and above all its EXIF, fail in many ways
            message = "a picture cannot be read and is passed over: send JPEG"
            return SourceNotice(time, "picture.unreadable", message)
        return VideoFrame(time, np.asarray(reduced), longest / max(size))
