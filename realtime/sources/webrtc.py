"""The tracks of a WebRTC peer as a source.

In: an audio and a video track of aiortc's. Out: `Media` as it arrives. Audio sets the clock: media
time is its timestamps since its first packet; a frame's time is its instant on that clock.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from time import monotonic
from typing import NamedTuple

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from models.errors import SourceError
from models.naming import shown
from realtime.media import FrameThinner, Media, SourceNotice, VideoFrame
from realtime.metrics import FRAMES_DROPPED
from realtime.sources.base import Source
from realtime.sources.decoding import FrameReducer
from realtime.sources.timeline import AudioTimeline

HELD_SOUNDS = 1500
"""Packets of sound that may wait for a busy session, or for the models to load, before the oldest
are lost: 30 s at 20 ms a packet, 6 MB."""

HELD_FRAMES = 50
"""The same of frames: 10 s, 35 MB at 640 x 360. Of more, every second one goes, silently, so that
every utterance that waits keeps some."""

LOST_S = 3.0
"""A track that brings nothing, not even silence, for so long is told to be lost."""

MISSING_S = 5.0
"""Pictures wait so long for a promised sound to begin; then the session goes by eye alone."""

EARLY_S, LATE_S = 1.0, 10.0
"""A packet may seem this much too early (clocks differ) or too late (the network was held up);
beyond that, the sender has set its timestamps anew."""

DRIFT = 0.001
"""How much slower than ours, at most, a sender's clock is taken to run."""

WATCH_S = 0.5


class WebRTCSource(Source):
    """What a peer sends, from the first packet of its sound to the end of its tracks.

    From `start` on the tracks are drained, whoever reads, so that nothing builds up in aiortc; what
    the reader does not take in time is lost, pictures first, and nothing is delivered late by more
    than what may be held. A frame is delivered as soon as it is there, which may be shortly
    after the audio of its time. Without RTP clocks compared by RTCP, which aiortc does not tell,
    sound and pictures are aligned by their arrival: to about 0.1 s.

    Args:
        name: what to show.
        audio, video: the tracks; None for what the peer does not send, but not both.
        idle_s: how long nothing may come before `SourceError`.
        max_frame_mpx: how big a picture may be, in 10^6 pixels; a bigger one is a `SourceError`.
        thinner: which frames are kept; None: the default.

    Attributes:
        paused: settable: while it is True, silence takes the place of what is heard, and no frame
            goes on. It holds for what arrives from now on.
    """

    def __init__(
        self,
        name: str,
        audio: MediaStreamTrack | None,
        video: MediaStreamTrack | None,
        *,
        idle_s: float,
        max_frame_mpx: float = math.inf,
        thinner: FrameThinner | None = None,
    ) -> None:
        self.name = shown(name)
        self.has_audio, self.has_video = audio is not None, video is not None
        self.paused = False
        self._thinner = thinner or FrameThinner()
        self._reducer = FrameReducer(self._thinner)
        self._timeline = AudioTimeline()
        self._idle_s = idle_s
        self._max_frame_mpx = max_frame_mpx
        self._began: float | None = None  # the instant of media time 0
        self._sounds: deque[_Sound] = deque(maxlen=HELD_SOUNDS)
        self._frames: deque[VideoFrame] = deque()
        self._notices: deque[SourceNotice] = deque()
        self._news = asyncio.Event()
        self._over = False
        self._problem: str | None = None
        self._tracks = [
            _Track(device, track)
            for device, track in (("microphone", audio), ("camera", video))
            if track is not None
        ]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to take what comes; once the peer is connected, because before that aiortc neither
        feeds nor ends a track."""
        drains = []
        for track in self._tracks:
            track.arrived = monotonic()
            drain = self._hear(track) if track.device == "microphone" else self._look(track)
            drains.append(asyncio.create_task(drain))
        self._tasks = [*drains, asyncio.create_task(self._watch(drains))]

    async def __aiter__(self) -> AsyncIterator[Media]:
        """Deliver the media as it arrives; of what waits, in media-time order."""
        while True:
            self._news.clear()
            while self._notices or self._sounds or self._frames:
                for item in self._next():
                    yield item
            if self._over:
                break
            await self._news.wait()
        for block in self._timeline.finish():
            yield block
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()  # a fault of ours must not pass for the end of the media
        if self._problem is not None:
            raise SourceError(self._problem)

    async def aclose(self) -> None:
        """Let go of the tracks; what still waits is not delivered any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for track in self._tracks:
            track.media.stop()
        for held in (self._notices, self._sounds, self._frames):
            held.clear()
        # An ended session is kept, with its source; the threads of FFmpeg's filters need not be.
        self._timeline, self._reducer = AudioTimeline(), FrameReducer(self._thinner)
        self.end()

    def end(self, problem: str | None = None) -> None:
        """Say that nothing more will come: the reader gets what waits, then the end.

        With a problem, that end is a `SourceError`.
        """
        if not self._over:
            self._problem = problem
            self._over = True
            self._news.set()

    def _next(self) -> Iterator[Media]:
        if self._notices:
            yield self._notices.popleft()
        elif self._frames and not (self._sounds and self._sounds[0].time < self._frames[0].time):
            yield self._frames.popleft()
        else:
            sound = self._sounds.popleft()
            yield from self._timeline.add(sound.audio, sound.time)

    async def _hear(self, track: _Track) -> None:
        clock, origin_s = _Clock(), 0.0
        while (audio := await track.receive()) is not None:
            if not self.has_audio:  # it came too late to set the clock
                continue
            assert isinstance(audio, av.AudioFrame)
            assert audio.time is not None
            if not clock.follow(audio.time, track.arrived):
                # The first packet, or timestamps set anew: it is laid where the wall clock says.
                now = 0.0 if self._began is None else track.arrived - self._began
                origin_s = audio.time - now
            self._began = clock.zero + origin_s
            self._sounds.append(_Sound(audio.time - origin_s, self._own(audio)))
            self._news.set()

    def _own(self, audio: av.AudioFrame) -> av.AudioFrame:
        """A copy, because others may hear `audio` too; of silence while paused."""
        samples = audio.to_ndarray()
        if self.paused:
            samples = np.zeros_like(samples)
        copy = av.AudioFrame.from_ndarray(samples, audio.format.name, audio.layout.name)
        copy.sample_rate = audio.sample_rate
        return copy

    async def _look(self, track: _Track) -> None:
        clock = _Clock()
        seen: float | None = None
        while (picture := await track.receive()) is not None:
            assert isinstance(picture, av.VideoFrame)
            assert picture.time is not None
            clock.follow(picture.time, track.arrived)
            if picture.width * picture.height > self._max_frame_mpx * 1e6:
                self.end(
                    f"{self.name} sends pictures of {picture.width} x {picture.height}: "
                    f"at most {self._max_frame_mpx:g} million pixels are taken"
                )
                return
            if seen is None:
                seen = track.arrived
            if self._began is None and (not self.has_audio or track.arrived - seen > MISSING_S):
                self._go_by_eye(track.arrived)
            if self._began is None or self.paused:
                continue
            time = clock.zero + picture.time - self._began
            if time < 0 or self._thinner.has(time):
                continue
            frames = await asyncio.to_thread(list, self._reducer.take(picture, time))
            for frame in frames if not self.paused else ():
                if len(self._frames) >= HELD_FRAMES:
                    FRAMES_DROPPED.labels("webrtc").inc(HELD_FRAMES // 2)
                    self._frames = deque(islice(self._frames, 0, None, 2))
                self._frames.append(frame)
                self._news.set()

    def _go_by_eye(self, now: float) -> None:
        self._began = now
        if self.has_audio:
            self.has_audio = False
            self._notice("microphone.missing", "no sound came: going on by eye")

    async def _watch(self, drains: list[asyncio.Task[None]]) -> None:
        """Tell what falls silent and what comes back; end when all is over, or silent too long."""
        lost: set[_Track] = set()
        while going := [drain for drain in drains if not drain.done()]:
            await asyncio.wait(going, timeout=WATCH_S, return_when=asyncio.FIRST_COMPLETED)
            now = monotonic()
            for track in self._tracks:
                silent = now - track.arrived > LOST_S
                if silent and track.heard_of and track not in lost:
                    lost.add(track)
                    self._notice(f"{track.device}.lost", f"the {track.device} sends nothing more")
                elif not silent and track in lost:
                    lost.discard(track)
                    self._notice(f"{track.device}.back", f"the {track.device} is back")
            if now - max(track.arrived for track in self._tracks) > self._idle_s:
                self.end(f"{self.name} has sent nothing for {self._idle_s:g} s")
                return
        self.end()

    def _notice(self, code: str, message: str) -> None:
        time = 0.0 if self._began is None else max(0.0, monotonic() - self._began)
        self._notices.append(SourceNotice(time, code, message))
        self._news.set()


class _Sound(NamedTuple):
    time: float  # media time of its first sample, in seconds
    audio: av.AudioFrame


class _Track:
    """A track, and when it was last heard of, on the clock of `time.monotonic`."""

    def __init__(self, device: str, media: MediaStreamTrack) -> None:
        self.device = device
        self.media = media
        self.arrived = -math.inf
        self.heard_of = False

    async def receive(self) -> object | None:
        """The next frame; None at the end."""
        try:
            frame: object = await self.media.recv()
        except MediaStreamError:
            return None
        self.arrived = monotonic()
        self.heard_of = True
        return frame


class _Clock:
    """What a sender's timestamps mean on our clock.

    A packet can come late, never early: the one that came with the least delay sets the clock.

    Attributes:
        zero: the instant of timestamp 0.
    """

    def __init__(self) -> None:
        self.zero = -math.inf
        self._last_s = 0.0

    def follow(self, stamp_s: float, arrived: float) -> bool:
        """Take note of a packet; False if its timestamp does not continue those before."""
        zero = arrived - stamp_s
        continues = -EARLY_S < zero - self.zero < LATE_S
        if continues:
            drifted = self.zero + DRIFT * max(0.0, stamp_s - self._last_s)
            self.zero = min(zero, drifted)
        else:
            self.zero = zero
        self._last_s = stamp_s
        return continues
