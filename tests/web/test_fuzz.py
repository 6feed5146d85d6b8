"""Damaged SDP, WebSocket messages, media, events, forms and requests: only documented errors.

The volume goes through the whole application without a socket between; some hundred more over real
sockets. FUZZ_EXAMPLES tells how many of each; the same ones each time.
"""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import struct
import time
import typing
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pydantic
import pytest
import schemathesis
from hypothesis import example, given
from hypothesis import strategies as st
from mutation import EXAMPLES, pieces, texts, times
from schemathesis.checks import not_a_server_error
from web_client import Client, application, serving
from webrtc_client import SDP, offer_of, peer, until

from realtime import events
from web.sessions.hub import Hub
from web.settings import Limits, ServerSettings

ANSWER_S = 30
"""Far more than any one input may take, on a busy machine."""

CLOSINGS = {1000, 1003, 1007, 1008, 1009, 1013}

T = typing.TypeVar("T")


class InProcess:
    """The application, called as a server calls it; and what went wrong behind its back."""

    def __init__(self, limits: Limits) -> None:
        self.loop = asyncio.new_event_loop()
        self.faults: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.faults.append(context))
        self.app = application(ServerSettings(limits=limits))
        self.hub: Hub = self.app.state.hub
        self.leaving: set[asyncio.Task[None]] = set()
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    def run(self, awaitable: Awaitable[T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(awaitable, ANSWER_S))

    async def converse(self, path: str, messages: list[str | bytes]) -> tuple[list[str], int]:
        """What a client of a WebSocket is sent that sends messages and goes; the close code."""
        told: list[str] = []
        code = 0
        received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        received.put_nowait({"type": "websocket.connect"})
        for message in messages:
            kind = "text" if isinstance(message, str) else "bytes"
            received.put_nowait({"type": "websocket.receive", kind: message})
        received.put_nowait({"type": "websocket.disconnect", "code": 1005})

        async def send(message: dict[str, Any]) -> None:
            nonlocal code
            if message["type"] == "websocket.send":
                told.append(message["text"])
            elif message["type"] == "websocket.close":
                code = message["code"]

        scope = {
            "type": "websocket",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1:8000")],
            "client": ("127.0.0.1", 5),
            "server": ("127.0.0.1", 8000),
            "scheme": "ws",
            "subprotocols": [],
        }
        await self.app(scope, received.get, send)  # type: ignore[arg-type]
        return told, code

    def leave(self, awaitable: Awaitable[T]) -> None:
        """Wait for it later; not for more than 100."""

        async def wait() -> None:
            await awaitable

        async def begin() -> None:
            task = asyncio.create_task(wait())
            self.leaving.add(task)
            task.add_done_callback(self.leaving.discard)
            while len(self.leaving) > 100:
                await asyncio.wait(self.leaving, return_when=asyncio.FIRST_COMPLETED)

        self.run(begin())


@contextmanager
def in_process() -> Iterator[InProcess]:
    """The application; afterwards, neither session nor task may be left, nor a fault untold."""
    world = InProcess(Limits(max_sessions=1000, max_joins=10**9))
    lifespan = world.app.router.lifespan_context(world.app)
    world.run(lifespan.__aenter__())
    world.loop.run_until_complete(world.hub.ready())
    tasks = asyncio.all_tasks(world.loop)
    try:
        yield world

        async def settled() -> None:
            await until(lambda: asyncio.all_tasks() - {asyncio.current_task()} <= tasks)

        world.loop.run_until_complete(settled())
        assert [
            hosted.id for hosted in world.hub.sessions.values() if hosted.state != "ended"
        ] == []
        gc.collect()  # a task that broke off unseen says so when it goes
        world.run(asyncio.sleep(0))
        assert world.faults == []
    finally:
        world.run(lifespan.__aexit__(None, None, None))
        world.run(world.http.aclose())
        world.loop.close()


def told_error(body: str) -> str:
    """The code of an error in the documented form."""
    error = json.loads(body)
    assert set(error) == {"error"}
    assert set(error["error"]) == {"code", "message"}
    message = error["error"]["message"]
    assert message
    assert len(message.splitlines()) == 1
    assert "Traceback" not in message
    return str(error["error"]["code"])


def checked(answer: httpx.Response) -> httpx.Response:
    """An answer that is a success, or a documented error of the client's."""
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        told_error(answer.text)
    return answer


# SDP


def own_offers() -> list[str]:
    """What aiortc offers: sound and pictures, sound alone with a channel, and nothing to send."""

    async def offers() -> list[str]:
        made = []
        for kinds, direction in (
            (("audio", "video"), "sendonly"),
            (("audio",), "sendrecv"),
            (("video",), "recvonly"),
        ):
            pc = peer()
            for kind in kinds:
                pc.addTransceiver(kind, direction)
            if kinds == ("audio",):
                pc.createDataChannel("events")
            made.append(await offer_of(pc))
            await pc.close()
        return made

    return asyncio.run(offers())


ICE = """a=ice-ufrag:q3Zx
a=ice-pwd:RyWlGbiO4hPlYwyfJcQxPL3u
a=fingerprint:sha-256 {}
a=setup:actpass
""".format(":".join(f"{n:02X}" for n in range(32)))

BROWSER = (
    """v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
a=extmap-allow-mixed
a=msid-semantic: WMS 6d1f
m=audio 53772 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110
c=IN IP4 192.0.2.7
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1467250027 1 udp 2122260223 192.0.2.7 53772 typ host generation 0 network-id 1
a=candidate:1467250028 1 udp 2122262783 2001:db8::7 53773 typ host generation 0 network-id 2
a=candidate:2 1 udp 2113937151 1f9e.local 53774 typ host generation 0 network-cost 999
a=candidate:3 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active generation 0
a=ice-options:trickle
"""
    + ICE
    + """a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendrecv
a=msid:6d1f 9b1c
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
a=ssrc:2231627014 cname:4TOk42mSjXCkVIa6
a=ssrc:2231627014 msid:6d1f 9b1c
m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
"""
    + ICE
    + """a=mid:1
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendrecv
a=msid:6d1f 1a2b
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 goog-remb
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:102 H264/90000
a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f
a=rtpmap:103 rtx/90000
a=fmtp:103 apt=102
a=ssrc-group:FID 2632237117 3713031023
a=ssrc:2632237117 cname:4TOk42mSjXCkVIa6
a=ssrc:3713031023 cname:4TOk42mSjXCkVIa6
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
"""
    + ICE
    + """a=mid:2
a=sctp-port:5000
a=max-message-size:262144
"""
).replace("\n", "\r\n")

FFMPEG = (
    """v=0
o=FFmpeg 4489045141692799359 2 IN IP4 127.0.0.1
s=FFmpegPublishSession
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=ice-ufrag:a174b06d
a=ice-pwd:8b0a8b0a8b0a8b0a8b0a8b0a8b0a8b0a
a=fingerprint:sha-256 00:11:22
a=setup:passive
a=mid:0
a=sendonly
a=msid:FFmpeg audio
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=ssrc:3402140 cname:FFmpeg
a=ssrc:3402140 msid:FFmpeg audio
m=video 9 UDP/TLS/RTP/SAVPF 106
c=IN IP4 0.0.0.0
a=ice-ufrag:a174b06d
a=ice-pwd:8b0a8b0a8b0a8b0a8b0a8b0a8b0a8b0a
a=fingerprint:sha-256 00:11:22
a=setup:passive
a=mid:1
a=sendonly
a=msid:FFmpeg video
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:106 H264/90000
a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42c01f
a=ssrc:3402141 cname:FFmpeg
"""
).replace("\n", "\r\n")

HOSTILE_LINES = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 0",
    "m=application 9 DTLS/SCTP 5000",
    "m=text 9 UDP/TLS/RTP/SAVPF 98",
    "m=",
    "a=group:BUNDLE 9 0",
    "a=group:BUNDLE",
    "a=mid:0",
    "a=mid:" + "x" * 300,
    "a=ice-ufrag:ä b",
    "a=ice-pwd:short",
    "a=ice-lite",
    "a=setup:holdconn",
    "a=setup:active",
    "a=fingerprint:md5 00",
    "a=sendonly",
    "a=inactive",
    "a=rtpmap:96 VP8/0",
    "a=rtpmap:300 VP8/90000",
    "a=fmtp:96 apt=x",
    "a=fmtp:1",
    "a=rtcp-fb:* nack pli",
    "a=extmap:0 urn:ietf:params:rtp-hdrext:sdes:mid",
    "a=extmap:99999 urn:ietf:params:rtp-hdrext:sdes:mid",
    "a=ssrc:99999999999 cname:x",
    "a=ssrc-group:FID x",
    "a=candidate:1 1 udp 1 example.com 9 typ host",
    "a=candidate:1 1 udp 1 0.0.0.0 0 typ host",
    "a=candidate:1 1 udp 1 127.0.0.1 70000 typ host",
    "a=candidate:1 1 udp 1 239.0.0.1 9 typ host",
    "a=candidate:1 1 udp 1 ::1 9 typ relay raddr x rport y",
    "a=candidate:1",
    "a=end-of-candidates",
    "a=sctp-port:0",
    "a=max-message-size:-5",
    "c=IN IP4 example.com",
    "c=IN",
    "a=",
    "a=rtcp",
    "\x00",
)


def worst_offers() -> dict[str, str]:
    """What costs the most to read, each just within 64 KiB."""
    head, _, video = BROWSER.partition("m=video")
    video = "m=video" + video.partition("m=application")[0]
    fill = 60_000

    def many(line: str) -> str:
        return "".join(
            line.format(n % 256) + "\r\n" for n in range(fill // len(line.format(255) + "\r\n"))
        )

    return {
        "media": head + many("m=audio 9 A 0"),
        "codecs": head + many("a=rtpmap:{} opus/48000/2"),
        "candidates": head + many("a=candidate:1 1 udp 1 10.0.0.{} 9 typ host"),
        "names": head + many("a=candidate:1 1 udp 1 a{}.local 9 typ host"),
        "feedback": head + video + many("a=rtpmap:{} VP8/90000")[: fill // 2]
        + many("a=rtcp-fb:* n")[: fill // 2],
        "within": head + video + many("a=rtpmap:{} VP8/90000")[: 900 * 24]
        + "a=rtcp-fb:* nack pli\r\n" * 16,
        "wildcards": head + video + many("a=rtpmap:{} VP8/90000")[: 350 * 24]
        + "a=rtcp-fb:* nack pli\r\n" * 500,
        "one line": head + "a=fmtp:111 " + "a=1;" * (fill // 4) + "\r\n",
    }  # fmt: skip


def publish(world: InProcess, offer: str) -> httpx.Response:
    answer = checked(world.run(world.http.post("/whip", content=offer.encode(), headers=SDP)))
    if answer.status_code == 201:
        world.leave(world.http.delete(answer.headers["location"]))
    return answer


def test_damaged_offers() -> None:
    originals = [*own_offers(), BROWSER, FFMPEG]
    codes: dict[int, int] = {}
    with in_process() as world:
        for original in (originals[0], originals[1], BROWSER, FFMPEG):
            assert publish(world, original).status_code == 201, original

        @times(EXAMPLES)
        @given(texts(originals, HOSTILE_LINES, split="\r\n"))
        def send(offer: str) -> None:
            status = publish(world, offer).status_code
            codes[status] = codes.get(status, 0) + 1

        send()
    assert set(codes) <= {201, 400, 413}
    assert codes[201] > EXAMPLES // 20, "damage that is too great reaches nothing"
    assert codes[400] > EXAMPLES // 20


def test_offers_that_are_long_to_read_are_answered_soon() -> None:
    with in_process() as world:
        publish(world, BROWSER)  # what is read but once is read
        for kind, offer in worst_offers().items():
            assert 50_000 < len(offer) < 65_536 or kind in ("within", "wildcards")
            began = time.process_time()
            answer = publish(world, offer)
            assert answer.status_code in (201, 400, 413)
            assert time.process_time() - began < 2, kind


def test_names_of_candidates_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import aioice.ice

    def lookup(*_: object) -> None:
        raise AssertionError("a name that a client gave is looked up")

    with in_process() as world:
        monkeypatch.setattr(world.loop, "getaddrinfo", lookup)
        monkeypatch.setattr(aioice.ice, "get_or_create_mdns_protocol", lookup)
        named = BROWSER.replace("192.0.2.7 53772", "example.com 53772")
        answer = world.run(world.http.post("/whip", content=named, headers=SDP))
        assert answer.status_code == 201
        fragment = "a=mid:0\r\na=candidate:9 1 udp 1 other.local 9 typ host"
        headers = {"Content-Type": "application/trickle-ice-sdpfrag"}
        taken = world.run(
            world.http.patch(answer.headers["location"], content=fragment, headers=headers)
        )
        assert taken.status_code == 204
        world.run(world.http.delete(answer.headers["location"]))


def test_damaged_candidates() -> None:
    fragment = "\r\n".join(
        [
            "a=ice-ufrag:q3Zx",
            "a=ice-pwd:RyWlGbiO4hPlYwyfJcQxPL3u",
            "m=audio 9 UDP/TLS/RTP/SAVPF 0",
            "a=mid:0",
            "a=candidate:1 1 udp 2122260223 127.0.0.1 9 typ host",
            "a=candidate:2 1 udp 2122260223 192.0.2.9 9 typ srflx raddr 10.0.0.1 rport 7",
            "a=end-of-candidates",
        ]
    )
    headers = {"Content-Type": "application/trickle-ice-sdpfrag"}
    with in_process() as world:

        async def open_session() -> str:
            answer = await world.http.post("/whip", content=BROWSER, headers=SDP)
            return str(answer.headers["location"])

        location = world.run(open_session())
        seen = set()

        @times(EXAMPLES // 10)
        @given(texts([fragment], HOSTILE_LINES, split="\r\n"))
        def send(text: str) -> None:
            nonlocal location
            answer = checked(
                world.run(world.http.patch(location, content=text.encode(), headers=headers))
            )
            seen.add(answer.status_code)
            if answer.status_code == 404:  # it did not connect in time
                location = world.run(open_session())

        send()
        world.run(world.http.delete(location))
    assert {204, 400, 422} <= seen <= {204, 400, 404, 413, 422}


# WebSocket messages

START = json.dumps({"type": "start", "name": "Ada", "audio": True, "video": True})
END = json.dumps({"type": "end"})

JSON_WORDS = (
    "null",
    "NaN",
    "[" * 5000,
    '{"type"' * 2000,
    '"\\ud800"',
    '"type":"start"',
    '"name":""',
    '"name":' + '"x"' * 100,
    "\ufeff",
    "\x00",
    "true,",
    "{}",
)


def test_damaged_text_messages() -> None:
    codes = set()
    with in_process() as world:

        @times(EXAMPLES)
        @given(texts([START, END, START + END, '{"type": "start"}'], JSON_WORDS, split=" "))
        @example('{"type": "start", "name": "a\\nb"}')
        def send(message: str) -> None:
            told, code = world.run(world.converse("/api/ingest", [message]))
            if code:
                assert code in CLOSINGS
                codes.add(told_error(told[-1]))
            else:  # it was a start, after all; and the client has gone
                assert json.loads(told[0])["type"] == "started"

        send()
    assert codes == {"bad_message"}


def test_messages_to_those_who_only_tell() -> None:
    """Nothing is expected on these sockets; whatever comes, the client gets its events."""
    with in_process() as world:
        room = world.run(world.http.post("/api/calls", json={})).json()["room"]
        id = world.run(_ended_session(world))
        for path in (f"/api/sessions/{id}/events", f"/api/calls/{room}/events"):
            _, code = world.run(world.converse(path, ["hello", b"\x00\xff", "{", b""]))
            assert code in (0, 1000), path
            flood = world.run(world.converse(path, ["x"] * 20_000))
            assert flood[1] in (0, 1000, 1008)
            if flood[1] == 1008:
                assert told_error(flood[0][-1]) == "too_fast"
        assert flood[1] == 1008, "a room is followed for ever, but not in a flood"


async def _ended_session(world: InProcess) -> str:
    told, _ = await world.converse("/api/ingest", [START, END])
    return str(json.loads(told[0])["session"])


# Media


def jpeg(width: int = 160, height: int = 120, **options: Any) -> bytes:
    pixels = np.random.default_rng(3).integers(0, 255, (height, width, 3), dtype=np.uint8)
    data = io.BytesIO()
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(pixels).save(data, "JPEG", exif=exif, **options)
    return data.getvalue()


def message(kind: int, time_s: float, media: bytes) -> bytes:
    return struct.pack("<Bd", kind, time_s) + media


STRANGE_TIMES = (
    float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, 1e308, -1e308, 1e12, 1e10, -1e10, 1e5
)  # fmt: skip


def test_damaged_media() -> None:
    """Four damaged messages in each conversation, some of whose times go astray."""
    sound = np.random.default_rng(4).integers(-9000, 9000, 640, dtype="<i2").tobytes()
    originals = [
        message(0, 0.04, sound),
        message(1, 0.04, jpeg()),
        message(1, 0.3, jpeg(progressive=True)),
        message(1, 0.6, jpeg(64, 64, quality=5)[:-2]),
    ]
    codes = set()
    with in_process() as world:
        time_s = st.one_of(st.sampled_from(STRANGE_TIMES), st.floats(0, 3))

        @times(EXAMPLES // 4)
        @given(st.lists(st.tuples(pieces(originals), st.none() | time_s), min_size=4, max_size=4))
        def send(messages: list[tuple[bytes, float | None]]) -> None:
            sent = [
                data if at is None or len(data) < 9 else data[:1] + struct.pack("<d", at) + data[9:]
                for data, at in messages
            ]
            told, code = world.run(world.converse("/api/ingest", [START, *sent]))
            assert json.loads(told[0])["type"] == "started"
            if code:
                assert code in CLOSINGS
                codes.add(told_error(told[-1]))

        send()
    assert codes == {"bad_message"}


# Events


def test_damaged_events() -> None:
    originals = [
        json.dumps(json.loads((kind.__doc__ or "").split("Example:")[1]))
        for kind in typing.get_args(events.Event)
    ]
    read = refused = 0

    @times(EXAMPLES)
    @given(texts(originals, JSON_WORDS, split=" ") | pieces([o.encode() for o in originals]))
    def parse(line: str | bytes) -> None:
        nonlocal read, refused
        try:
            event = events.parse_event(line)
        except pydantic.ValidationError:
            refused += 1
        else:
            read += 1
            assert events.parse_event(event.model_dump_json()).type == event.type

    parse()
    assert min(read, refused) > EXAMPLES // 50


# Forms


def test_damaged_forms(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Uploads whose form is damaged, and what is in them, too: nothing is left on the disk."""
    head = b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n'
    form = (
        head % (b"pace", b"") + b"fast\r\n"
        + head % (b"video", b'; filename="a.mp4"') + bytes(range(256)) * 4 + b"\r\n--x--\r\n"
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("uploads")
    seen = set()
    with in_process() as world, pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder))
        form_data = "multipart/form-data"
        types = st.sampled_from(
            (
                f"{form_data}; boundary=x",
                form_data,
                f"{form_data}; boundary={'y' * 500}",
                f"{form_data}; boundary=\xff",
                "application/json",
            )
        )

        @times(EXAMPLES // 20)
        @given(pieces([form, form[:40], b'{"source": "/etc/passwd"}']), types)
        def send(body: bytes, kind: str) -> None:
            headers = {"Content-Type": kind.encode("latin-1")}
            answer = checked(
                world.run(world.http.post("/api/sessions", content=body, headers=headers))
            )
            seen.add(answer.status_code)

        send()
        assert list(folder.iterdir()) == []
    assert 400 in seen


# Over sockets


async def test_damaged_offers_over_sockets() -> None:
    strategy = texts([BROWSER, FFMPEG], HOSTILE_LINES, split="\r\n")
    found: list[str] = []

    @times(300)
    @given(strategy)
    def collect(offer: str) -> None:
        found.append(offer)

    collect()
    async with serving(ServerSettings(limits=Limits(max_sessions=500, max_joins=10**9))) as client:
        await client.hub.ready()
        limit = asyncio.Semaphore(8)

        async def send(offer: str) -> None:
            async with limit:
                answer = await client.http.post("/whip", content=offer.encode(), headers=SDP)
                checked(answer)
                if answer.status_code == 201:
                    checked(await client.http.delete(answer.headers["location"]))

        await asyncio.gather(*map(send, found))
        await until(lambda: all(h.state == "ended" for h in client.hub.sessions.values()))
        code, told, _ = await client.error("POST", "/whip", content="v" * 70_000, headers=SDP)
        assert (code, told) == (413, "too_big")


def frame(opcode: int, data: bytes, *, fin: bool = True, masked: bool = True) -> bytes:
    """One WebSocket frame, as a client sends it."""
    size = len(data)
    head = bytes([opcode | (0x80 if fin else 0)])
    flag = 0x80 if masked else 0
    if size < 126:
        head += bytes([flag | size])
    elif size < 65536:
        head += bytes([flag | 126]) + struct.pack("!H", size)
    else:
        head += bytes([flag | 127]) + struct.pack("!Q", size)
    return head + (bytes(4) if masked else b"") + data


class RawSocket:
    """A WebSocket whose client keeps to no rules."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, client: Client, path: str) -> RawSocket:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.http.base_url.port)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{client.http.base_url.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            .encode()
        )  # fmt: skip
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head
        return cls(reader, writer)

    async def closed(self) -> int | None:
        """The code with which the server closes; None if it just hangs up."""
        code = None
        try:
            while True:
                first, second = await asyncio.wait_for(self.reader.readexactly(2), ANSWER_S)
                size = second & 127
                if size == 126:
                    (size,) = struct.unpack("!H", await self.reader.readexactly(2))
                elif size == 127:
                    (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
                data = await self.reader.readexactly(size)
                if first & 15 == 8:
                    code = struct.unpack("!H", data[:2])[0] if data else 1005
        except (asyncio.IncompleteReadError, ConnectionError):
            return code
        finally:
            self.writer.close()


async def test_damaged_frames_over_sockets(caplog: pytest.LogCaptureFixture) -> None:
    start = frame(1, START.encode())
    sound = frame(2, message(0, 0.0, bytes(640)))
    strategy = pieces([start + sound * 3 + frame(1, END.encode()), start + sound, sound])
    found: list[bytes] = []

    @times(300)
    @given(strategy)
    def collect(data: bytes) -> None:
        found.append(data)

    collect()
    expected = {
        frame(1, b"\xff\xfe"): 1007,
        frame(1, b"\xc3", fin=False) + frame(0, b"\x28"): 1007,
        frame(2, bytes(20_000)): 1009,
        frame(2, bytes(10_000), fin=False) + frame(0, bytes(10_000)): 1009,
        frame(1, b"{}", masked=False): 1002,
        frame(3, b""): 1002,
        frame(9, bytes(126)): 1002,
        frame(0, b"x"): 1002,
    }
    limits = Limits(max_sessions=500, max_joins=10**9, max_message_kb=16, idle_s=2)
    async with serving(ServerSettings(limits=limits)) as client:
        await client.hub.ready()
        for data, code in expected.items():
            raw = await RawSocket.open(client, "/api/ingest")
            raw.writer.write(data)
            assert await raw.closed() == code, data[:20]
        limit = asyncio.Semaphore(50)  # most are waited for until they have been idle

        async def send(data: bytes) -> None:
            async with limit:
                raw = await RawSocket.open(client, "/api/ingest")
                raw.writer.write(data)
                # 1002 is the protocol's own: what came is no WebSocket frame.
                assert await raw.closed() in {*CLOSINGS, 1002, 1005, None}

        await asyncio.gather(*map(send, found))
        await until(lambda: all(h.state == "ended" for h in client.hub.sessions.values()))
    assert "Exception in ASGI application" not in caplog.text


async def test_requests_made_of_the_description() -> None:
    """schemathesis, over what the server says of itself: no answer is a 5xx."""
    examples = int(os.environ.get("FUZZ_REQUESTS", "30"))
    async with serving(ServerSettings(limits=Limits(max_sessions=500, max_joins=10**9))) as client:
        await client.hub.ready()
        url = str(client.http.base_url)

        def ask() -> set[str]:
            schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
            asked = set()
            for found in schema.get_all_operations():
                operation = found.ok()
                if operation.path.endswith("/picture"):  # it has no end
                    continue
                asked.add(operation.path)

                @times(examples)
                @given(case=operation.as_strategy())
                def call(case: schemathesis.Case) -> None:
                    case.call_and_validate(
                        base_url=url, checks=(not_a_server_error,), timeout=ANSWER_S
                    )

                call()
            return asked

        asked = await asyncio.to_thread(ask)
        assert {"/whip", "/api/sessions", "/api/calls", "/api/sessions/{id}"} <= asked
        assert (await client.http.get("/api/server")).json()["state"] == "ready"
