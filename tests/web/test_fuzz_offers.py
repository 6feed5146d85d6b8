"""Damaged SDP offers and ICE candidates."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from fuzzing import InProcess, checked, in_process
from hypothesis import given
from mutation import EXAMPLES, texts, times
from web_client import serving
from webrtc_client import SDP, offer_of, peer, until

from web.settings import Limits, ServerSettings

pytestmark = pytest.mark.slow


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


async def test_damaged_offers_over_sockets() -> None:
    strategy = texts([BROWSER, FFMPEG], HOSTILE_LINES, split="\r\n")
    found: list[str] = []

    @times(EXAMPLES // 2)
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
