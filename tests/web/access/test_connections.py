"""Strangers with many sockets, slow ones, and such as never read: a real server, over sockets."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing, suppress

import httpx
import pytest
import pytest_asyncio
from party import TOKEN
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from web_client import SOON_S, Client, loading, served, serving

from web.access import acceptor
from web.settings import Limits, ServerSettings

resource = pytest.importorskip("resource")  # which Windows has not

pytestmark = pytest.mark.asyncio(loop_scope="module")

HALF_A_HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
BODY = b" HTTP/1.1\r\nContent-Length: 900\r\nHost: localhost\r\n"
FORM = b"Content-Type: multipart/form-data; boundary=a\r\n\r\n"
UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def connect(client: Client, sent: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    address = ("127.0.0.1", client.http.base_url.port or 0)
    stranger = socket.create_connection(address, SOON_S, (source, 0))
    stranger.sendall(sent)
    stranger.setblocking(False)
    return stranger


def is_ended(stranger: socket.socket) -> bool:
    """Whether the server has closed it."""
    with suppress(BlockingIOError):
        try:
            return not stranger.recv(1)
        except ConnectionError:
            return True
    return False


async def until_ended(stranger: socket.socket, drop: bytes = b"") -> bytes:
    """What comes before the server closes it, while it is sent `drop`, again and again."""
    said = b""
    for _ in range(SOON_S * 50):
        with suppress(BlockingIOError):
            try:
                while piece := stranger.recv(65536):
                    said += piece
                return said
            except ConnectionError:
                return said
        with suppress(ConnectionError):
            stranger.sendall(drop)
        await asyncio.sleep(0.02)
    raise AssertionError(f"it is still open; it said {said!r}")


async def until(done: Callable[[], bool]) -> None:
    for _ in range(SOON_S * 20):
        if done():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to that")


# --- many ---


async def test_the_server_answers_while_strangers_hold_all_the_sockets_they_can() -> None:
    """One address takes what it may, and others all that is left; whoever asks comes through."""
    limits = Limits(max_connections=64, max_connections_per_address=32)
    with loading() as load:
        async with serving(ServerSettings(token=TOKEN, limits=limits), load) as client:
            host = {"Authorization": f"Bearer {TOKEN}"}
            call = await client.http.post("/api/calls", json={}, headers=host)
            path = f"/api/calls/{call.json()['room']}/events"
            async with client.connect(path, headers=host) as inside:
                strangers = [connect(client, HALF_A_HEAD) for _ in range(150)]
                await until(lambda: sum(map(is_ended, strangers)) >= 150 - 32)
                assert await healthy(client)
                ask = b"GET /api/calls/x/events HTTP/1.1\r\nHost: localhost\r\n" + UPGRADE
                for each in range(10):
                    strangers += [connect(client, ask, f"127.0.1.{each}") for _ in range(15)]
                    assert await healthy(client)
                await until(lambda: sum(map(is_ended, strangers)) >= 300 - 64)
                await asyncio.wait_for(await inside.ping(), SOON_S)
            for stranger in strangers:
                stranger.close()
            assert await healthy(client)


async def test_guests_with_many_sockets_do_not_shut_out_the_host() -> None:
    limits = Limits(max_connections=48, max_connections_per_address=24, max_connections_per_guest=8)
    host = {"Authorization": f"Bearer {TOKEN}"}
    anew = {**host, "Connection": "close"}
    with loading() as load:
        async with serving(ServerSettings(token=TOKEN, limits=limits), load) as client:
            call = (await client.http.post("/api/calls", json={}, headers=anew)).json()
            path = f"/api/calls/{call['room']}/events"
            guests = []
            for _ in range(8):
                async with httpx.AsyncClient(base_url=client.http.base_url) as browser:
                    answer = await browser.get(call["link"], headers={"Connection": "close"})
                    guests.append({"Cookie": answer.headers["set-cookie"].partition(";")[0]})

            async with AsyncExitStack() as stack:
                for _ in range(8):
                    await stack.enter_async_context(client.connect(path, guests[0]))
                async with client.connect(path, guests[0]) as ninth:
                    assert '"too_many"' in await ninth.recv()
                    await ninth.wait_closed()
                    assert (ninth.close_code, ninth.close_reason) == (1013, "too_many")
                refused = await client.http.get(f"/api/calls/{call['room']}", headers=guests[0])
                assert refused.status_code == 429
                async with client.connect(path, guests[1]):
                    pass

            async with client.connect(path, host) as inside:
                strangers = []
                for number, guest in enumerate(guests):
                    ask = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {guest['Cookie']}\r\n"
                    source = f"127.0.0.{1 + number % 4}"
                    for _ in range(8):
                        strangers.append(connect(client, ask.encode() + UPGRADE, source))
                        await asyncio.sleep(0.02)
                    for _ in range(4):  # whichever address is full, also the host's own
                        answer = await client.http.get("/api/sessions", headers=anew)
                        assert answer.status_code == 200
                await asyncio.wait_for(await inside.ping(), SOON_S)
                for stranger in strangers:
                    stranger.close()


async def healthy(client: Client) -> bool:
    """Whether the server says so on a connection of its own, as to somebody who comes anew."""
    said = await until_ended(connect(client, HALF_A_HEAD + b"Connection: close\r\n\r\n"))
    return said.startswith(b"HTTP/1.1 200 OK") and said.endswith(b'{"status":"loading"}')


async def test_without_files_left_it_waits_and_logs_it_once_a_second(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "AGAIN_S", 0.1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with loading() as load:
        async with serving(load=load) as client:
            port = client.http.base_url.port
            loop = asyncio.get_running_loop()
            strangers = [socket.socket() for _ in range(20)]
            fullest = strangers[-1].fileno() + 1
            for stranger in strangers:
                stranger.setblocking(False)
            with caplog.at_level(logging.WARNING):
                resource.setrlimit(resource.RLIMIT_NOFILE, (fullest, hard))
                try:
                    for stranger in strangers:
                        await loop.sock_connect(stranger, ("127.0.0.1", port))
                    await asyncio.sleep(0.55)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert {record.getMessage() for record in caplog.records} == {
                "no connection can be taken now: Too many open files"
            }
            assert 1 <= len(caplog.records) <= 6
            assert (await client.http.get("/healthz")).status_code == 200
            for stranger in strangers:
                stranger.close()


# --- slow ---


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hurried() -> AsyncIterator[Client]:
    with loading() as load:
        async with serving(ServerSettings(limits=Limits(request_s=1, idle_s=1)), load) as client:
            yield client


@pytest.mark.parametrize(
    ("sent", "drop", "said"),
    [
        (b"", b"", b""),
        (HALF_A_HEAD, b"", b""),
        (HALF_A_HEAD, b"X-A: b\r\n", b""),
        # Its answer is there at once, before its body.
        (b"POST /healthz HTTP/1.1\r\nContent-Length: 900\r\nHost: localhost\r\n\r\n", b"x", b"405"),
        (
            b"POST /api/calls HTTP/1.1\r\nContent-Length: 900\r\nHost: localhost\r\n\r\n",
            b" ",
            b"408",
        ),
        (
            b"POST /api/sessions HTTP/1.1\r\nContent-Length: 900\r\nHost: localhost\r\n"
            b"Content-Type: multipart/form-data; boundary=a\r\n\r\n--a\r\n",
            b"",
            b"408",
        ),
    ],
    ids=[
        "silent",
        "half a head",
        "a long head",
        "answered",
        "a slow body",
        "an upload that stands",
    ],
)
async def test_who_takes_too_long_is_cut_off(
    hurried: Client, sent: bytes, drop: bytes, said: bytes
) -> None:
    with closing(connect(hurried, sent)) as stranger:
        told = await until_ended(stranger, drop)
    assert told[9:12] == said


async def test_an_upload_may_take_longer_as_long_as_it_goes_on(hurried: Client) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'--a\r\nContent-Disposition: form-data; name="pace"\r\n\r\n'
        for _ in range(4):
            await asyncio.sleep(0.4)
            yield b"x"
        yield b"\r\n--a--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=a"}
    told = await hurried.error("POST", "/api/sessions", content=pieces(), headers=kind)
    assert told == (400, "bad_form", "the form is not whole, or lacks the file 'video'")


async def test_a_connection_that_asks_again_and_again_is_kept(hurried: Client) -> None:
    ask = HALF_A_HEAD + b"\r\n"
    with closing(connect(hurried)) as stranger:
        for _ in range(5):
            stranger.sendall(ask)
            await asyncio.sleep(0.4)
            assert stranger.recv(10_000).startswith(b"HTTP/1.1 200")


async def test_a_handshake_that_takes_too_long_is_cut_off() -> None:
    settings = ServerSettings(self_signed=True, limits=Limits(request_s=1))
    with loading() as load, served(settings, load) as (address, _):
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), SOON_S) as stranger:
            assert await asyncio.to_thread(stranger.recv, 1) == b""
        trust = ssl.create_default_context(cadata=ssl.get_server_certificate(("127.0.0.1", port)))
        async with httpx.AsyncClient(verify=trust, timeout=SOON_S) as http:
            assert (await http.get(f"{address}/healthz")).status_code == 200


# --- never reading ---


def frame(opcode: int, content: bytes = b"", *, final: bool = True) -> bytes:
    """As a client sends it, masked with zeros."""
    return struct.pack("!BB4x", (0x80 if final else 0) | opcode, 0x80 | len(content)) + content


CONT, TEXT, PING, PONG = 0, 1, 9, 10


async def following(client: Client) -> socket.socket:
    """The socket of somebody who follows a call."""
    room = (await client.http.post("/api/calls", json={})).json()["room"]
    head = f"GET /api/calls/{room}/events HTTP/1.1\r\nHost: localhost\r\n".encode()
    stranger = connect(client, head + UPGRADE)
    loop = asyncio.get_running_loop()
    said = b""
    while b"\r\n\r\n" not in said:
        said += await asyncio.wait_for(loop.sock_recv(stranger, 65536), SOON_S)
    return stranger


async def test_who_pings_and_reads_nothing_is_soon_not_read() -> None:
    limits = Limits(max_message_rate=10_000_000)
    with loading() as load:
        async with serving(ServerSettings(limits=limits), load) as client:
            stranger = await following(client)
            (protocol,) = (
                each
                for each in gc.get_objects()
                if issubclass(type(each), WebSocketsSansIOProtocol) and not each.disconnected
            )
            loop = asyncio.get_running_loop()
            pings = frame(PING, b"x" * 125) * 500
            sent, still, most = 0, 0, 0
            while still < 20 and sent < 50_000_000:
                try:
                    sent += stranger.send(pings[sent % len(pings) :])
                    still = 0
                except BlockingIOError:
                    still += 1
                await asyncio.sleep(0.005)
                most = max(most, protocol.transport.get_write_buffer_size())
            assert sent < 50_000_000, "what the system's buffers hold, and no more"
            assert most < 1_000_000

            answered = 0  # once it reads, it is answered again
            while answered < min(sent // 2, 10_000_000):
                answered += len(await asyncio.wait_for(loop.sock_recv(stranger, 1 << 20), SOON_S))
            stranger.close()


@pytest.mark.parametrize(
    "flood",
    [frame(PING), frame(PONG), frame(CONT, final=False)],
    ids=["pings", "pongs", "parts of a message"],
)
async def test_pings_and_parts_count_as_messages(flood: bytes) -> None:
    with loading() as load:
        async with serving(ServerSettings(limits=Limits(max_message_rate=10)), load) as client:
            stranger = await following(client)
            stranger.sendall(frame(TEXT, final=False) + flood * 40)
            await asyncio.sleep(0.2)
            assert not is_ended(stranger) or flood == frame(PING)
            stranger.sendall(flood * 40)
            said = await until_ended(stranger)
            assert said.endswith(struct.pack("!BBH", 0x88, 10, 1008) + b"too_fast")
            stranger.close()
            assert (await client.http.get("/healthz")).status_code == 200
