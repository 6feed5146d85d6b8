"""A server with a token and little room, and a call on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from party import TOKEN
from rooms import AS_HOST, Room
from talks import Talk
from web_client import Client, loading, serving
from webrtc_client import until

from web.settings import Limits, ServerSettings
from web.webrtc import connection as web_peer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[Client]:
    """Of a server with little room, whose models never load; it speaks as the host."""
    limits = Limits(max_joins=10_000, max_participants=2, max_sessions=3, max_viewers=2)
    with loading() as load:
        async with serving(ServerSettings(token=TOKEN, limits=limits), load) as client:
            client.http.headers.update(AS_HOST)
            yield client


@pytest_asyncio.fixture(loop_scope="module")
async def room(
    client: Client, sentence: Talk, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Room]:
    monkeypatch.setattr(web_peer, "CONNECT_S", 60.0)  # the machine may be busy
    call = (await client.http.post("/api/calls", json={"name": "Dr Example"})).json()
    room = Room(client, call, sentence.path)
    yield room
    await room.aclose()
    hosted = client.hub.sessions.values
    await until(lambda: all(session.state == "ended" for session in hosted()))
