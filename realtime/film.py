"""The film of a session: its sound and its pictures in one MP4, whose clock is the session's.

In: `Media`, as a session takes it. Out: H.264 and AAC in fragments, so that what a killed server
leaves can be played, too; a film that is closed is an ordinary MP4.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from io import IOBase

import av
import numpy as np

from realtime.media import SAMPLE_RATE, AudioBlock, Image, Media, Samples, VideoFrame
from realtime.sources import Source

logger = logging.getLogger(__name__)

HIGHEST = 480
"""Pixels of a picture, from top to bottom."""

FRAGMENT_S = 2.0
"""How much film a kill costs. Every so often there is a picture, if need be the last one again."""

PATIENCE_S = 2.0
"""How much sound waits for the first picture, which gives the film its size."""

MAX_PICTURES = 64_000_000
"""Bytes that wait to be written; at more, pictures are left out of the film: 18 s of 640 x 360."""

MAX_SOUND = 8_000_000
"""Bytes that may wait beyond `MAX_PICTURES`; at more, sound is left out, too: 2 minutes of it."""

HUNG_S = 10.0
"""A disk onto which nothing could be written for so long is not waited for any more."""

CLOSE_S = 10.0
"""How long the end of a film is waited for."""

_CLOCK = 90_000  # Hz of the times of pictures
_SIZE = 640, 360  # of a film that has no picture at its beginning


class FilmWriter:
    """Writes the film of one session, in a thread of its own.

    A session is never held up by a film: what comes faster than it can be written, or onto a disk
    that hangs, is left out of it. A recording that plays at full speed waits a little instead,
    while the thread goes on.

    Args:
        open: makes the file; called in the thread, when there is something to write.
        source: of the media.
        failed: told in the event loop, once, why the film ends here.
    """

    def __init__(
        self,
        open: Callable[[], IOBase],
        source: Source,
        failed: Callable[[Exception], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._live = source.live
        self._film = _Film(open, source)
        self._failed = failed
        self._queue: queue.SimpleQueue[AudioBlock | VideoFrame | None] = queue.SimpleQueue()
        self._given = self._written = 0  # bytes, each counted by one thread
        self._hung_at = -1  # of them written, when nothing went on
        self._over = False
        self._thread = threading.Thread(target=self._write_all, name="film", daemon=True)
        self._thread.start()

    async def take(self, item: Media) -> None:
        """Write `item`, soon."""
        if isinstance(item, VideoFrame):
            item = replace(item, film=())
            size, most = item.nbytes, MAX_PICTURES
        elif isinstance(item, AudioBlock):
            size, most = item.samples.nbytes, MAX_PICTURES + MAX_SOUND
        else:
            return
        if not self._live:
            await self._room(most - size)
        if not self._over and self._given - self._written + size <= most:
            self._given += size
            self._queue.put(item)

    async def aclose(self) -> None:
        """Write what waits, and close the file."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, CLOSE_S)

    async def _room(self, most: int) -> None:
        """Wait until no more than so many bytes wait; for a disk that hangs, once."""
        written, since = self._written, self._loop.time()
        while self._given - self._written > most and not self._over and written != self._hung_at:
            await asyncio.sleep(0.01)
            if self._written != written:
                written, since = self._written, self._loop.time()
            elif self._loop.time() - since > HUNG_S:
                self._hung_at = written

    def _write_all(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                self._film.write(item)
                self._written += (
                    item.nbytes if isinstance(item, VideoFrame) else item.samples.nbytes
                )
            self._film.close()
        except Exception as error:
            logger.error("a film ends before its session: %s", error)
            with suppress(RuntimeError):  # the loop was closed under us
                self._loop.call_soon_threadsafe(self._failed, error)
        finally:
            self._over = True
            self._film.release()


class _Film:
    """The file itself, as items are written into it.

    Args:
        open: makes the file, when there is something to write.
        source: tells whether to expect sound, and pictures.
    """

    def __init__(self, open: Callable[[], IOBase], source: Source) -> None:
        self._open = open
        self._source = source
        self._early: list[AudioBlock] = []  # before the first picture
        self._file: IOBase | None = None
        self._container: av.container.OutputContainer | None = None
        self._sound: av.AudioStream | None = None
        self._pictures: av.VideoStream | None = None
        self._picture = av.VideoFrame()  # the last one
        self._seen = -1  # its time, in ticks of `_CLOCK`
        self._heard = 0  # samples

    def write(self, item: AudioBlock | VideoFrame) -> None:
        """Write one item."""
        if self._container is None and isinstance(item, AudioBlock):
            self._early.append(item)
            if not self._source.has_video or item.stop >= PATIENCE_S * SAMPLE_RATE:
                self._begin(None)
        elif isinstance(item, AudioBlock):
            self._hear(item)
        else:
            if self._container is None:
                self._begin(item.image)
            self._see(item.image, item.time)

    def close(self) -> None:
        """End the film, if there is one."""
        if self._container is None and self._early:
            self._begin(None)
        if self._container is not None:
            if self._sound is not None:
                self._container.mux(self._sound.encode(None))
            if self._pictures is not None:
                self._container.mux(self._pictures.encode(None))
            self._container.close()

    def release(self) -> None:
        """Let go of the file, whatever is in it."""
        self._container = self._sound = self._pictures = None
        if self._file is not None:
            self._file.close()

    def _begin(self, first: Image | None) -> None:
        """Open the file, and write what waited; it shows `first` from time 0 on, or is black."""
        self._file = self._open()
        options = {
            "movflags": "hybrid_fragmented",
            "frag_duration": f"{FRAGMENT_S * 1e6:.0f}",
            "max_interleave_delta": f"{FRAGMENT_S * 1e6:.0f}",
        }
        self._container = av.open(self._file, "w", format="mp4", container_options=options)
        if self._source.has_video:
            self._pictures = self._add_pictures(first)
        if self._source.has_audio:
            self._sound = self._container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
            self._sound.bit_rate = 48_000
        self._container.start_encoding()
        self._see(np.zeros((1, 1, 3), np.uint8) if first is None else first, 0.0)
        for block in self._early:
            self._hear(block)
        self._early.clear()

    def _add_pictures(self, first: Image | None) -> av.VideoStream:
        assert self._container is not None
        height, width = (_SIZE[1], _SIZE[0]) if first is None else first.shape[:2]
        scale = min(1.0, HIGHEST / height)
        # In one thread and without looking ahead: what is given is written.
        look = {"preset": "ultrafast", "tune": "zerolatency", "crf": "28"}
        stream = self._container.add_stream("libx264", rate=5, options=look)
        stream.width, stream.height = (max(2, round(n * scale / 2) * 2) for n in (width, height))
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = 10
        return stream

    def _see(self, image: Image, time: float) -> None:
        """Show a picture from `time` on, unless another one came after it."""
        if self._pictures is not None and round(time * _CLOCK) > self._seen:
            self._picture = _fitted(image, self._pictures.width, self._pictures.height)
            self._show(self._pictures, time)

    def _show(self, stream: av.VideoStream, time: float) -> None:
        """Show the last picture from `time` on."""
        assert self._container is not None
        self._seen = self._picture.pts = round(time * _CLOCK)
        self._picture.time_base = Fraction(1, _CLOCK)
        self._container.mux(stream.encode(self._picture))

    def _hear(self, block: AudioBlock) -> None:
        """Write sound, after silence where some was left out."""
        if self._sound is not None:
            while (gap := block.start - self._heard) > 0:
                self._encode(np.zeros(min(gap, SAMPLE_RATE), np.float32))
            self._encode(block.samples)
        again = self._seen / _CLOCK + FRAGMENT_S
        if self._pictures is not None and block.start / SAMPLE_RATE > again:
            self._show(self._pictures, again)

    def _encode(self, samples: Samples) -> None:
        assert self._sound is not None
        assert self._container is not None
        sound = av.AudioFrame.from_ndarray(samples[np.newaxis], "fltp", "mono")
        sound.sample_rate = SAMPLE_RATE
        sound.pts, sound.time_base = self._heard, Fraction(1, SAMPLE_RATE)
        self._heard += len(samples)
        # The first packet lies before time 0, and would move all the others.
        packets = [p for p in self._sound.encode(sound) if p.pts is not None and p.pts >= 0]
        self._container.mux(packets)


def _fitted(image: Image, width: int, height: int) -> av.VideoFrame:
    """`image` in that size, between black bars if it has another shape."""
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
    scale = min(width / picture.width, height / picture.height)
    wide, high = round(picture.width * scale), round(picture.height * scale)
    if width - wide > 2 or height - high > 2:  # more than even sides take
        whole = np.zeros((height, width, 3), np.uint8)
        left, top = (width - wide) // 2, (height - high) // 2
        inner = picture.reformat(wide, high, "rgb24").to_ndarray()
        whole[top : top + high, left : left + wide] = inner
        picture = av.VideoFrame.from_ndarray(whole, "rgb24")
    return picture.reformat(width, height, "yuv420p")
