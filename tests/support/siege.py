"""One live session on a server that strangers and guests attack: does it notice?

The attackers come from addresses of their own, at bounded rates: slow and broken requests, wrong
tokens, sockets full of garbage, crowds of sockets, pings nobody reads the answers of, offers nobody
connects, and knocks from many ports at what answers them. Meanwhile the host keeps and deletes
recordings. In: a clip. Out: how long after the pause was certain the results of the live session
came, what the server needed, and exit status 1 if 95 of 100 were not within `LATE_S`, something
grew, or the host was kept out.
Run: ``python tests/support/siege.py ../shared/media/talker_grid_120s.mp4 --minutes 60``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import websockets
from browser import dashboard
from soak import Watch, grown, held_up, recorded
from webrtc_client import SDP, knock, offer_of, peer

from web.observability.loop_watch import WATCH_LOOP
from web.sessions.model_inputs import wav

LATE_S = 0.3
TOKEN = "a-token-of-the-siege"
HOST = {"Authorization": f"Bearer {TOKEN}"}
ELSEWHERE = ("127.0.0.2", "127.0.0.3")
"""Where the attackers come from: of each address, a stranger and a guest."""
TIDY_EVERY_S = 10.0
NOTES = 20
CROWD = 100
"""Sockets of one guest at once; the stranger at the same address has 20 and some more."""
PORTS = 200
"""From which a guest knocks at each connection they have offered."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack, measure, decide; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args(arguments)
    context = multiprocessing.get_context("spawn")
    with dashboard("--token", TOKEN, **{WATCH_LOOP: "1"}) as address:
        watch = Watch(address, HOST)
        call = httpx.post(f"{address}/api/calls", json={}, headers=HOST, timeout=120).json()
        over, stopped = threading.Event(), context.Event()
        attackers = context.Process(target=attack, args=(address, call["link"], stopped))
        measuring = threading.Thread(target=watch.until, args=(over,))
        attackers.start()
        measuring.start()
        try:
            late, problems = asyncio.run(live(address, options.clip, options.minutes * 60))
        finally:
            stopped.set()
            over.set()
            attackers.join(60)
            attackers.kill()
            measuring.join()
    p50, p95, p99 = np.percentile(late, [50, 95, 99])
    sys.stdout.write(
        f"{len(late)} results, {p50:.3f} s late at the median, {p95:.3f} s at p95, "
        f"{p99:.3f} s at p99, {max(late):.3f} s at most\n"
    )
    problems += grown(watch.samples)
    loaded = watch.samples[len(watch.samples) // 4]
    problems += held_up(loaded, watch.samples[-1])
    if p95 > LATE_S:
        problems.append(f"p95 is {p95:.3f} s")
    for problem in problems:
        sys.stdout.write(f"not well: {problem}\n")
    return 1 if problems else 0


async def live(address: str, clip: Path, seconds: float) -> tuple[list[float], list[str]]:
    """The live session, beside which the host tidies up: how late its results were, and what went
    wrong for the host."""
    return await asyncio.gather(talk(address, clip, seconds), tidy(address, seconds))


async def tidy(address: str, seconds: float) -> list[str]:
    """Keep a recording with notes, delete one of those and it, again and again; what failed."""
    problems, deleted = [], 0
    ends = time.monotonic() + seconds
    async with httpx.AsyncClient(base_url=address, headers=HOST, timeout=60) as host:
        while time.monotonic() < ends:
            try:
                await _keep_and_delete(host)
                deleted += 1
            except httpx.HTTPError as error:
                problems.append(f"the host could not tidy up: {error!r}")
            await asyncio.sleep(TIDY_EVERY_S)
    sys.stdout.write(f"{deleted} recordings were kept and deleted\n")
    return problems


async def _keep_and_delete(host: httpx.AsyncClient) -> None:
    async def done(method: str, path: str, **options: Any) -> httpx.Response:
        return (await host.request(method, path, **options)).raise_for_status()

    second = wav(np.zeros(16_000, np.float32))
    begun = await done("POST", "/api/sessions", files={"video": ("silence.wav", second)})
    session = begun.headers["location"]
    for _ in range(120):
        if (await done("GET", session)).json()["state"] == "ended":
            break
        await asyncio.sleep(0.5)
    for number in range(NOTES):
        await done("POST", f"{session}/notes", json={"at": 0, "text": f"note {number} " * 40})
    await done("DELETE", f"{session}/notes/1")
    await done("DELETE", session)


async def talk(address: str, clip: Path, seconds: float) -> list[float]:
    """Push the clip again and again as it would happen; how long after its utterance was over each
    result came, in seconds."""
    messages = recorded(clip, 120)
    length = max(time_s for time_s, _ in messages) + 0.1
    late = []
    socket_url = address.replace("http", "ws") + "/api/ingest"
    async with websockets.connect(
        socket_url, additional_headers=HOST, open_timeout=60, ping_timeout=None
    ) as socket:

        async def listen() -> None:
            async for text in socket:
                event = json.loads(text)
                if event["type"] == "utterance.result":
                    pause_s = event["time"] - event["end"]  # until it was certain
                    late.append(event["latency"]["end_to_result"] - pause_s)

        listening = asyncio.create_task(listen())
        await socket.send(json.dumps({"type": "start", "name": "live"}))
        began = time.monotonic()
        for turn in itertools.count():
            for time_s, message in messages:
                now = turn * length + time_s
                if now > seconds:
                    await socket.send(json.dumps({"type": "end"}))
                    await listening
                    return late
                await asyncio.sleep(began + now - time.monotonic())
                # The time stands behind the kind, in eight bytes.
                await socket.send(message[:1] + np.float64(now).tobytes() + message[9:])
    raise AssertionError("the clips came to an end")


def attack(address: str, link: str, stopped: Event) -> None:
    """All attacks at once, until it is `stopped`; prints how often each was tried."""
    asyncio.run(_attack(address, link, stopped))


async def _attack(address: str, link: str, stopped: Event) -> None:
    tried: Counter[str] = Counter()
    offer = await _offer()
    attackers = [Attacker(address, source, link, offer) for source in ELSEWHERE]

    async def often(what: Callable[[], Awaitable[None]], pause_s: float) -> None:
        while not stopped.is_set():
            with suppress(OSError, httpx.HTTPError, websockets.WebSocketException, TimeoutError):
                await what()
            tried[what.__name__] += 1
            await asyncio.sleep(pause_s)

    for each in attackers:
        await each.guest.get(link)
    await asyncio.gather(
        *(
            often(what, pause_s)
            for each in attackers
            for what, pause_s in [
                (each.wrong, 0.05),
                (each.garbage, 0.5),
                (each.pings, 1.0),
                (each.crowd, 20.0),
                (each.unconnected, 0.5),
                *[(each.slow, 1.0)] * 20,
            ]
        )
    )
    sys.stdout.write(", ".join(f"{name}: {number}" for name, number in tried.items()) + "\n")
    sys.stdout.flush()


class Attacker:
    """A stranger and a guest, both at the address `source`."""

    def __init__(self, address: str, source: str, link: str, offer: str) -> None:
        self.address = address
        self.source = source
        self.room = link.split("/calls/")[1].split("?")[0]
        self.offer = offer
        self.rng = random.Random(source)
        self.stranger, self.guest = (
            httpx.AsyncClient(
                base_url=address,
                timeout=20,
                follow_redirects=True,
                transport=httpx.AsyncHTTPTransport(local_address=source),
            )
            for _ in range(2)
        )

    def socket(self, path: str, *, invited: bool) -> websockets.connect:
        """A WebSocket of the guest, or of the stranger."""
        cookies = "; ".join(f"{key}={value}" for key, value in self.guest.cookies.items())
        return websockets.connect(
            self.address.replace("http", "ws") + path,
            local_addr=(self.source, 0),
            additional_headers={"Cookie": cookies} if invited else {},
        )

    async def slow(self) -> None:
        """A request that never ends, a byte a second."""
        port = int(self.address.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, local_addr=(self.source, 0)
        )
        writer.write(b"POST /whip HTTP/1.1\r\nHost: x\r\nX: ")
        with suppress(OSError):
            for _ in range(60):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(1)
                if reader.at_eof():
                    break
        writer.close()

    async def wrong(self) -> None:
        """Paths, methods, tokens and bodies that are none."""
        paths = ["/", "/api/sessions", "/x", "/whip", "/../etc", f"/api/calls/{self.room}"]
        method = self.rng.choice(["GET", "POST", "DELETE", "PATCH", "PUT"])
        token = {"Authorization": f"Bearer {self.rng.random()}"}
        await self.stranger.request(
            method, self.rng.choice(paths), headers=token, content=self.rng.randbytes(2000)
        )

    async def garbage(self) -> None:
        """A socket for media that holds none."""
        async with self.socket("/api/ingest", invited=self.rng.random() < 0.5) as socket:
            for _ in range(50):
                await socket.send(self.rng.randbytes(1000))

    async def pings(self) -> None:
        """A guest follows the call, and pings without end."""
        async with self.socket(f"/api/calls/{self.room}/events", invited=True) as socket:
            for _ in range(500):
                await socket.ping()
                await asyncio.sleep(0.01)

    async def crowd(self) -> None:
        """A guest follows the call many times over."""
        async with AsyncExitStack() as sockets:
            for _ in range(CROWD):
                followed = self.socket(f"/api/calls/{self.room}/events", invited=True)
                await sockets.enter_async_context(followed)
            await asyncio.sleep(10)

    async def unconnected(self) -> None:
        """A guest's offers, which nobody connects; but at which they knock from many ports."""
        answer = await self.guest.post(
            f"/whip?room={self.room}&name=Eve", content=self.offer, headers=SDP
        )
        if answer.status_code == 201:
            knock(self.offer, answer.text, ports=PORTS, source=self.source)
        await self.guest.post("/whep/000000000000", content=self.offer, headers=SDP)


async def _offer() -> str:
    pc = peer()
    pc.addTransceiver("audio", "sendonly")
    pc.addTransceiver("video", "sendonly")
    text = await offer_of(pc)
    await pc.close()
    return text


if __name__ == "__main__":
    raise SystemExit(main())
