"""From an opened container to media on one timeline: decode, lay, thin, reduce, merge.

In: a PyAV container. Out: `Media` in media-time order, as a plain iterator. It blocks; what it
gives depends on the container's bytes alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.sidedata.sidedata import SideDataContainer
from av.stream import Stream
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from models.errors import SourceError
from realtime.media import (
    SAMPLE_RATE,
    FrameThinner,
    GreyPicture,
    Image,
    Media,
    SourceNotice,
    VideoFrame,
)
from realtime.sources.clocks import MAX_OVERLAP_S, RecordingClock
from realtime.sources.timeline import AudioTimeline, Interleaver

HONEST_DURATION = {"mov", "matroska", "flac"}
"""Containers whose header promises a duration. Of the others FFmpeg tells what is there (wav, avi,
ogg) or guesses (mpeg, mp3), so that one that was cut short is simply a shorter one."""

UNTIMED = {"aac", "ac3", "dts", "eac3", "mp3"}
"""Formats without timestamps: FFmpeg counts the time, but where recordings of several rates were
joined, as if all had the first rate."""

TAGS = (b"ID3", b"TAG", b"APETAGEX")
"""How titles and names begin that stand between joined MP3s: nothing that is damaged."""

MISSING_S = 1.0
"""How much less than the header promises there may be before a file counts as cut off: headers
round, and streams do not end together."""

FOLLOWED = {"mpegts", "mpeg", "hls"}
"""Formats in which each of several joined recordings may have streams of its own."""

FOLLOW_S = 2.5
"""When another stream had so much and ours nothing, ours is over. Streams side by side are mixed
more closely: at 16 kbit/s, 1.4 s come at once."""

READ_FAILURES = 20
"""So many damaged places in a row, with nothing readable between, end the source."""

MEMORY_FAILURES = 20
"""So many times in a row, with nothing gained between, a decoder whose memory is limited may fail
for want of it before that is the reason: a picture that is damaged may seem to be huge, too."""

NO_MEMORY = (av.error.MemoryError, av.error.BlockingIOError)
"""What FFmpeg says when it gets no memory, for a picture or for the stack of a thread."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A recording that was opened: all of a source, or one of several that were joined in a file.

    Attributes:
        audio, video: the streams of `container` that are read.
        whole: it is known that nothing was cut off, whatever the header promises.
    """

    container: InputContainer
    audio: AudioStream
    video: VideoStream | None
    whole: bool


class MediaReader:
    """Reads the sound and, where there are some, the pictures of `pieces`, one after the other.

    Args:
        name: what to call the source in messages.
        hold_s: how many seconds of media may wait for the other stream, see `Interleaver`.
        max_frame_mpx: size of one picture, in 10^6 pixels.
        memory_limited: this process has a limit on its memory, so that a decoder may lack some.

    Iterate once. Raises `SourceError` where a container breaks off or goes beyond a limit, and
    `MemoryError` where limited memory is not enough.
    """

    def __init__(
        self,
        pieces: Iterable[Piece],
        *,
        name: str,
        thinner: FrameThinner,
        hold_s: float,
        max_frame_mpx: float,
        memory_limited: bool,
    ) -> None:
        self._pieces = pieces
        self._name = name
        self._thinner = thinner
        self._max_frame_mpx = max_frame_mpx
        self._memory_limited = memory_limited
        self._timeline = AudioTimeline()
        self._merger = Interleaver(hold_s=hold_s)
        self._clock = RecordingClock()
        self._damaged = self._damage_told = False
        self._reducer = FrameReducer(thinner)

    def __iter__(self) -> Iterator[Media]:
        """Deliver the media, in media-time order."""
        cut_off: str | None = None
        for piece in self._pieces:
            self._begin(piece)
            for packet in self._followed(self._packets()):
                for item in self._decode(packet):
                    self._merger.push(item)
                    self._merger.audio_s = self._timeline.position / SAMPLE_RATE
                    yield from self._merger.ready()
                yield from self._merger.ready()
            missing = self._missing()
            if missing and piece.whole:
                message = f"{self._name} is short: {missing}, as where a recorder was paused"
                self._merger.push(SourceNotice(self._timeline.end_s, "source.short", message))
            elif missing:
                cut_off = missing
        for item in self._timeline.finish():
            self._merger.push(item)
        if (clocks := self._clock.clocks) > 1:
            message = (
                f"the timestamps of {self._name} follow {clocks} clocks, as if {clocks} recordings "
                "were joined: each goes on where the one before ended"
            )
            end_s = self._timeline.position / SAMPLE_RATE
            self._merger.push(SourceNotice(end_s, "source.clocks", message))
        yield from self._merger.rest()
        if not self._timeline.position:
            raise SourceError(f"none of the sound in {self._name} could be decoded: it is damaged")
        if cut_off:
            raise SourceError(f"{self._name} is cut off: {cut_off}")

    def _begin(self, piece: Piece) -> None:
        self._container, self._audio, self._video = piece.container, piece.audio, piece.video
        starts = [
            float(s.start_time * s.time_base)
            for s in (piece.audio, piece.video)
            if s is not None and s.start_time is not None and s.time_base is not None
        ]
        # A container that does not say when it begins (wav) begins with its first packet.
        self._clock.begin(min(starts) if starts else None, self._timeline.end_s)
        if piece.video is None:
            self._merger.video_s = math.inf
        elif math.isinf(self._merger.video_s):
            self._merger.video_s = self._timeline.end_s
        self._memory_failures = dict.fromkeys(range(len(piece.container.streams)), 0)
        self._end_s = self._sound_end_s = -math.inf
        self._rate, self._timed = piece.audio.rate, True

    def _packets(self) -> Iterator[av.Packet[Stream]]:
        """Every packet of every stream; damaged places are passed over."""
        failures = 0
        while failures < READ_FAILURES:
            try:
                for packet in self._container.demux():
                    failures = 0
                    yield packet
                return
            except (av.error.InvalidDataError, av.error.MemoryError):
                # A size that is damaged asks for any amount of memory.
                failures += 1
                self._damaged = True
            except IndexError:
                # PyAV, at the end, looks in vain for a stream that only appeared midway.
                return
            except av.error.FFmpegError as error:
                raise SourceError(f"{self._name} broke off: {why(error)}") from error
        raise SourceError(f"{self._name} broke off: it is damaged and cannot be read further")

    def _followed(self, packets: Iterator[av.Packet[Stream]]) -> Iterator[av.Packet[Stream]]:
        """All `packets`; where one of our streams is over, another goes on in its place."""
        if self._container.format.name not in FOLLOWED:
            yield from packets
            return
        others: dict[int, list[av.Packet[Stream]]] = {}  # since ours of their kind had a packet
        for packet in packets:
            stream, ours = packet.stream, (self._audio, self._video)
            if packet.pts is None:
                yield packet
            elif any(stream is one for one in ours):
                others = {
                    n: held for n, held in others.items() if held[0].stream.type != stream.type
                }
                yield packet
            elif any(one is not None and stream.type == one.type for one in ours):
                held = others.setdefault(stream.index, [])
                held.append(packet)
                assert held[0].pts is not None
                if (packet.pts - held[0].pts) * packet.time_base > FOLLOW_S:
                    if isinstance(stream, AudioStream):
                        self._audio = stream
                    elif isinstance(stream, VideoStream):
                        self._video = stream
                    self._memory_failures[stream.index] = 0
                    yield from others.pop(stream.index)

    def _decode(self, packet: av.Packet[Stream]) -> Iterator[Media]:
        if packet.pts is not None:
            end = packet.pts + (packet.duration or 0)
            self._end_s = max(self._end_s, _seconds(end, packet.time_base))
        stream = packet.stream.index
        try:
            if stream == self._audio.index:
                for sound in self._audio.decode(self._kept(packet)):
                    yield from self._hear(sound)
                    self._memory_failures[stream] = 0
            elif (
                self._video is not None
                and stream == self._video.index
                and not self._is_unwanted(packet)
            ):
                for picture in self._video.decode(packet):
                    for frame in self._see(picture):
                        yield frame
                        self._memory_failures[stream] = 0
        except av.error.EOFError:  # a decoder that was flushed already
            pass
        except av.error.FFmpegError as error:
            if self._memory_limited and isinstance(error, NO_MEMORY):
                self._memory_failures[stream] += 1
                if self._memory_failures[stream] == MEMORY_FAILURES:
                    raise MemoryError from error
            self._damaged = self._damaged or not bytes(packet).startswith(TAGS)
            if stream == self._audio.index:
                self._timeline.expect_gap()
        if self._damaged and not self._damage_told:
            self._damage_told = True
            message = f"part of {self._name} is damaged and is passed over"
            yield SourceNotice(self._timeline.end_s, "source.corrupt", message)

    def _kept(self, packet: av.Packet[Stream]) -> av.Packet[Stream]:
        """The packet of sound, which FFmpeg discards where the clock of a fragmented MP4 goes back.

        It does so until the next fragment begins. What an edit list discards does not go back.
        """
        if packet.pts is None:
            return packet
        start_s = _seconds(packet.pts, packet.time_base)
        goes_back = start_s < self._sound_end_s - MAX_OVERLAP_S
        self._sound_end_s = max(self._sound_end_s, start_s)
        if not packet.is_discard or not goes_back:
            return packet
        kept: av.Packet[Stream] = av.Packet(bytes(packet))
        kept.pts, kept.dts, kept.time_base = packet.pts, packet.dts, packet.time_base
        return kept

    def _hear(self, sound: av.AudioFrame) -> Iterator[Media]:
        if self._container.format.name in UNTIMED and sound.sample_rate != self._rate:
            self._timed = False
        time = _stamp(sound) if self._timed else None
        if time is not None:
            time = self._clock.sound(time, self._timeline.end_s)
        yield from self._timeline.add(sound, time)

    def _see(self, picture: av.VideoFrame) -> Iterator[Media]:
        if picture.width * picture.height > self._max_frame_mpx * 1e6:
            raise SourceError(
                f"{self._name} goes on with pictures of {picture.width} x {picture.height}, of "
                f"which at most {self._max_frame_mpx:g} million pixels are allowed: "
                "make them smaller"
            )
        if self._container.format.name == "avi":  # it keeps the times of decoding, and no others
            picture.pts = picture.dts
        stamp_s = _stamp(picture)
        if stamp_s is None:
            return
        time = self._clock.picture(stamp_s, self._timeline.end_s)
        self._merger.video_s = max(self._merger.video_s, time)
        if time >= 0:
            assert self._video is not None
            yield from self._reducer.take(
                picture, time, float(self._video.sample_aspect_ratio or 1)
            )

    def _is_unwanted(self, packet: av.Packet[Stream]) -> bool:
        """Whether the picture is coded without others, and need not be decoded either."""
        assert self._video is not None
        if not self._video.codec.intra_only or packet.pts is None:
            return False
        stamp_s = _seconds(packet.pts, packet.time_base)
        time = self._clock.look_ahead(stamp_s, self._timeline.end_s)
        if time is None or not self._thinner.has(time):
            return False
        self._merger.video_s = max(self._merger.video_s, time)
        return True

    def _missing(self) -> str | None:
        """What to say if much of what the header promised did not come."""
        promised_us = self._container.duration
        if promised_us is None or not HONEST_DURATION & {*self._container.format.name.split(",")}:
            return None
        if math.isinf(self._end_s):  # nothing came, which is told
            return None
        promised_s = promised_us / av.time_base
        # Matroska counts its duration from 0, not from its first timestamp; where the others
        # begin later than at 0, this is the lenient reading.
        missing_s = promised_s - self._end_s
        if missing_s <= MISSING_S:
            return None
        return (
            f"its header promises {promised_s:.1f} s, "
            f"of which the last {missing_s:.1f} s are missing"
        )


class FrameReducer:
    """Makes pictures what analysis needs: few, small, their pixels square, and upright.

    In colour there are few, with the film between them in grey.
    """

    def __init__(self, thinner: FrameThinner) -> None:
        self._thinner = thinner
        self._reformatter = VideoReformatter()
        self._film_reformatter = VideoReformatter()
        self._film: list[GreyPicture] = []

    def take(
        self, picture: av.VideoFrame, time: float, aspect: float = 1.0
    ) -> Iterator[VideoFrame]:
        """The frame that `picture` completes, if it completes one.

        Args:
            aspect: how many times as wide as high the pixels of the picture are.
        """
        if self._thinner.wants_in_film(time):
            grey = self._reduced(self._film_reformatter, picture, aspect, "gray")
            self._film.append(GreyPicture(time, grey))
        if not self._thinner.wants(time):
            return
        image = self._reduced(self._reformatter, picture, aspect, "rgb24")
        shown = max(round(picture.width * aspect), picture.height)
        film, self._film = tuple(self._film), []
        yield VideoFrame(time, image, shown / max(image.shape), film)

    def _reduced(
        self, reformatter: VideoReformatter, picture: av.VideoFrame, aspect: float, pixels: str
    ) -> npt.NDArray[np.uint8]:
        """The picture in another format of pixels; all at once, in order of cost."""
        width, height = self._thinner.reduced_size(round(picture.width * aspect), picture.height)
        reduced = reformatter.reformat(
            picture,
            width,
            height,
            pixels,
            src_color_range=picture.color_range,
            interpolation=Interpolation.AREA,
        )
        return _upright(cast(Image, reduced.to_ndarray()), picture)


def _seconds(ticks: int, time_base: Fraction) -> float:
    """float(ticks * time_base), to the digit, without making a fraction for every packet."""
    return ticks * time_base.numerator / time_base.denominator


def _stamp(frame: av.AudioFrame | av.VideoFrame) -> float | None:
    return frame.time  # its stub says that there always is one


def why(error: av.error.FFmpegError) -> str:
    """FFmpeg's reason in its own few words."""
    if isinstance(error, av.error.ExitError):  # its words for it: immediate exit requested
        return "no answer in time"
    return (error.strerror or "unknown reason").lower()


def _upright(image: npt.NDArray[np.uint8], picture: av.VideoFrame) -> npt.NDArray[np.uint8]:
    """Turn and mirror `image` as the display matrix of `picture` says it is to be shown."""
    # Not `picture.side_data`: that refers to the picture, which keeps it, so only the collector of
    # cycles would find both, hundreds of decoded pictures later.
    side_data: Any = SideDataContainer(picture)  # type: ignore[call-arg] # its stub has no argument
    matrix = side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    # Source (x, y) is shown at (a x + c y, b x + d y): quarter turns and mirrors, by their signs.
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(b) > abs(a):
        image, a, d = image.swapaxes(0, 1), c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
