"""SDP offers of every kind: what is taken, and in which words the others are refused."""

from __future__ import annotations

import re
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from webrtc_client import SDP, nothing_left, offer_of, peer

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


@pytest.mark.parametrize(
    ("path", "content", "type", "status", "code"),
    [
        ("/whip", "hello", "application/sdp", 400, "no_media"),
        ("/whip", "v=0\r\nm=audio x", "application/sdp", 400, "bad_offer"),
        ("/whip", "v=0", "text/plain", 415, "wrong_type"),
        ("/whip", "v" * 70_000, "application/sdp", 413, "too_big"),
        ("/whip?room=nowhere", "v=0", "application/sdp", 404, "unknown_room"),
        ("/whep/000000000000", "v=0", "application/sdp", 404, "unknown_session"),
    ],
)
async def test_what_cannot_be_is_refused_in_one_line(
    http: httpx.AsyncClient, path: str, content: str, type: str, status: int, code: str
) -> None:
    before = (await http.get("/api/sessions")).json()["sessions"]
    async with nothing_left():
        answer = await http.post(path, content=content, headers={"Content-Type": type})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert "\n" not in answer.json()["error"]["message"]
        assert (await http.get("/api/sessions")).json()["sessions"] == before


@pytest.mark.parametrize(
    ("left_out", "instead"),
    [
        ("a=sendonly\r\n", ""),  # both ways, then
        (r"m=audio (?s:(.*?))a=sendonly\r\n", r"a=sendonly\r\nm=audio \1"),  # of the session
        (r"(m=audio.*SAVPF).*|a=(rtpmap|fmtp|rtcp-fb):.*\r\n", r"\1 8"),  # G.711 needs no name
    ],
)
async def test_what_an_offer_need_not_say_is_understood(
    http: httpx.AsyncClient, left_out: str, instead: str
) -> None:
    async with nothing_left():
        pc = peer()
        pc.addTransceiver("audio", "sendonly")
        offer = re.sub(left_out, instead, offer_of_one := await offer_of(pc))
        assert offer != offer_of_one
        answer = await http.post("/whip", content=offer, headers=SDP)
        assert answer.status_code == 201, answer.text
        assert "a=rtpmap:8 PCMA/8000" in answer.text
        assert "a=recvonly" in answer.text
        assert (await http.delete(answer.headers["location"])).status_code == 200
        await pc.close()


@pytest.mark.parametrize(
    ("part", "instead", "problem"),
    [
        ("setup:actpass", "setup:holdconn", "none of actpass, active and passive"),
        ("a=rtcp-mux", "a=fmtp:8\r\na=rtcp-mux", "one of its lines cannot be read"),
    ],
)
async def test_what_is_wrong_with_an_offer_is_said_in_plain_words(
    http: httpx.AsyncClient, part: str, instead: str, problem: str
) -> None:
    pc = peer()
    pc.addTransceiver("audio", "sendonly")
    offer = (await offer_of(pc)).replace(part, instead)
    answer = await http.post("/whip", content=offer, headers=SDP)
    await pc.close()
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "bad_offer")
    assert problem in error["message"]


def high_film(to: Path, profile: str) -> Path:
    """Two seconds of a moving picture in H.264 of a profile, a key frame every half second."""
    with av.open(str(to), "w") as container:
        stream = container.add_stream("libx264", rate=20, options={"profile": profile, "bf": "0"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.gop_size = 10
        for number in range(400):
            image = np.full((240, 320, 3), number % 255, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return to


async def only_h264(pc: RTCPeerConnection, profile_level_id: str, mode: int = 1) -> str:
    """An offer of one codec for pictures: H.264 of that profile."""
    codecs = RTCRtpSender.getCapabilities("video").codecs
    (transceiver,) = pc.getTransceivers()
    transceiver.setCodecPreferences([codec for codec in codecs if codec.name == "H264"][-1:])
    offer = await offer_of(pc)
    assert "VP8" not in offer
    offer = re.sub("packetization-mode=1", f"packetization-mode={mode}", offer)
    return re.sub("profile-level-id=[0-9a-f]{6}", f"profile-level-id={profile_level_id}", offer)


@pytest.mark.parametrize(
    ("profile", "profile_level_id"),
    [("main", "4d001f"), ("high", "640c1f"), ("high", "64001F"), ("high", "640028")],
)
async def test_h264_main_and_high_are_taken(
    http: httpx.AsyncClient, tmp_path: Path, profile: str, profile_level_id: str
) -> None:
    async with nothing_left():
        film = MediaPlayer(str(high_film(tmp_path / "film.mp4", profile)), decode=False)
        pc = peer()
        pc.addTransceiver(film.video, "sendonly")
        offer = await only_h264(pc, profile_level_id)
        answer = await http.post("/whip", content=offer, headers=SDP)
        assert answer.status_code == 201, answer.text
        assert f"profile-level-id={profile_level_id}" in answer.text  # as RFC 6184 demands
        text = answer.text.replace(profile_level_id, "42e01f")  # which this client knows alone
        await pc.setRemoteDescription(RTCSessionDescription(text, "answer"))
        location = answer.headers["location"]
        id = location.rpartition("/")[2]
        async with http.stream("GET", f"/api/sessions/{id}/picture") as stream:
            pictures = b""
            async for piece in stream.aiter_bytes():
                pictures += piece
                if pictures.count(b"Content-Type: image/jpeg") == 3:
                    break
        assert (await http.delete(location)).status_code == 200
        await pc.close()


@pytest.mark.parametrize(
    ("profile_level_id", "mode"), [("f4001f", 1), ("580029", 1), ("640c1f", 0), ("xyz", 1)]
)
async def test_other_h264_is_refused_with_what_to_offer(
    http: httpx.AsyncClient, profile_level_id: str, mode: int
) -> None:
    async with nothing_left():
        pc = peer()
        pc.addTransceiver("video", "sendonly")
        offer = await only_h264(pc, profile_level_id, mode)
        answer = await http.post("/whip", content=offer, headers=SDP)
        await pc.close()
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "bad_offer")
    assert error["message"].endswith("offer VP8 or H.264 constrained baseline")
    assert profile_level_id in error["message"]
