"""A program that knows WebRTC, WHIP and WHEP and nothing of ours; and a server to use it on."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import httpx
import uvicorn
from aioice import stun
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamError
from fastapi import FastAPI

SDP = {"Content-Type": "application/sdp"}


def peer() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def offer_of(pc: RTCPeerConnection) -> str:
    await pc.setLocalDescription(await pc.createOffer())
    return str(pc.localDescription.sdp)


def knock(offer: str, answer: str, *, ports: int, source: str = "") -> None:
    """Check whether the peer who gave `answer` is there (ICE), each time from another port.

    Args:
        source: the address that all of them are of; empty: any.
    """
    (host, port), *_ = re.findall(r"a=candidate:\S+ 1 udp \d+ ([\d.]+) (\d+)", answer)
    theirs, ours = (re.findall(r"a=ice-ufrag:(\S+)", sdp)[0] for sdp in (answer, offer))
    request = stun.Message(
        message_method=stun.Method.BINDING,
        message_class=stun.Class.REQUEST,
        attributes={"USERNAME": f"{theirs}:{ours}", "PRIORITY": 1, "ICE-CONTROLLING": 1},
    )
    request.add_message_integrity(re.findall(r"a=ice-pwd:(\S+)", answer)[0].encode())
    for _ in range(ports):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind((source, 0))
            stranger.sendto(bytes(request), (host, int(port)))


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Serve `app` on a free port of this machine; an HTTP client of it."""
    # The handlers it would configure stay with uvicorn's loggers, also in the tests after this one.
    config = uvicorn.Config(app, port=0, log_config=None, timeout_keep_alive=60)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=40) as http:
            yield http
    finally:
        server.should_exit = True
        await task


class Repeated(MediaStreamTrack):
    """A track of a clip, again and again without a gap; MediaPlayer's own loop ends at once."""

    def __init__(self, clip: Path, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._clip = clip
        self._track = self._open()
        self._offset_s = self._end_s = 0.0

    def _open(self) -> MediaStreamTrack:
        player = MediaPlayer(str(self._clip))
        track = player.audio if self.kind == "audio" else player.video
        assert track is not None
        return track

    async def recv(self) -> av.AudioFrame | av.VideoFrame:
        try:
            frame = await self._track.recv()
        except MediaStreamError:
            self._track, self._offset_s = self._open(), self._end_s
            frame = await self._track.recv()
        assert isinstance(frame, av.AudioFrame | av.VideoFrame)
        assert frame.time is not None
        self._end_s = self._offset_s + frame.time + 0.04
        assert frame.pts is not None
        frame.pts += round(self._offset_s / frame.time_base)
        return frame

    def stop(self) -> None:
        super().stop()
        self._track.stop()


class Publication:
    """What one program publishes by WHIP, and the events it is told meanwhile."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.pc = peer()
        self.http = http
        self.location = self.erase_token = ""
        self.events: list[dict[str, Any]] = []
        self.channels: list[str] = []
        self.pc.on("datachannel", self.listen)

    def listen(self, channel: RTCDataChannel) -> None:
        self.channels.append(channel.label)
        channel.on("message", lambda message: self.events.append(json.loads(message)))

    @property
    def session(self) -> str:
        return self.location.rpartition("/")[2]

    async def begin(self, *tracks: MediaStreamTrack | None, query: str = "") -> Publication:
        for track in tracks:
            if track is not None:
                self.pc.addTransceiver(track, "sendonly")
        answer = await self.http.post(f"/whip{query}", content=await offer_of(self.pc), headers=SDP)
        assert answer.status_code == 201, answer.text
        assert answer.headers["content-type"].startswith("application/sdp")
        self.location = answer.headers["location"]
        self.erase_token = answer.headers.get("erase-token", "")
        await self.pc.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        # Closed in the middle of connecting, aiortc leaves tasks behind.
        await until(lambda: self.pc.connectionState != "connecting")
        return self

    def told(self, type: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == type]

    async def end(self) -> None:
        """As a program ends that is told to."""
        assert (await self.http.delete(self.location)).status_code == 200
        await self.pc.close()


class View:
    """What one program watches by WHEP: how much came, and the newest of each kind."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.pc = peer()
        self.http = http
        self.location = ""
        self.count = {"audio": 0, "video": 0}
        self.loudest = 0
        self.picture: av.VideoFrame | None = None
        self.ended = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.pc.on("track", lambda track: self._tasks.append(asyncio.create_task(self._see(track))))

    async def begin(self, session: str, *kinds: str) -> View:
        for kind in kinds or ("audio", "video"):
            self.pc.addTransceiver(kind, "recvonly")
        answer = await self.http.post(
            f"/whep/{session}", content=await offer_of(self.pc), headers=SDP
        )
        assert answer.status_code == 201, answer.text
        self.location = answer.headers["location"]
        await self.pc.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        # Closed in the middle of connecting, aiortc leaves tasks behind.
        await until(lambda: self.pc.connectionState != "connecting")
        return self

    async def _see(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                self.count[track.kind] += 1
                if isinstance(frame, av.AudioFrame):
                    self.loudest = max(self.loudest, int(abs(frame.to_ndarray()).max()))
                elif isinstance(frame, av.VideoFrame):
                    self.picture = frame
        except MediaStreamError:
            self.ended.set()

    async def end(self) -> None:
        assert (await self.http.delete(self.location)).status_code == 200
        await self.pc.close()


async def until(condition: Callable[[], object], *, deadline_s: float = 120) -> None:
    """Wait until `condition` holds; an assertion fails if it takes too long."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Assert that no task and no decoder of WebRTC outlives the block."""

    def decoders() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name.endswith("-decoder")}

    tasks, threads = asyncio.all_tasks(), decoders()
    yield
    await until(lambda: asyncio.all_tasks() <= tasks and decoders() <= threads)
