"""One live session on a server that strangers and a guest attack: does it notice?

The attackers come from an address of their own, at bounded rates: slow and broken requests, wrong
tokens, sockets full of garbage, pings nobody reads the answers of, offers nobody connects, and an
invited guest who takes what a guest can. In: a clip. Out: how long after the pause was certain the
results of the live session came, what the server needed, and exit status 1 if 95 of 100 were not
within `LATE_S` or something grew.
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
from contextlib import suppress
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx
import numpy as np
import websockets
from browser import dashboard
from soak import Watch, grown, recorded
from webrtc_client import SDP, offer_of, peer

LATE_S = 0.3
TOKEN = "a-token-of-the-siege"
HOST = {"Authorization": f"Bearer {TOKEN}"}
ELSEWHERE = "127.0.0.2"
"""Where the attackers come from."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack, measure, decide; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args(arguments)
    context = multiprocessing.get_context("spawn")
    with dashboard("--token", TOKEN) as address:
        watch = Watch(address, HOST)
        call = httpx.post(f"{address}/api/calls", json={}, headers=HOST, timeout=120).json()
        over, stopped = threading.Event(), context.Event()
        attackers = context.Process(target=attack, args=(address, call["link"], stopped))
        measuring = threading.Thread(target=watch.until, args=(over,))
        attackers.start()
        measuring.start()
        try:
            late = asyncio.run(talk(address, options.clip, options.minutes * 60))
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
    problems = grown(watch.samples)
    if p95 > LATE_S:
        problems.append(f"p95 is {p95:.3f} s")
    for problem in problems:
        sys.stdout.write(f"not well: {problem}\n")
    return 1 if problems else 0


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
    rng = random.Random(0)
    port = int(address.rsplit(":", 1)[1])
    offer = await _offer()
    stranger = httpx.AsyncClient(
        base_url=address,
        timeout=20,
        transport=httpx.AsyncHTTPTransport(local_address=ELSEWHERE),
    )
    guest = httpx.AsyncClient(
        base_url=address,
        timeout=20,
        follow_redirects=True,
        transport=httpx.AsyncHTTPTransport(local_address=ELSEWHERE),
    )
    await guest.get(link)
    room = link.split("/calls/")[1].split("?")[0]

    async def slow() -> None:
        """A request that never ends, a byte a second."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(ELSEWHERE, 0))
        writer.write(b"POST /whip HTTP/1.1\r\nHost: x\r\nX: ")
        with suppress(OSError):
            for _ in range(60):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(1)
                if reader.at_eof():
                    break
        writer.close()

    async def wrong() -> None:
        """Paths, methods, tokens and bodies that are none."""
        path = rng.choice(["/", "/api/sessions", "/x", "/whip", "/../etc", "/api/calls/" + room])
        method = rng.choice(["GET", "POST", "DELETE", "PATCH", "PUT"])
        token = {"Authorization": f"Bearer {rng.random()}"}
        await stranger.request(method, path, headers=token, content=rng.randbytes(2000))

    async def garbage() -> None:
        """A socket for media that holds none."""
        url = address.replace("http", "ws") + "/api/ingest"
        cookies = {"Cookie": "; ".join(f"{key}={value}" for key, value in guest.cookies.items())}
        async with websockets.connect(
            url, local_addr=(ELSEWHERE, 0), additional_headers=rng.choice([{}, cookies])
        ) as socket:
            for _ in range(50):
                await socket.send(rng.randbytes(1000))

    async def pings() -> None:
        """A guest follows the call, and pings without end."""
        url = f"{address.replace('http', 'ws')}/api/calls/{room}/events"
        cookies = {"Cookie": "; ".join(f"{key}={value}" for key, value in guest.cookies.items())}
        async with websockets.connect(
            url, local_addr=(ELSEWHERE, 0), additional_headers=cookies
        ) as socket:
            for _ in range(500):
                await socket.ping()
                await asyncio.sleep(0.01)

    async def unconnected() -> None:
        """A guest's offers, which nobody connects."""
        await guest.post(f"/whip?room={room}&name=Eve", content=offer, headers=SDP)
        await guest.post("/whep/000000000000", content=offer, headers=SDP)

    async def often(what: Callable[[], Awaitable[None]], pause_s: float) -> None:
        while not stopped.is_set():
            with suppress(OSError, httpx.HTTPError, websockets.WebSocketException, TimeoutError):
                await what()
            tried[what.__name__] += 1
            await asyncio.sleep(pause_s)

    rates = [(wrong, 0.05), (garbage, 0.5), (pings, 1.0), (unconnected, 0.5)]
    rates += [(slow, 1.0)] * 20
    await asyncio.gather(*(often(what, pause_s) for what, pause_s in rates))
    sys.stdout.write(", ".join(f"{name}: {number}" for name, number in tried.items()) + "\n")
    sys.stdout.flush()


async def _offer() -> str:
    pc = peer()
    pc.addTransceiver("audio", "sendonly")
    pc.addTransceiver("video", "sendonly")
    text = await offer_of(pc)
    await pc.close()
    return text


if __name__ == "__main__":
    raise SystemExit(main())
