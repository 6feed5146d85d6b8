"""A call on a server with a token, and its guests: what they offer, publish, watch and are told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from party import TOKEN
from web_client import SOON_S, Client
from webrtc_client import SDP, Publication, Repeated, View, offer_of, peer, until

from web.webrtc import connection as web_peer

AS_HOST = {"Authorization": f"Bearer {TOKEN}"}


class Room:
    """A call with guests, each a browser of its own."""

    def __init__(self, client: Client, call: dict[str, str], clip: Path) -> None:
        self.client = client
        self.room, self.link = call["room"], call["link"]
        self.path = f"/api/calls/{self.room}"
        self.clip = clip
        self._open: list[Any] = []

    async def browser(
        self, link: str | None = None, *, address: str = "127.0.0.1"
    ) -> httpx.AsyncClient:
        """One that was let in by the link."""
        browser = httpx.AsyncClient(
            base_url=self.client.http.base_url,
            timeout=SOON_S,
            transport=httpx.AsyncHTTPTransport(local_address=address),
        )
        self._open.append(browser.aclose)
        assert (await browser.get(link or self.link)).status_code == 303
        return browser

    async def join(self, browser: httpx.AsyncClient, name: str = "Ada") -> Publication:
        publication = Publication(browser)
        self._open.append(publication.pc.close)
        track = Repeated(self.clip, "audio")
        await publication.begin(track, query=f"?room={self.room}&name={name}")
        hosted = self.client.hub.sessions[publication.session]
        await until(lambda: not hosted.connecting)  # the server may be told later than we
        return publication

    async def knock(self, browser: httpx.AsyncClient, *, patience_s: float = 2.0) -> httpx.Response:
        """Offer to publish, and never connect; the server lets go of it after `patience_s`."""
        pc = peer()
        pc.addTransceiver("audio", "sendonly")
        path = f"/whip?room={self.room}"
        with pytest.MonkeyPatch.context() as patience:
            patience.setattr(web_peer, "CONNECT_S", patience_s)
            answer = await browser.post(path, content=await offer_of(pc), headers=SDP)
        await pc.close()
        return answer

    async def watch(self, browser: httpx.AsyncClient, session: str) -> View:
        view = View(browser)
        self._open.append(view.pc.close)
        return await view.begin(session, "audio")

    async def present(self) -> list[str]:
        state = await self.client.json(self.path)
        return [person["name"] for person in state["participants"]]

    @asynccontextmanager
    async def feed(self, browser: httpx.AsyncClient) -> AsyncIterator[websockets.ClientConnection]:
        port = self.client.http.base_url.port
        cookie = f"guest-{port}={browser.cookies[f'guest-{port}']}"
        address = f"ws://127.0.0.1:{port}{self.path}/events"
        async with websockets.connect(address, additional_headers={"Cookie": cookie}) as socket:
            yield socket

    async def aclose(self) -> None:
        await self.client.http.delete(self.path)
        for close in self._open:
            await close()


async def told(socket: websockets.ClientConnection, type: str) -> dict[str, Any]:
    """The next message of that type."""
    while (message := json.loads(await socket.recv())).get("type") != type:
        assert "error" not in message, message
    return dict(message)


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]
