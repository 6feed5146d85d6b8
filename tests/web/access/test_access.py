"""Who may do what, over a real server: every route, with every kind of token."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
import websockets
from party import TOKEN
from talks import Talk
from web_client import SOON_S, Client, application, loading, routes_of, serving
from webrtc_client import SDP, Publication, Repeated, View, until

from models.errors import UsageError
from web.access import gate
from web.access.keys import Guest, Keys
from web.settings import Limits, ServerSettings

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


AS_HOST = {"Authorization": f"Bearer {TOKEN}"}

PUBLIC, GUEST, ROOM, OWN, HOST = "everybody", "every guest", "guests of the room", "its guest", ""


ROUTES = {
    "GET /": HOST,
    "GET /calls/{room}": ROOM,
    "GET /overlay/{id}": PUBLIC,
    "MOUNT /static": PUBLIC,
    "GET /openapi.json": HOST,
    "GET /api/docs": HOST,
    "GET /api/schema": HOST,
    "GET /api/server": GUEST,
    "GET /healthz": PUBLIC,
    "GET /metrics": HOST,
    "POST /api/sessions": HOST,
    "GET /api/sessions": HOST,
    "GET /api/sessions/{id}": HOST,
    "GET /api/sessions/{id}/overlay": HOST,
    "POST /api/sessions/{id}/stop": HOST,
    "POST /api/sessions/{id}/pause": OWN,
    "POST /api/sessions/{id}/rest": HOST,
    "POST /api/sessions/{id}/speakers/{number}": HOST,
    "POST /api/sessions/{id}/notes": HOST,
    "DELETE /api/sessions/{id}/notes/{number}": HOST,
    "GET /api/sessions/{id}/film": HOST,
    "GET /api/sessions/{id}/picture": HOST,
    "GET /api/sessions/{id}/utterances/{number}": HOST,
    "GET /api/sessions/{id}/utterances/{number}/sound.wav": HOST,
    "GET /api/sessions/{id}/results.json": HOST,
    "GET /api/sessions/{id}/results.jsonl": HOST,
    "GET /api/sessions/{id}/results.csv": HOST,
    "GET /api/sessions/{id}/results.vtt": HOST,
    "GET /api/sessions/{id}/results.parquet": HOST,
    "GET /api/sessions/{id}/results.srt": HOST,
    "GET /api/sessions/{id}/results.eaf": HOST,
    "GET /api/sessions/{id}/results.TextGrid": HOST,
    "GET /api/sessions/{id}/faces.csv": HOST,
    "GET /api/sessions/{id}/sounds.csv": HOST,
    "GET /api/sessions/{id}/notes.csv": HOST,
    "GET /api/sessions/{id}/events.tsv": HOST,
    "GET /api/sessions/{id}/events.json": HOST,
    "GET /api/sessions/{id}/report.html": HOST,
    "WEBSOCKET /api/sessions/{id}/events": HOST,
    "WEBSOCKET /api/ingest": HOST,
    "POST /api/calls": HOST,
    "GET /api/calls": HOST,
    "GET /api/calls/{room}": ROOM,
    "DELETE /api/calls/{room}": HOST,
    "POST /api/calls/{room}/link": HOST,
    "DELETE /api/calls/{room}/participants/{id}": HOST,
    "WEBSOCKET /api/calls/{room}/events": ROOM,
    "GET /api/calls/{id}/results.json": HOST,
    "GET /api/calls/{id}/results.csv": HOST,
    "GET /api/calls/{id}/results.vtt": HOST,
    "GET /api/calls/{id}/results.parquet": HOST,
    "GET /api/calls/{id}/results.srt": HOST,
    "GET /api/calls/{id}/results.eaf": HOST,
    "GET /api/calls/{id}/results.TextGrid": HOST,
    "GET /api/calls/{id}/faces.csv": HOST,
    "GET /api/calls/{id}/sounds.csv": HOST,
    "GET /api/calls/{id}/notes.csv": HOST,
    "GET /api/calls/{id}/events.tsv": HOST,
    "GET /api/calls/{id}/events.json": HOST,
    "GET /api/calls/{id}/report.html": HOST,
    "POST /whip": ROOM,
    "PATCH /whip/{id}": OWN,
    "DELETE /whip/{id}": OWN,
    "POST /whep/{id}": ROOM,
    "PATCH /whep/{id}/{viewer}": OWN,
    "DELETE /whep/{id}/{viewer}": OWN,
    "DELETE /api/sessions/{id}": OWN,  # last: whoever has left a call is told no more of it
}
"""Every route, and who may use it beside the host. A new route needs its line here; and in
`web.access.gate.RIGHTS`, if it is not for the host alone."""


@dataclass(frozen=True)
class Party:
    """A server with a token, and those who speak with it; Ada and Ben publish.

    Attributes:
        guests: by name, each let in by the link to a call: Ada and Ben to one, Cleo to another.
        places: what stands for the names in a route's path: Ada's session, her viewer, her room.
    """

    client: Client
    keys: Keys
    guests: dict[str, httpx.AsyncClient]
    places: dict[str, str]

    @property
    def port(self) -> int:
        return self.client.http.base_url.port or 0

    def cookie(self, name: str) -> dict[str, str]:
        return {"Cookie": f"guest-{self.port}={self.guests[name].cookies[f'guest-{self.port}']}"}

    def guest(self, name: str) -> Guest:
        """Who the server takes them for."""
        guest = self.keys.guest(self.cookie(name)["Cookie"].partition("=")[2])
        assert guest is not None
        return guest

    async def ask(self, route: str, headers: dict[str, str]) -> str:
        """What comes of asking for `route`: "let in", or the code of the refusal."""
        method, _, path = route.partition(" ")
        places = self.places
        if ROUTES[route] is HOST:  # which would do what it says, or tell without an end
            places = {**places, "id": "000000000000", "number": "1", "room": "none"}
        path = path.format_map(places)
        if route == "MOUNT /static":
            method, path = "GET", "/static/common/style.css"
        if route == "POST /whip":
            path += f"?room={places['room']}"
        if method == "WEBSOCKET":
            return await self._connect(path, headers)
        content = SDP if path.startswith("/wh") else {}
        answer = await self.client.http.request(method, path, headers={**headers, **content})
        code = answer.json()["error"]["code"] if answer.status_code in (401, 403) else None
        assert (answer.status_code == 401) is (code == "unauthorized")
        return code or "let in"

    async def _connect(self, path: str, headers: dict[str, str]) -> str:
        address = f"ws://127.0.0.1:{self.port}{path}"
        async with websockets.connect(address, additional_headers=headers) as socket:
            if path == "/api/ingest":
                with suppress(websockets.ConnectionClosed):  # refused already
                    await socket.send('{"type": "start"}')
            message = json.loads(await socket.recv())
            code = message["error"]["code"] if "error" in message else None
            if code not in ("unauthorized", "forbidden"):
                return "let in"
            await socket.wait_closed()
            assert socket.close_code == 1008
            return str(code)


@pytest_asyncio.fixture(loop_scope="module")
async def party(sentence: Talk) -> AsyncIterator[Party]:
    settings = ServerSettings(token=TOKEN, limits=Limits(max_joins=10_000))
    host = {"Authorization": f"Bearer {TOKEN}"}
    with loading() as load:
        async with serving(settings, load) as client:
            guests, rooms = {}, []
            for names in (("Ada", "Ben"), ("Cleo",)):
                call = (await client.http.post("/api/calls", json={}, headers=host)).json()
                rooms.append(call["room"])
                for name in names:
                    guest = httpx.AsyncClient(base_url=client.http.base_url, timeout=SOON_S)
                    entered = await guest.get(call["link"])
                    assert entered.status_code == 303
                    guests[name] = guest
            ada, ben = (Publication(guests[name]) for name in ("Ada", "Ben"))
            for one, name in ((ada, "Ada"), (ben, "Ben")):
                track = Repeated(sentence.path, "audio")
                await one.begin(track, query=f"?room={rooms[0]}&name={name}")
            view = await View(guests["Ada"]).begin(ada.session, "audio")
            viewer = view.location.rpartition("/")[2]
            places = {"id": ada.session, "viewer": viewer, "room": rooms[0]}
            keys: Keys = client.app.state.keys
            yield Party(client, keys, guests, places)
            for pc in (ada.pc, ben.pc, view.pc):
                await pc.close()
            for guest in guests.values():
                await guest.aclose()


async def test_every_route_is_in_the_table() -> None:
    found = list(routes_of(application(load=_loads_nothing)))
    assert len(found) == len(set(found))
    assert set(found) - ROUTES.keys() == set(), "these are new: who may use them?"
    assert ROUTES.keys() - set(found) == set(), "these are gone"


async def test_every_route_is_open_to_whom_the_table_says(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "AUTH_S", 0.1)  # for those who say nothing
    keys, room = party.keys, party.places["room"]
    link = (await party.client.http.get(f"/api/calls/{room}", headers=AS_HOST)).json()["link"]
    old = round(time.time()) - keys.guest_s - 100
    expired = keys._fernet.encrypt_at_time(f"guest ada {room} 1".encode(), old).decode()
    stranger = Keys(ServerSettings(token=TOKEN)).cookie(Guest("ada", room, "1"))
    nobody = {
        "no token": {},
        "a wrong token": {"Authorization": f"Bearer {TOKEN[:-1]}x"},
        "no token at all": {"Authorization": "Bearer"},
        "the link as a token": {"Authorization": f"Bearer {link.partition('=')[2]}"},
        "a wrong cookie": {"Cookie": f"guest-{party.port}=ada; host-{party.port}={TOKEN}"},
        "the link as a cookie": {"Cookie": f"guest-{party.port}={link[-120:]}"},
        "a guest's cookie as the host's": {
            "Cookie": f"host-{party.port}={party.cookie('Ada')['Cookie'].partition('=')[2]}"
        },
        "an expired cookie": {"Cookie": f"guest-{party.port}={expired}"},
        "the cookie of another server": {"Cookie": f"guest-{party.port}={stranger}"},
        "the cookie of another port": {"Cookie": party.cookie("Ada")["Cookie"].replace("-", "-1")},
    }
    each = {"no token", "a wrong token", "an expired cookie"}
    some = {"GET /api/sessions", "GET /calls/{room}", "POST /whip", "DELETE /whip/{id}"}
    for who, headers in nobody.items():
        for route, may in ROUTES.items():
            if who not in each and route not in some:
                continue
            expected = "let in" if may is PUBLIC else "unauthorized"
            assert await party.ask(route, headers) == expected, (who, route)
    for route, may in ROUTES.items():  # an erase token erases, and does nothing else
        expected = "let in" if may is PUBLIC else "unauthorized"
        if route == "DELETE /api/sessions/{id}":
            expected = "forbidden"
        assert await party.ask(route, {"Erase-Token": "wrong"}) == expected, route
    for who, allowed in (
        ("Cleo", {PUBLIC, GUEST}),
        ("Ben", {PUBLIC, GUEST, ROOM}),
        ("Ada", {PUBLIC, GUEST, ROOM, OWN}),
    ):
        for route, may in ROUTES.items():
            expected = "let in" if may in allowed else "forbidden"
            assert await party.ask(route, party.cookie(who)) == expected, (who, route)
    for route in ROUTES:
        assert await party.ask(route, AS_HOST) == "let in", route


async def test_a_guest_comes_pauses_and_erases_what_was_found(party: Party) -> None:
    ada, ben = party.guests["Ada"], party.guests["Ben"]
    id, room = party.places["id"], party.places["room"]
    host = {"Authorization": f"Bearer {TOKEN}"}
    page = await ada.get(f"/calls/{room}")
    assert "Before you join" in page.text
    call = (await ada.get(f"/api/calls/{room}")).json()
    assert [person["name"] for person in call["participants"]] == ["Ada", "Ben"]
    assert call["link"] is None, "guests invite nobody"
    assert party.client.hub.get(id).owner == party.guest("Ada").owner
    assert "owner" not in call["participants"][0]

    path = f"/api/sessions/{id}"
    for guest, paused in ((ben, False), (ada, True)):
        answer = await guest.post(f"{path}/pause", json={"paused": True})
        assert answer.status_code == (200 if guest is ada else 403)
        assert (await party.client.http.get(path, headers=host)).json()["paused"] is paused
    assert (await ben.delete(path)).status_code == 403
    assert (await ada.delete(path)).status_code == 204
    assert (await party.client.http.get(path, headers=host)).status_code == 404
    assert (await ada.delete(path)).json()["error"]["code"] == "unknown_session"


async def test_a_browser_keeps_its_own_in_every_call_it_enters(party: Party) -> None:
    ada, id = party.guests["Ada"], party.places["id"]
    host = {"Authorization": f"Bearer {TOKEN}"}
    before = party.guest("Ada")
    link = (await party.client.http.get(f"/api/calls/{before.room}", headers=host)).json()["link"]
    again = await ada.get(link)
    assert "set-cookie" not in again.headers, "it is in already"
    other = (await party.client.http.post("/api/calls", json={}, headers=host)).json()
    await ada.get(other["link"])
    after = party.guest("Ada")
    assert (after.secret, after.room) == (before.secret, other["room"])
    assert (await ada.get(f"/api/calls/{party.places['room']}")).status_code == 403
    assert (await ada.delete(f"/api/sessions/{id}")).status_code == 204


async def test_the_host_alone_reads_on_a_data_channel(party: Party, sentence: Talk) -> None:
    """Guests get none: see tests/web/calls/test_hosting.py."""
    host = httpx.AsyncClient(base_url=party.client.http.base_url, timeout=SOON_S, headers=AS_HOST)
    one = Publication(host)
    channel = one.pc.createDataChannel("events")
    one.listen(channel)
    track = Repeated(sentence.path, "audio")
    await one.begin(track, query=f"?room={party.places['room']}")
    await until(lambda: channel.readyState == "open")
    await host.post(f"/api/sessions/{one.session}/stop")
    await until(lambda: one.pc.connectionState == "closed")
    assert one.told("session.ended")
    await one.pc.close()
    await host.aclose()


def _loads_nothing() -> Any:
    raise UsageError("no models are needed here")
