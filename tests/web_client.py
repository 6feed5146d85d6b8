"""A real server for tests, and the clients to speak with it: HTTP and WebSocket, over sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import websockets
from websockets.asyncio.client import ClientConnection

from realtime.analysis import UtteranceAnalyzer
from web.app import create_app
from web.hub import Hub
from web.server import Server
from web.settings import ServerSettings

SOON_S = 240  # generous: other work may keep the machine busy


@dataclass(frozen=True)
class Client:
    """Speaks with one server, whose `hub` can be looked into."""

    http: httpx.AsyncClient
    hub: Hub

    async def upload(self, clip: Path, **fields: str) -> httpx.Response:
        with clip.open("rb") as file:
            return await self.http.post("/api/sessions", files={"video": file}, data=fields)

    def connect(self, path: str) -> websockets.connect:
        address = f"ws://127.0.0.1:{self.http.base_url.port}{path}"
        return websockets.connect(address, open_timeout=SOON_S, ping_timeout=SOON_S, max_size=None)

    async def events(self, id: str, after: int = 0) -> list[dict[str, Any]]:
        """All events after number `after`, to the last one."""
        async with self.connect(f"/api/sessions/{id}/events?after={after}") as feed:
            return await rest_of(feed)

    async def json(self, path: str) -> Any:
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def error(self, method: str, path: str, **options: Any) -> tuple[int, str, str]:
        """Status, code and message of a request that must fail."""
        answer = await self.http.request(method, path, **options)
        error = answer.json()["error"]
        assert set(answer.json()) == {"error"}
        assert set(error) == {"code", "message"}
        return answer.status_code, error["code"], error["message"]


@asynccontextmanager
async def serving(
    settings: ServerSettings | None = None,
    load: Callable[[], UtteranceAnalyzer] = UtteranceAnalyzer.load,
) -> AsyncIterator[Client]:
    """The server on a free port, until it has ended politely."""
    app = create_app(settings or ServerSettings(), load)
    server = Server(app, app.state.hub)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await server.up.wait()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with httpx.AsyncClient(base_url=address, timeout=SOON_S) as http:
                yield Client(http, app.state.hub)
        finally:
            server.should_exit = True
            await task


async def rest_of(feed: ClientConnection) -> list[dict[str, Any]]:
    """What comes until the server closes, which it must do in order."""
    messages = [json.loads(message) async for message in feed]
    assert feed.close_code == 1000, (feed.close_code, messages[-1:])
    return messages
