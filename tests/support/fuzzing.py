"""A server that damaged input is sent to, and what it must answer."""

from __future__ import annotations

import asyncio
import gc
import json
import struct
import typing
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from web_client import application
from webrtc_client import until

from web.sessions.hub import Hub
from web.settings import Limits, ServerSettings

ANSWER_S = 30
"""Far more than any one input may take, on a busy machine."""


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


def message(kind: int, time_s: float, media: bytes) -> bytes:
    return struct.pack("<Bd", kind, time_s) + media
