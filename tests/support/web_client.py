"""A real server for tests, and the clients to speak with it: HTTP and WebSocket, over sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fastapi.routing
import httpx
import networks
import websockets
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection

from models.errors import UsageError
from realtime.analyzers.local import LocalAnalyzer
from realtime.sources.pushed import PushedSource
from web.access.tls import context_of
from web.app import create_app
from web.server import Server
from web.sessions.hosted import Hosted
from web.sessions.hub import Hub
from web.settings import DEFAULT_STORE, ServerSettings

SOON_S = 240  # generous: other work may keep the machine busy


@dataclass(frozen=True)
class Client:
    """Speaks with one server, whose application and `hub` can be looked into."""

    http: httpx.AsyncClient
    app: FastAPI

    @property
    def hub(self) -> Hub:
        hub: Hub = self.app.state.hub
        return hub

    async def upload(self, clip: Path, **fields: str) -> httpx.Response:
        with clip.open("rb") as file:
            return await self.http.post("/api/sessions", files={"video": file}, data=fields)

    def connect(self, path: str, headers: dict[str, str] | None = None) -> websockets.connect:
        address = f"ws://127.0.0.1:{self.http.base_url.port}{path}"
        return websockets.connect(
            address,
            additional_headers=headers,
            open_timeout=SOON_S,
            ping_timeout=SOON_S,
            max_size=None,
        )

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


def hosted(client: Client) -> Hosted:
    """A session in the memory of the server, which tells what the test records."""
    hub = client.hub
    session = Hosted(
        PushedSource("film", has_audio=True, has_video=False),
        hub.settings,
        hub.store,
        kind="upload",
        name="film",
        room=None,
        owner=None,
        at_end=lambda: None,
    )
    hub._sessions[session.id] = session
    return session


def application(
    settings: ServerSettings | None = None,
    load: Callable[[], LocalAnalyzer] = networks.load,
) -> FastAPI:
    """The application; unless `settings` name a store, with a fresh one, never the user's own."""
    settings = settings or ServerSettings()
    if settings.store == DEFAULT_STORE:
        settings = replace(settings, store=Path(tempfile.mkdtemp()) / "sessions.sqlite")
    return create_app(settings, load)


def routes_of(app: FastAPI) -> Iterator[str]:
    """Every route of `app`, also those of the routers in it, in order: `GET /healthz`."""
    within = getattr(fastapi.routing, "iter_route_contexts", iter)  # newer ones keep routers whole
    for route in within(app.routes):
        if type(getattr(route, "original_route", route)).__name__ == "Mount":
            yield f"MOUNT {route.path}"
        else:
            for method in (getattr(route, "methods", None) or {"WEBSOCKET"}) - {"HEAD"}:
                yield f"{method} {route.path}"


@asynccontextmanager
async def serving(
    settings: ServerSettings | None = None,
    load: Callable[[], LocalAnalyzer] = networks.load,
) -> AsyncIterator[Client]:
    """The server on a free port, until it has ended politely."""
    app = application(settings, load)
    server = Server(app, app.state.hub)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await server.up.wait()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            # The server closes what is idle for 5 s, as HTTPX does: on a busy machine both do
            # at once, and a request meets a closed connection.
            limits = httpx.Limits(keepalive_expiry=1)
            async with httpx.AsyncClient(base_url=address, timeout=SOON_S, limits=limits) as http:
                yield Client(http, app)
        finally:
            server.should_exit = True
            await task


@contextmanager
def loading() -> Iterator[Callable[[], LocalAnalyzer]]:
    """A `load` that takes until the block ends: sessions begin, and wait for the models."""
    enough = threading.Event()

    def load() -> LocalAnalyzer:
        enough.wait()
        raise UsageError("no models are needed here")

    try:
        yield load
    finally:
        enough.set()


@contextmanager
def served(
    settings: ServerSettings, load: Callable[[], LocalAnalyzer]
) -> Iterator[tuple[str, FastAPI]]:
    """The server in a thread, with TLS if it is to have it; gives its address and application."""
    tls, _ = context_of(settings)
    app = application(settings, load)
    server = Server(app, app.state.hub, tls)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            scheme = "https" if settings.tls else "http"
            yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", app
        finally:
            server.should_exit = True
            thread.join()


async def rest_of(feed: ClientConnection) -> list[dict[str, Any]]:
    """What comes until the server closes, which it must do in order."""
    messages = [json.loads(message) async for message in feed]
    assert feed.close_code == 1000, (feed.close_code, messages[-1:])
    return messages
