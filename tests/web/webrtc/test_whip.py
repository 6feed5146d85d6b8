"""Publishers by WHIP and viewers by WHEP that nobody here wrote, on a real server, real clips."""

from __future__ import annotations

import asyncio
import datetime
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aioice.ice
import httpx
import pytest
from aiortc import RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from checkout import REPO
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from talks import Talk
from web_client import application
from webrtc_client import SDP, Publication, View, nothing_left, offer_of, peer, serving, until

from models.errors import UsageError
from realtime.analyzers.local import LocalAnalyzer
from web.settings import IceServer, ServerSettings
from web.webrtc import connection as web_peer

FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}


pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


async def session_of(http: httpx.AsyncClient, id: str) -> dict[str, Any]:
    session: dict[str, Any] = (await http.get(f"/api/sessions/{id}")).json()
    return session


async def session_when(
    http: httpx.AsyncClient, id: str, condition: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """The session, as soon as the condition holds."""
    for _ in range(1200):
        if condition(session := await session_of(http, id)):
            return session
        await asyncio.sleep(0.1)
    raise AssertionError(f"it did not happen in time: {session}")


async def ended(http: httpx.AsyncClient, id: str) -> list[dict[str, Any]]:
    """The events of a session, once it has ended."""
    await session_when(http, id, lambda session: session["state"] == "ended")
    text = (await http.get(f"/api/sessions/{id}/results.jsonl")).text
    return [json.loads(line) for line in text.splitlines()]


def agrees(results: list[dict[str, Any]], talk: Talk, least: int) -> None:
    """Assert that at least so many utterances came out where they are, with words and faces."""
    matched = [
        result
        for result in results
        if any(
            abs(result["start"] - said.start) < 0.5 and abs(result["end"] - said.end) < 0.5
            for said in talk.sentences
        )
    ]
    assert len(matched) >= least, [(r["start"], r["end"]) for r in results]
    assert all(result["transcript"]["text"] for result in matched)
    assert all(result["faces"] for result in matched[1:])  # a busy machine gives up pictures first


async def test_a_clip_published_by_whip_is_understood(
    http: httpx.AsyncClient, long_talk: Talk
) -> None:
    async with nothing_left():
        player = MediaPlayer(str(long_talk.path))
        publication = Publication(http)
        publication.pc.createDataChannel("ours")  # only so that the server may open its own
        await publication.begin(player.audio, player.video, query="?name=Ada")
        session = await session_of(http, publication.session)
        assert (session["kind"], session["name"], session["room"]) == ("camera", "Ada", None)
        await until(lambda: len(publication.told("utterance.result")) >= 4)
        await publication.end()
        events = await ended(http, publication.session)
    assert publication.channels == ["events"]
    told = publication.events
    assert [event["seq"] for event in told] == [*range(1, len(told) + 1)]
    assert told[0]["type"] == "session.started"
    agrees(publication.told("utterance.result"), long_talk, 3)
    assert not publication.told("warning")
    assert events[-1]["type"] == "session.ended"
    assert events[-1]["reason"] == "end"


async def test_a_channel_the_publisher_opens_is_used(http: httpx.AsyncClient, talk: Talk) -> None:
    player = MediaPlayer(str(talk.path))
    publication = Publication(http)
    publication.listen(publication.pc.createDataChannel("events"))
    await publication.begin(player.audio, player.video)
    await until(lambda: publication.told("speech.started"))
    # The clip lasts 6 s; after 4 s without media the server ends the session, and tells that too.
    await until(lambda: publication.told("session.ended"))
    assert publication.told("session.ended")[0]["reason"] == "source_error"
    assert [event["seq"] for event in publication.events] == [
        *range(1, len(publication.events) + 1)
    ], "each event comes once"
    assert publication.told("utterance.result")
    await until(lambda: publication.pc.connectionState == "closed")
    assert (await http.delete(publication.location)).status_code == 404
    await publication.pc.close()


async def test_sound_alone_and_pictures_alone(http: httpx.AsyncClient, talk: Talk) -> None:
    heard = await Publication(http).begin(MediaPlayer(str(talk.path)).audio)
    seen = await Publication(http).begin(MediaPlayer(str(talk.path)).video)
    events = await ended(http, heard.session)
    said = [event for event in events if event["type"] == "utterance.result"]
    assert said
    assert not any(result["faces"] for result in said)
    view = await ended(http, seen.session)
    results = [event for event in view if event["type"] == "utterance.result"]
    assert results
    assert all(result["faces"] for result in results)
    await heard.pc.close()
    await seen.pc.close()


async def test_others_see_and_hear_who_pauses_the_analysis(
    http: httpx.AsyncClient, long_talk: Talk
) -> None:
    async with nothing_left():
        player = MediaPlayer(str(long_talk.path))
        publication = await Publication(http).begin(player.audio, player.video)
        id = publication.session
        first, second = View(http), View(http)
        await asyncio.gather(first.begin(id), second.begin(id))
        await until(lambda: min(*first.count.values(), *second.count.values()) > 10)
        assert first.picture is not None
        assert (first.picture.width, first.picture.height) == long_talk.size, "sent on as it came"

        answer = await http.post(f"/api/sessions/{id}/pause", json={"paused": True})
        assert answer.json()["paused"] is True
        paused_at = answer.json()["time"]
        first.loudest, before = 0, dict(first.count)
        # The clip is silent for 1 s at most: in 6 s somebody speaks.
        await session_when(http, id, lambda session: session["time"] > paused_at + 6)
        assert first.loudest > 1000
        assert first.count["audio"] > before["audio"]
        assert first.count["video"] > before["video"]

        await first.end()
        answer = await http.post(f"/api/sessions/{id}/pause", json={"paused": False})
        resumed_at = answer.json()["time"]
        await session_when(http, id, lambda session: session["time"] > resumed_at + 6)
        await publication.end()
        await until(second.ended.is_set)
        await second.pc.close()
        events = await ended(http, id)
    began = [event["time"] for event in events if event["type"] == "speech.started"]
    # What was on its way when the pause began, and 40 ms of what came before it ended, count.
    assert [time for time in began if paused_at + 1 < time < resumed_at] == []
    assert [time for time in began if time >= resumed_at]


async def test_candidates_may_come_after_the_offer(
    http: httpx.AsyncClient, long_talk: Talk
) -> None:
    player = MediaPlayer(str(long_talk.path))
    pc = peer()
    pc.addTransceiver(player.audio, "sendonly")
    whole = (await offer_of(pc)).splitlines()
    candidates = [line for line in whole if line.startswith(("a=candidate", "a=end-of-candidates"))]
    mid = next(line for line in whole if line.startswith("a=mid:"))
    ufrag = next(line for line in whole if line.startswith("a=ice-ufrag:"))
    bare = "\r\n".join(line for line in whole if line not in candidates) + "\r\n"
    answer = await http.post("/whip", content=bare, headers=SDP)
    assert answer.headers["accept-patch"] == "application/trickle-ice-sdpfrag"
    location = answer.headers["location"]
    # A server that waits to be spoken to: it learns of us by PATCH alone.
    for line in ("a=ice-ufrag:other", "a=candidate:nonsense", candidates[0]):
        refused = await http.patch(location, content=line, headers=FRAGMENT)
        assert refused.status_code == (422 if "ufrag" in line else 400), refused.text
        assert refused.json()["error"]["message"]
    fragment = "\r\n".join([ufrag, "m=audio 9 UDP/TLS/RTP/SAVPF 0", mid, *candidates])
    taken = await http.patch(location, content=fragment, headers=FRAGMENT)
    assert (taken.status_code, taken.text) == (204, "")
    await pc.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
    await until(lambda: pc.connectionState == "connected")
    assert (await http.delete(location)).status_code == 200
    await pc.close()


async def test_unknown_resources_are_not_found(http: httpx.AsyncClient) -> None:
    for path in ("/whip/000000000000", "/whep/000000000000/1"):
        assert (await http.delete(path)).status_code == 404
        assert (await http.patch(path, content="", headers=FRAGMENT)).status_code == 404


async def test_who_never_connects_is_given_up(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_peer, "CONNECT_S", 2.0)
    async with nothing_left():
        pc = peer()
        pc.addTransceiver("audio", "sendonly")
        answer = await http.post("/whip", content=await offer_of(pc), headers=SDP)
        await pc.close()
        id = answer.headers["location"].rpartition("/")[2]
        # A viewer that comes meanwhile waits, and is told.
        view = await http.post(f"/whep/{id}", content="v=0", headers=SDP)
        assert (view.status_code, view.json()["error"]["code"]) == (404, "not_published")
        events = await ended(http, id)
    warnings = [event["message"] for event in events if event["type"] == "warning"]
    assert warnings == ["the connection of camera did not connect in time"]
    assert events[-1]["reason"] == "source_error"


async def test_stopping_the_session_ends_the_connection(
    http: httpx.AsyncClient, talk: Talk
) -> None:
    async with nothing_left():
        player = MediaPlayer(str(talk.path))
        publication = await Publication(http).begin(player.audio, player.video)
        await until(lambda: publication.pc.connectionState == "connected")
        await http.delete(f"/api/sessions/{publication.session}")
        await until(lambda: publication.pc.connectionState == "closed")
        await publication.pc.close()


async def test_ice_servers_are_told_even_while_the_models_load(talk: Talk) -> None:
    told = threading.Event()

    def load() -> LocalAnalyzer:
        told.wait()
        raise UsageError("not needed any more")

    turn = IceServer(urls=("turn:127.0.0.1:9",), username="ada", credential="secret")
    async with serving(application(ServerSettings(ice_servers=(turn,)), load)) as http:
        player = MediaPlayer(str(talk.path))
        pc = peer()
        pc.addTransceiver(player.audio, "sendonly")
        answer = await http.post("/whip", content=await offer_of(pc), headers=SDP)
        await pc.close()
        told.set()
    assert answer.status_code == 201, answer.text
    assert answer.headers["link"] == (
        '<turn:127.0.0.1:9>; rel="ice-server"; username="ada"; credential="secret"'
        '; credential-type="password"'
    )


async def test_ffmpegs_own_whip_muxer_publishes(
    http: httpx.AsyncClient,
    long_talk: Talk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a process of its own, because PyAV holds the interpreter while its muxer connects."""
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.5)  # else it hangs up after 30 s only
    options = certificate(tmp_path) | {"handshake_timeout": "30000"}
    async with nothing_left():
        publishing = await publish_by_ffmpeg(http, long_talk, options)
        id = await session_of_ffmpeg(http)
        await session_when(
            http,
            id,
            lambda session: session["utterances"] >= 4 or publishing.returncode is not None,
        )
        _, errors = await asyncio.wait_for(publishing.communicate(b"enough"), 60)
        assert publishing.returncode == 0, errors.decode()
        events = await ended(http, id)
    results = [event for event in events if event["type"] == "utterance.result"]
    agrees(results, long_talk, 3)
    assert events[-1]["reason"] == "end", "its DELETE is a goodbye"


def certificate(folder: Path) -> dict[str, str]:
    """Options that give FFmpeg a certificate on P-256.

    The one that FFmpeg 8.1 with GnuTLS makes for itself is on the curve secp224r1, which WebRTC
    does not know (RFC 8827 asks for P-256) and OpenSSL therefore refuses.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "publisher")])
    now = datetime.datetime.now(datetime.timezone.utc)
    cert = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(cert.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return {"cert_file": str(folder / "cert.pem"), "key_file": str(folder / "key.pem")}


async def publish_by_ffmpeg(
    http: httpx.AsyncClient, talk: Talk, options: dict[str, str]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(REPO / "tests" / "support" / "ffmpeg_whip.py"),
        str(talk.path),
        str(http.base_url.join("/whip?name=ffmpeg")),
        json.dumps(options),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def session_of_ffmpeg(http: httpx.AsyncClient) -> str:
    for _ in range(300):
        for session in (await http.get("/api/sessions")).json()["sessions"]:
            if session["name"] == "ffmpeg":
                return str(session["id"])
        await asyncio.sleep(0.1)
    raise AssertionError("FFmpeg published nothing")
