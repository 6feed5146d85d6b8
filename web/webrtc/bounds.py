"""Bounds on what a peer can make aiortc hold, or work through in one go.

In: parts of a peer connection that has not begun. Out: the same, which drop what is too much.
aiortc has no option for any of it.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from time import monotonic
from typing import Any

from aiortc import MediaStreamTrack, RTCRtpReceiver, RTCRtpSender, RTCSctpTransport, rate
from aiortc import rtcrtpreceiver as receiving
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcsctptransport import DataChunk
from aiortc.rtp import RTP_HISTORY_SIZE, RtpPacket
from aiortc.utils import uint16_add

MAX_UNDECODED_BYTES = 8_000_000
"""Of one track, encoded, that wait for its decoder: 13 s of pictures at 5 Mbit/s."""

MAX_UNHEARD = 250
"""Frames of sound that wait to be sent to one viewer: 5 s."""

MAX_FRAGMENTS = 64
"""Pieces of messages, and numbers out of order, that a data channel may leave open. Of one without
an end, aiortc looks through all pieces with each new one: 1.7 s for a hundred more after 40,000."""

MAX_STREAMS = 16
"""Streams of one SCTP association that may bring something; we read one, of a channel `events`."""

MAX_RESENT = 500
"""Packets a second that one viewer may have sent again. One report can ask for 5,000."""


def bound_decoding(receiver: RTCRtpReceiver) -> None:
    """Drop what comes while much waits for the decoder; the sender is asked for a key frame."""
    failed: threading.Event = receiver._RTCRtpReceiver__decoder_error  # type: ignore[attr-defined]
    receiver._RTCRtpReceiver__decoder_queue = UndecodedFrames(failed)  # type: ignore[attr-defined]


class UndecodedFrames(queue.Queue[Any]):
    """What aiortc gives its decoder: codecs with frames, and at the end None.

    Args:
        dropped: set when a frame is dropped.
    """

    def __init__(self, dropped: threading.Event) -> None:
        super().__init__()
        self.bytes = 0
        self._dropped = dropped

    def _put(self, item: tuple[Any, JitterFrame] | None) -> None:
        if item is None:  # aiortc waits for the decoder, and the whole server with it
            self.queue.clear()
            self.bytes = 0
        elif self.bytes + len(item[1].data) > MAX_UNDECODED_BYTES:
            self._dropped.set()
            return
        else:
            self.bytes += len(item[1].data)
        self.queue.append(item)

    def _get(self) -> Any:
        item = self.queue.popleft()
        if item is not None:
            self.bytes -= len(item[1].data)
        return item


class _BoundedNackGenerator(receiving.NackGenerator):
    """Of a leap in the numbers, only the last packets are noted as missing.

    They alone are asked for, but aiortc counts through all that were leapt over, up to 32,767 of
    them: 8 ms for a packet of 20 bytes.
    """

    def add(self, packet: RtpPacket) -> bool:
        if self.max_seq is not None:
            leap = uint16_add(packet.sequence_number, -self.max_seq)
            if RTP_HISTORY_SIZE < leap < 1 << 15:
                self.missing.clear()
                self.max_seq = uint16_add(packet.sequence_number, -RTP_HISTORY_SIZE)
        return super().add(packet)


receiving.NackGenerator = _BoundedNackGenerator  # type: ignore[misc]


class _RateCounter(rate.RateCounter):
    """Bits a second of what came within the window, to the digit as aiortc counts them.

    It notes each packet. aiortc's has an object for each of 1,000 ms, which the garbage collector
    looks through, and counts through every millisecond of a silence.

    Args:
        window_size: in ms.
        scale: from bytes a ms to what is told.
    """

    def __init__(self, window_size: int, scale: int = 8000) -> None:
        self._window_ms = window_size
        super().__init__(window_size, scale)  # which resets it

    def reset(self) -> None:
        """Begin anew."""
        self._came: deque[tuple[int, int]] = deque()  # when, in ms, and how many bytes
        self._bytes = 0
        self._since_ms: int | None = None

    def add(self, value: int, now_ms: int) -> None:
        """Note that `value` bytes came."""
        if self._since_ms is None:
            self._since_ms = now_ms
        self._forget(now_ms)
        self._came.append((now_ms, value))
        self._bytes += value

    def rate(self, now_ms: int) -> int | None:
        """What came within the window; None if nothing did, or all just now."""
        if self._since_ms is None:
            return None
        self._forget(now_ms)
        window_ms = min(now_ms - self._since_ms + 1, self._window_ms)
        if not self._came or window_ms <= 1:
            return None
        return round(self._scale * self._bytes / window_ms)

    def _forget(self, now_ms: int) -> None:
        while self._came and now_ms - self._came[0][0] >= self._window_ms:
            self._bytes -= self._came.popleft()[1]


rate.RateCounter = _RateCounter  # type: ignore[misc]


def bound_resending(sender: RTCRtpSender) -> None:
    """Send again at most `MAX_RESENT` packets a second, whatever a viewer says it has lost."""
    resend = sender._retransmit
    lately: deque[float] = deque(maxlen=MAX_RESENT)

    async def retransmit(sequence_number: int) -> None:
        now = monotonic()
        if len(lately) < MAX_RESENT or now - lately[0] > 1:
            lately.append(now)
            await resend(sequence_number)

    sender._retransmit = retransmit  # type: ignore[method-assign]


def bound_fragments(sctp: RTCSctpTransport) -> None:
    """Pass over all pieces of messages while `MAX_FRAGMENTS` are open: nobody reads long ones."""
    receive = sctp._receive_data_chunk

    async def receive_data_chunk(chunk: DataChunk) -> None:
        streams = sctp._inbound_streams
        waiting = sum(len(stream.reassembly) for stream in streams.values())
        known = chunk.stream_id in streams or len(streams) < MAX_STREAMS
        if known and max(waiting, len(sctp._sack_misordered)) < MAX_FRAGMENTS:
            await receive(chunk)

    sctp._receive_data_chunk = receive_data_chunk  # type: ignore[method-assign]


def bound_relay(track: MediaStreamTrack) -> MediaStreamTrack:
    """A track of a `MediaRelay`, which keeps the newest `MAX_UNHEARD` frames, and not all."""
    if getattr(track, "_queue", None) is not None:
        track._queue = _Newest()  # type: ignore[attr-defined]
    return track


class _Newest(asyncio.Queue[Any]):
    def put_nowait(self, item: Any) -> None:
        if self.qsize() >= MAX_UNHEARD:
            self.get_nowait()
        super().put_nowait(item)
