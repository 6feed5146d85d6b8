"""Damaged SDP, WebSocket messages, media, events, forms and requests: only documented errors.

The volume goes through the whole application without a socket between; some hundred more over real
sockets. FUZZ_EXAMPLES tells how many of each; the same ones each time."""

from __future__ import annotations

import asyncio
import io
import json
import os
import struct
import typing
from typing import Any

import numpy as np
import PIL.Image
import pydantic
import pytest
import schemathesis
from fuzzing import ANSWER_S, InProcess, checked, in_process, message, told_error
from hypothesis import example, given
from hypothesis import strategies as st
from mutation import EXAMPLES, pieces, texts, times
from schemathesis.checks import not_a_server_error
from web_client import Client, serving
from webrtc_client import until

from realtime import events
from web.settings import Limits, ServerSettings

pytestmark = pytest.mark.slow

CLOSINGS = {1000, 1003, 1007, 1008, 1009, 1013}


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


def jpeg(width: int = 160, height: int = 120, **options: Any) -> bytes:
    pixels = np.random.default_rng(3).integers(0, 255, (height, width, 3), dtype=np.uint8)
    data = io.BytesIO()
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(pixels).save(data, "JPEG", exif=exif, **options)
    return data.getvalue()


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

    @times(EXAMPLES // 2)
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
        limit = asyncio.Semaphore(100)  # most are waited for until they have been idle

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
    examples = int(os.environ.get("FUZZ_REQUESTS", "8"))
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
