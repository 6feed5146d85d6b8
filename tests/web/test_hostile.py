"""Peers that keep to no rules: garbage as RTP, RTCP, SCTP and plain UDP, floods, deaf followers."""

from __future__ import annotations

import asyncio
import fractions
import gc
import json
import random
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import av
import httpx
import pylibsrtp
import pytest
from aiortc import RTCDtlsTransport, RTCRtpCodecParameters
from aiortc.jitterbuffer import JitterFrame
from talks import Talk
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from web_client import application
from web_client import serving as serving_whole
from webrtc_client import SDP, Publication, Repeated, nothing_left, offer_of, peer, serving, until
from websockets.exceptions import ConnectionClosed

from realtime.events import TranscriptPartial
from web import server as web_server
from web.settings import Limits, ServerSettings
from web.webrtc import connection as web_peer
from web.webrtc import packets
from web.webrtc.packets import MAX_SOURCES, MAX_WAITING

pytestmark = pytest.mark.slow

PACKETS = 3000


@asynccontextmanager
async def without_faults() -> AsyncIterator[None]:
    """Assert that no task breaks off unseen meanwhile."""
    faults: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    try:
        yield
        gc.collect()  # a task that broke off unseen says so when it goes
        await asyncio.sleep(0)
        assert faults == []
    finally:
        loop.set_exception_handler(None)


@asynccontextmanager
async def open_server() -> AsyncIterator[httpx.AsyncClient]:
    app = application()
    async with serving(app) as http:
        await until(lambda: app.state.hub.state == "ready")
        yield http


async def publication(http: httpx.AsyncClient, clip: Path) -> Publication:
    publication = Publication(http)
    publication.listen(publication.pc.createDataChannel("events"))
    await publication.begin(Repeated(clip, "audio"), Repeated(clip, "video"))
    await until(lambda: publication.pc.connectionState == "connected")
    await until(lambda: publication.told("session.started"))
    return publication


def garbage_rtp(rng: random.Random, real: list[bytes]) -> bytes:
    """A real RTP or RTCP packet with damage; or the head of one with anything behind it."""
    kind = rng.randrange(4)
    if kind == 0:
        data = bytearray(rng.choice(real))
        for _ in range(rng.randrange(1, 8)):
            at = rng.choice((0, 1, rng.randrange(len(data)), rng.randrange(min(40, len(data)))))
            data[at] = rng.randrange(256)
        data[0] = 0x80 | data[0] & 0x3F
        return bytes(data[: rng.choice((len(data), rng.randrange(12, len(data) + 1)))])
    if kind == 1:  # RTCP: sender and receiver reports, SDES, BYE, APP, feedback
        type = rng.choice((200, 201, 202, 203, 204, 205, 206))
        body = rng.randbytes(4 * rng.randrange(1, 20))
        words = rng.choice((len(body) // 4, rng.randrange(40)))
        return bytes([0x80 | rng.randrange(64), type]) + struct.pack("!H", words) + body
    head = bytearray(rng.choice(real)[:12])
    head[0] = 0x80 | (rng.randrange(64) if kind == 2 else 0)
    if rng.random() < 0.5:
        head[8:12] = rng.randbytes(4)  # a source of its own
    return bytes(head) + rng.randbytes(rng.randrange(80))


async def test_garbage_within_a_connection_disturbs_nobody_else(talk: Talk) -> None:
    """RTP, RTCP and SCTP that are encrypted as they should be, and hold anything."""
    rng = random.Random(1)
    async with without_faults(), open_server() as http, nothing_left():
        other = await publication(http, talk.path)
        hostile = await publication(http, talk.path)
        transport = hostile.pc.getTransceivers()[0].receiver.transport
        real = await some_packets(transport)
        assert hostile.pc.sctp is not None
        for number in range(PACKETS):
            try:
                await transport._send_rtp(garbage_rtp(rng, real))
            except (pylibsrtp.Error, ConnectionError):  # not even libsrtp takes it; or all is over
                continue
            if number % 10 == 0 and transport.state == "connected":
                head = struct.pack("!HHLL", 5000, 5000, 0, 0)
                await transport._send_data(head + rng.randbytes(rng.randrange(60)))
            if number % 50 == 0:
                await asyncio.sleep(0.01)
        before = len(other.told("utterance.result"))
        await until(lambda: len(other.told("utterance.result")) >= before + 2)
        session = (await http.get(f"/api/sessions/{hostile.session}")).json()
        assert session["state"] in ("running", "ended")
        if session["state"] == "running":
            await hostile.end()
        else:
            await hostile.pc.close()
        await other.end()


async def some_packets(transport: RTCDtlsTransport) -> list[bytes]:
    """Of the RTP and RTCP that a peer sends by itself."""
    seen: list[bytes] = []
    send = transport._send_rtp

    async def listen(data: bytes) -> None:
        seen.append(data)
        await send(data)

    transport._send_rtp = listen  # type: ignore[method-assign]
    await until(lambda: len(seen) > 100)
    transport._send_rtp = send  # type: ignore[method-assign]
    return seen


async def test_a_flood_of_sources_is_bounded_and_the_connection_can_close(talk: Talk) -> None:
    """Reports name each source of RTP, and have room for 31."""
    async with without_faults(), open_server() as http, nothing_left():
        hostile = await publication(http, talk.path)
        transport = hostile.pc.getTransceivers()[0].receiver.transport
        packet = (await some_packets(transport))[0]
        for source in range(10 * MAX_SOURCES):
            await transport._send_rtp(packet[:8] + struct.pack("!L", 7000 + source) + packet[12:])
            await asyncio.sleep(0.002)
        await asyncio.sleep(3)  # two reports, at least
        before = len(hostile.told("speech.started"))
        await until(lambda: len(hostile.told("speech.started")) > before)
        await hostile.end()


async def test_what_strangers_send_to_the_port_is_lost(talk: Talk) -> None:
    """Anyone may send UDP there: nothing, noise, half a STUN message, DTLS, what looks like RTP."""
    rng = random.Random(2)
    async with without_faults(), open_server() as http, nothing_left():
        target = await publication(http, talk.path)
        found = re.findall(
            r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+)", target.pc.remoteDescription.sdp
        )
        addresses = [(host, int(port)) for host, port in found if ":" not in host]
        assert addresses
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for number in range(PACKETS):
                size = rng.randrange(1400)
                data = [
                    b"",
                    rng.randbytes(size),
                    struct.pack("!HHL", 1, size, 0x2112A442) + rng.randbytes(12 + size % 100),
                    struct.pack("!HHL", 1, 8, 0x2112A442) + rng.randbytes(12) + b"\x00\x06\x00\x20",
                    b"\x16\xfe\xfd" + rng.randbytes(size % 200),
                    b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x01\x00",
                    bytes([0x80, 200]) + rng.randbytes(size % 100),
                ][number % 7]
                stranger.sendto(data, rng.choice(addresses))
                if number % 50 == 0:
                    await asyncio.sleep(0.01)
        before = len(target.told("utterance.result"))
        await until(lambda: len(target.told("utterance.result")) >= before + 2)
        assert not target.told("session.ended")
        await target.end()


async def test_strangers_cannot_fill_the_memory_before_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web_peer, "CONNECT_S", 4.0)
    async with without_faults(), open_server() as http, nothing_left():
        pc = peer()
        pc.addTransceiver("audio", "sendonly")
        answer = await http.post("/whip", content=await offer_of(pc), headers=SDP)
        (host, port), *_ = re.findall(r"a=candidate:\S+ 1 udp \d+ ([\d.]+) (\d+)", answer.text)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for number in range(5 * PACKETS):
                stranger.sendto(b"\x80" + bytes(1199), (host, int(port)))  # as if it were RTP
                if number % 50 == 0:
                    await asyncio.sleep(0.002)
        waiting = [
            item._queue.qsize()
            for item in gc.get_objects()
            if type(item).__module__ == "aioice.ice" and hasattr(item, "_queue")
        ]
        assert max(waiting) == MAX_WAITING
        await http.delete(answer.headers["location"])
        await pc.close()


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_pictures_of_enormous_size_are_not_decoded(
    codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key frame says how big it is in some bytes, and a decoder believes it."""
    monkeypatch.setattr(packets, "MAX_PIXELS", 320 * 240)
    known = RTCRtpCodecParameters(mimeType=f"video/{codec}", clockRate=90_000, payloadType=96)
    for width, height in ((320, 240), (640, 480)):
        encoder = av.CodecContext.create("libvpx" if codec == "VP8" else "libx264", "w")
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.time_base = fractions.Fraction(1, 25)
        picture = av.VideoFrame(width, height, "yuv420p")
        decoder = packets._bounded_decoder(known)
        encoded = [*encoder.encode(picture), *encoder.encode(None)]
        if width == 320:
            [decoder.decode(JitterFrame(bytes(packet), 0)) for packet in encoded]
        else:
            with pytest.raises(av.FFmpegError):
                decoder.decode(JitterFrame(bytes(encoded[0]), 0))


async def test_a_follower_that_reads_nothing_is_cut_off_and_costs_little(
    long_talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_server, "PONG_S", 5)
    async with serving_whole() as client:
        await client.hub.ready()
        id = (await client.upload(long_talk.path, pace="fast")).json()["id"]
        hosted = client.hub.get(id)
        deaf = socket.create_connection(("127.0.0.1", client.http.base_url.port))
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(
            f"GET /api/sessions/{id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            .encode()
        )  # fmt: skip
        await asyncio.to_thread(deaf.recv, 1)  # the answer has begun: the server has its socket
        (socket_of_deaf,) = sockets()
        following = asyncio.create_task(client.events(id))
        most = 0
        for _ in range(100):  # 20 MB, far more than the system's own buffers hold
            for _ in range(100):
                text = "x" * 2000
                hosted.record(TranscriptPartial(session=id, time=0.0, utterance=1, text=text))
            await asyncio.sleep(0.01)
            most = max(most, socket_of_deaf.transport.get_write_buffer_size())
        told = await following
        assert told[-1]["type"] == "session.ended"
        assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
        assert len([event for event in told if event["type"] == "utterance.result"]) > 10
        assert most < 1_000_000
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            await until(lambda: socket_of_deaf.disconnected)
        deaf.close()


def sockets() -> list[WebSocketsSansIOProtocol]:
    """The server's open WebSockets, of which uvicorn tells nobody."""
    return [
        each
        for each in gc.get_objects()
        if issubclass(type(each), WebSocketsSansIOProtocol) and not each.disconnected
    ]


async def test_who_sends_too_much_to_a_feed_is_told(long_talk: Talk) -> None:
    async with serving_whole(ServerSettings(limits=Limits(max_message_rate=10))) as client:
        await client.hub.ready()
        id = (await client.upload(long_talk.path, pace="live")).json()["id"]
        async with client.connect(f"/api/sessions/{id}/events") as feed:
            for _ in range(10):  # some are nobody's business
                await feed.send("hello")
                await feed.send(b"\x00")
            assert json.loads(await feed.recv())["type"] == "session.started"
            for _ in range(200):
                await feed.send("hello")
            last = ""
            with suppress(ConnectionClosed):
                while True:
                    last = str(await feed.recv())
            assert feed.close_code == 1008
        assert json.loads(last)["error"]["code"] == "too_fast"
        assert client.hub.get(id).state == "running", "nobody else is disturbed"
        await client.http.delete(f"/api/sessions/{id}")
