"""Packets that aiortc and aioice would stumble over, hold without end, or give much memory.

In: a peer connection that has not begun. Out: the same, which loses such packets and nothing else.
Neither library can be told so in public.
"""

from __future__ import annotations

import errno
import logging
import struct
from collections import Counter

import av
from aioice import stun
from aioice.ice import CandidatePair, StunProtocol
from aioice.stun import Message, parse_message
from aiortc import (
    RTCDtlsTransport,
    RTCIceParameters,
    RTCIceTransport,
    RTCPeerConnection,
    RTCRtpCodecParameters,
    RTCRtpReceiver,
    rtcrtpreceiver,
)
from aiortc.codecs import get_decoder
from aiortc.codecs.base import Decoder
from aiortc.codecs.h264 import H264Decoder
from aiortc.codecs.vpx import Vp8Decoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import AnyRtcpPacket

from web.webrtc.bounds import bound_decoding, bound_fragments, bound_resending

MAX_WAITING = 1000
"""Packets that wait until a connection is made; a stranger may send them, too."""

MAX_DISCOVERED = 16
"""Addresses of a peer, unnamed in its offer, that it may speak to one transport from. aioice keeps
each with its pairs, sorts all pairs anew for it, and knocks there in a task of its own; what is
left of a hundred such tasks keeps the collector of garbage busy for 10 ms."""

MAX_CHECKS = 16
"""Times that one pair of addresses is tried. To an answer "your role is mine" (487) aioice tries
again at once, a call within the last: who always gave it would keep the loop busy."""

MAX_SOURCES = 30
"""RTP sources (SSRC) of one connection. A report has room for 31, and each is remembered."""

MAX_PIXELS = 1 << 25
"""Of a picture that is decoded at all: 8K. Some bytes can ask for one of 268 million, and for its
memory several times. What is big, but not that big, is for the source to refuse."""

FIRST_OF_DTLS = b"\x14"
"""The first byte of DTLS and SRTP is this or more (RFC 7983). Less is STUN that cannot be read, or
nothing known."""

logger = logging.getLogger(__name__)


def guard(connection: RTCPeerConnection) -> None:
    """Guard all transports of `connection`."""
    transports = {each.receiver.transport for each in connection.getTransceivers()}
    if connection.sctp is not None:
        transports.add(connection.sctp.transport)
        bound_fragments(connection.sctp)
    for each in connection.getTransceivers():
        _report_in_spite_of_faults(each.receiver)
        bound_decoding(each.receiver)
        bound_resending(each.sender)
    for transport in transports:
        _bound_waiting(transport)
        _bound_addresses(transport)
        _bound_checks(transport)
        _bound_sources(transport)
        _go_on_after_faults(transport)
        _start_unless_closed(transport.transport)


def _bound_waiting(transport: RTCDtlsTransport) -> None:
    ice = transport.transport._connection
    receive = ice.data_received

    def data_received(data: bytes, component: int) -> None:
        if data[:1] >= FIRST_OF_DTLS and ice._queue.qsize() < MAX_WAITING:
            receive(data, component)

    ice.data_received = data_received  # type: ignore[method-assign]


def _bound_addresses(transport: RTCDtlsTransport) -> None:
    ice = transport.transport._connection
    check = ice.check_incoming

    def check_incoming(message: Message, addr: tuple[str, int], protocol: StunProtocol) -> None:
        peers = ice._remote_candidates
        known = any((each._network_host, each.port) == addr for each in peers)
        discovered = sum(each.type == "prflx" for each in peers)
        # aioice takes for granted that a check from a new address tells its priority.
        if known or (discovered < MAX_DISCOVERED and "PRIORITY" in message.attributes):
            check(message, addr, protocol)

    ice.check_incoming = check_incoming  # type: ignore[method-assign]


def _bound_checks(transport: RTCDtlsTransport) -> None:
    ice = transport.transport._connection
    start = ice.check_start
    tried: Counter[CandidatePair] = Counter()

    async def check_start(pair: CandidatePair) -> None:
        tried[pair] += 1
        if tried[pair] <= MAX_CHECKS:
            await start(pair)
        else:
            ice.check_state(pair, CandidatePair.State.FAILED)
            ice.check_complete(pair)

    ice.check_start = check_start  # type: ignore[method-assign]


def _bound_sources(transport: RTCDtlsTransport) -> None:
    router = transport._rtp_router
    route = router.route_rtp

    def route_rtp(packet):  # type: ignore[no-untyped-def]
        if packet.ssrc in router.ssrc_table or len(router.ssrc_table) < MAX_SOURCES:
            return route(packet)
        return None

    router.route_rtp = route_rtp  # type: ignore[method-assign]


def _go_on_after_faults(transport: RTCDtlsTransport) -> None:
    receive = transport._recv_next

    async def receive_next() -> None:
        try:
            await receive()
        except ConnectionError:
            raise
        except Exception as error:
            logger.debug("a packet is passed over: %r", error)

    transport._recv_next = receive_next  # type: ignore[method-assign]


def _start_unless_closed(transport: RTCIceTransport) -> None:
    """So that a connection of several transports can be closed while the first is being made."""
    start = transport.start

    async def start_if_open(parameters: RTCIceParameters) -> None:
        if transport.state != "closed":
            await start(parameters)

    transport.start = start_if_open  # type: ignore[method-assign, assignment]


def _report_in_spite_of_faults(receiver: RTCRtpReceiver) -> None:
    send = receiver._send_rtcp

    async def send_rtcp(packet: AnyRtcpPacket) -> None:
        try:
            await send(packet)
        except Exception as error:  # else the task ends, and who closes the connection waits for it
            logger.debug("a report is not sent: %r", error)

    receiver._send_rtcp = send_rtcp  # type: ignore[method-assign]


class _BoundedVp8Decoder(Vp8Decoder):
    def decode(self, encoded_frame: JitterFrame) -> list[av.frame.Frame]:
        data = encoded_frame.data
        if len(data) >= 10 and not data[0] & 1:  # a key frame, which tells its size (RFC 6386, 9.1)
            width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
            if width * height > MAX_PIXELS:
                raise av.error.InvalidDataError(errno.EINVAL, f"{width} x {height} is too big")
        return super().decode(encoded_frame)


def _bounded_decoder(codec: RTCRtpCodecParameters) -> Decoder:
    if codec.mimeType.lower() == "video/vp8":
        return _BoundedVp8Decoder()
    decoder = get_decoder(codec)
    if isinstance(decoder, H264Decoder):
        decoder.codec.options = {"max_pixels": str(MAX_PIXELS)}
    return decoder


rtcrtpreceiver.get_decoder = _bounded_decoder  # type: ignore[attr-defined]


def _read_message(data: bytes) -> Message:
    """See `parse_message`; also of an attribute of the wrong length, `ValueError` is raised, which
    is all that its callers expect."""
    try:
        return parse_message(data)
    except struct.error as error:
        raise ValueError(str(error)) from error


stun.parse_message = _read_message
