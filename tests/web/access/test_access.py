"""Who may do what, over a real server: every route, with every kind of token."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastapi.routing
import httpx
import pytest
import pytest_asyncio
import websockets
from fastapi import FastAPI
from web_client import SOON_S, Client, application, loading, serving
from webrtc_client import SDP, Publication, Repeated, View, until

from models.errors import UsageError
from web.access import gate
from web.access.keys import Guest, Keys, check_path
from web.errors import ApiError
from web.settings import Limits, ServerSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "correct-horse-battery-staple"

PUBLIC, GUEST, ROOM, OWN, HOST = "everybody", "every guest", "guests of the room", "its guest", ""

ROUTES = {
    "GET /": HOST,
    "GET /calls/{room}": ROOM,
    "MOUNT /static": PUBLIC,
    "GET /static/plotly.min.js": PUBLIC,
    "GET /openapi.json": HOST,
    "GET /api/docs": HOST,
    "GET /api/schema": HOST,
    "GET /api/server": GUEST,
    "GET /healthz": PUBLIC,
    "GET /metrics": HOST,
    "POST /api/sessions": HOST,
    "GET /api/sessions": HOST,
    "GET /api/sessions/{id}": HOST,
    "DELETE /api/sessions/{id}": OWN,
    "POST /api/sessions/{id}/stop": HOST,
    "POST /api/sessions/{id}/pause": OWN,
    "POST /api/sessions/{id}/rest": HOST,
    "GET /api/sessions/{id}/picture": HOST,
    "GET /api/sessions/{id}/utterances/{number}": HOST,
    "GET /api/sessions/{id}/utterances/{number}/sound.wav": HOST,
    "GET /api/sessions/{id}/results.json": HOST,
    "GET /api/sessions/{id}/results.jsonl": HOST,
    "GET /api/sessions/{id}/results.csv": HOST,
    "GET /api/sessions/{id}/results.vtt": HOST,
    "GET /api/sessions/{id}/report.html": HOST,
    "WEBSOCKET /api/sessions/{id}/events": HOST,
    "WEBSOCKET /api/ingest": HOST,
    "POST /api/calls": HOST,
    "GET /api/calls": HOST,
    "GET /api/calls/{room}": ROOM,
    "WEBSOCKET /api/calls/{room}/events": ROOM,
    "GET /api/calls/{id}/results.json": HOST,
    "GET /api/calls/{id}/results.csv": HOST,
    "GET /api/calls/{id}/results.vtt": HOST,
    "GET /api/calls/{id}/report.html": HOST,
    "POST /whip": ROOM,
    "PATCH /whip/{id}": OWN,
    "DELETE /whip/{id}": OWN,
    "POST /whep/{id}": ROOM,
    "PATCH /whep/{id}/{viewer}": OWN,
    "DELETE /whep/{id}/{viewer}": OWN,
}
"""Every route, and who may use it beside the host. A new route needs its line here; and in
`web.access.gate.RIGHTS`, if it is not for the host alone."""


def routes_of(app: FastAPI) -> Iterator[str]:
    """Every route of `app`, also those of the routers in it, as they stand in `ROUTES`."""
    within = getattr(fastapi.routing, "iter_route_contexts", iter)  # newer ones keep routers whole
    for route in within(app.routes):
        if type(getattr(route, "original_route", route)).__name__ == "Mount":
            yield f"MOUNT {route.path}"
        else:
            for method in (getattr(route, "methods", None) or {"WEBSOCKET"}) - {"HEAD"}:
                yield f"{method} {route.path}"


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

    async def ask(self, route: str, headers: dict[str, str]) -> str:
        """What comes of asking for `route`: "let in", or the code of the refusal."""
        method, _, path = route.partition(" ")
        places = self.places
        if ROUTES[route] is HOST:  # which would do what it says, or tell without an end
            places = {**places, "id": "000000000000", "number": "1"}
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
async def party(shared: Path) -> AsyncIterator[Party]:
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
                track = Repeated(shared / "media" / "speech" / "jfk.flac", "audio")
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
    old = round(time.time()) - keys.guest_s - 100
    expired = keys._fernet.encrypt_at_time(f"guest ada {room}".encode(), old).decode()
    stranger = Keys(ServerSettings(token=TOKEN)).cookie(Guest("ada", room))
    nobody = {
        "no token": {},
        "a wrong token": {"Authorization": f"Bearer {TOKEN[:-1]}x"},
        "no token at all": {"Authorization": "Bearer"},
        "the link as a token": {"Authorization": f"Bearer {keys.link(room).partition('=')[2]}"},
        "a wrong cookie": {"Cookie": f"guest-{party.port}=ada; host-{party.port}={TOKEN}"},
        "the link as a cookie": {"Cookie": f"guest-{party.port}={keys.link(room)[-120:]}"},
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
    for who, allowed in (
        ("Cleo", {PUBLIC, GUEST}),
        ("Ben", {PUBLIC, GUEST, ROOM}),
        ("Ada", {PUBLIC, GUEST, ROOM, OWN}),
    ):
        for route, may in ROUTES.items():
            expected = "let in" if may in allowed else "forbidden"
            assert await party.ask(route, party.cookie(who)) == expected, (who, route)
    for route in ROUTES:
        assert await party.ask(route, {"Authorization": f"Bearer {TOKEN}"}) == "let in", route


async def test_a_guest_comes_pauses_and_erases_what_was_found(party: Party) -> None:
    ada, ben = party.guests["Ada"], party.guests["Ben"]
    id, room = party.places["id"], party.places["room"]
    host = {"Authorization": f"Bearer {TOKEN}"}
    page = await ada.get(f"/calls/{room}")
    assert "Before you join" in page.text
    call = (await ada.get(f"/api/calls/{room}")).json()
    assert [person["name"] for person in call["participants"]] == ["Ada", "Ben"]
    assert call["link"] is None, "guests invite nobody"
    assert party.client.hub.get(id).owner == party.keys.guest(_value(party.cookie("Ada"))).id
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
    before = party.keys.guest(_value(party.cookie("Ada")))
    again = await ada.get(party.keys.link(party.places["room"]))
    assert "set-cookie" not in again.headers, "it is in already"
    other = (await party.client.http.post("/api/calls", json={}, headers=host)).json()
    await ada.get(other["link"])
    after = party.keys.guest(_value(party.cookie("Ada")))
    assert before is not None
    assert after == Guest(before.id, other["room"])
    assert (await ada.get(f"/api/calls/{party.places['room']}")).status_code == 403
    assert (await ada.delete(f"/api/sessions/{id}")).status_code == 204


def _value(cookie: dict[str, str]) -> str:
    return cookie["Cookie"].partition("=")[2]


async def test_what_is_found_of_a_guest_is_not_told_to_the_guest(
    party: Party, shared: Path
) -> None:
    host = httpx.AsyncClient(base_url=party.client.http.base_url, timeout=SOON_S)
    host.headers["Authorization"] = f"Bearer {TOKEN}"
    room = party.places["room"]
    published = []
    for client in (host, party.guests["Ben"]):
        one = Publication(client)
        one.listen(one.pc.createDataChannel("events"))
        track = Repeated(shared / "media" / "speech" / "jfk.flac", "audio")
        published.append(await one.begin(track, query=f"?room={room}"))
    ours, guests = published
    for one in (guests, ours):
        await host.post(f"/api/sessions/{one.session}/stop")
        await until(lambda one=one: one.pc.connectionState == "closed")  # type: ignore[misc]
    assert ours.told("session.ended")
    assert guests.events == []
    for one in published:
        await one.pc.close()
    await host.aclose()


# --- how one gets in ---


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def closed() -> AsyncIterator[Client]:
    """Of a server with a token, which a proxy makes known elsewhere."""
    origins = ("https://Emotions.example.org:443", "http://proxy.example:8080")
    settings = ServerSettings(token=TOKEN, origins=origins, limits=Limits(max_joins=1000))
    with loading() as load:
        async with serving(settings, load) as client:
            yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened() -> AsyncIterator[Client]:
    """Of a server that only this computer can reach."""
    with loading() as load:
        async with serving(ServerSettings(), load) as client:
            yield client


async def test_the_hosts_link_becomes_a_cookie(closed: Client) -> None:
    async with httpx.AsyncClient(base_url=closed.http.base_url) as browser:
        entered = await browser.get(f"/?call=R%26S&token={TOKEN}")
        assert (entered.status_code, entered.headers["location"]) == (303, "/?call=R%26S")
        assert entered.headers["cache-control"] == "no-store"
        cookie = entered.headers["set-cookie"]
        assert re.fullmatch(
            rf"host-{browser.base_url.port}=\S+; HttpOnly; Path=/; SameSite=lax", cookie
        )
        assert TOKEN not in cookie
        assert (await browser.get("/")).status_code == 200
        assert (await browser.get("/api/sessions")).status_code == 200
        call = (await browser.post("/api/calls", json={})).json()
        visit = await browser.get(call["link"])
        assert (visit.status_code, visit.headers["location"]) == (303, f"/calls/{call['room']}")
        assert "set-cookie" not in visit.headers, "the host stays the host"
        shown = (await browser.get(f"/api/calls/{call['room']}")).json()["link"]
    async with httpx.AsyncClient(base_url=closed.http.base_url) as guest:
        cookie = (await guest.get(shown)).headers["set-cookie"]
        assert "; HttpOnly; Max-Age=86400; Path=/; SameSite=lax" in cookie
        proxied = {"Host": "emotions.example.org"}
        cookie = (await closed.http.get(shown, headers=proxied)).headers["set-cookie"]
        closed.http.cookies.clear()
        assert cookie.endswith("; Secure")


@pytest.mark.parametrize("path", ["/?token=wrong", "/", "/calls/x?token=wrong", "/calls/x"])
async def test_a_wrong_link_leads_to_a_page_that_says_so(closed: Client, path: str) -> None:
    page = await closed.http.get(path, headers={"Accept": "text/html,*/*"})
    assert page.status_code == 401
    assert "Open the link you were given" in page.text
    assert "set-cookie" not in page.headers
    told = await closed.http.get(path)
    assert told.headers["www-authenticate"] == "Bearer"
    assert told.json()["error"]["code"] == "unauthorized"


async def test_a_link_is_good_for_its_call_and_its_time(closed: Client) -> None:
    keys: Keys = closed.app.state.keys
    one, other = keys.link("one"), keys.link("other")
    foreign = f"{one.partition('=')[0]}={other.partition('=')[2]}"
    sealed = keys._fernet.encrypt_at_time(b"join one", round(time.time()) - keys.guest_s - 100)
    for link in (foreign, f"/calls/one?token={sealed.decode()}"):
        assert (await closed.http.get(link)).status_code == 401
    assert (await closed.http.get(one)).status_code == 303
    closed.http.cookies.clear()


async def test_a_socket_may_send_its_token_first(closed: Client) -> None:
    async with closed.connect("/api/ingest") as socket:
        await socket.send(json.dumps({"type": "auth", "token": TOKEN}))
        await socket.send('{"type": "start"}')
        assert json.loads(await socket.recv())["type"] == "started"
    for first in ('{"type": "auth", "token": "wrong"}', '{"type": "start"}', b"\x00", "[" * 1000):
        async with closed.connect("/api/ingest") as socket:
            await socket.send(first)
            assert json.loads(await socket.recv())["error"]["code"] == "unauthorized"
            await socket.wait_closed()
            assert socket.close_code == 1008
    async with closed.connect("/api/calls/x/events"):
        pass  # and goes without a word


async def test_an_open_server_asks_for_nothing(opened: Client) -> None:
    call = (await opened.http.post("/api/calls", json={})).json()
    assert call["link"] == f"/calls/{call['room']}"
    assert (await opened.http.get(f"{call['link']}?token=x")).status_code == 200
    server = await opened.json("/api/server")
    assert (server["recording"], server["keep_days"]) == (False, None)


# --- from where ---


@pytest.mark.parametrize(
    ("origin", "good"),
    [
        (None, True),
        ("http://{host}", True),
        ("HTTPS://emotions.example.org", True),
        ("http://proxy.example:8080", True),
        ("https://{host}", False),
        ("http://emotions.example.org", False),
        ("http://127.0.0.1", False),
        ("https://evil.example", False),
        ("http://{host}.evil.example", False),
        ("http://{host}@evil.example", False),
        ("null", False),
        ("", False),
        ("http://[", False),
    ],
)
async def test_pages_of_other_servers_change_nothing(
    closed: Client, origin: str | None, good: bool
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    if origin is not None:
        headers["Origin"] = origin.format(host=closed.http.base_url.netloc.decode())
    made = await closed.http.post("/api/calls", json={}, headers=headers)
    assert made.status_code == (201 if good else 403)
    assert good or made.json()["error"]["code"] == "foreign_origin"
    assert (await closed.http.get("/api/calls", headers=headers)).status_code == 200
    address = f"ws://{closed.http.base_url.netloc.decode()}/api/ingest"
    async with websockets.connect(address, additional_headers=headers) as socket:
        with suppress(websockets.ConnectionClosed):  # refused already
            await socket.send('{"type": "start"}')
        told = json.loads(await socket.recv())
        assert told["type"] == "started" if good else told["error"]["code"] == "foreign_origin"


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("127.0.0.1:1", True),
        ("localhost:8000", True),
        ("LOCALHOST", True),
        ("[::1]:8000", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("192.168.0.1", False),
        ("[", False),
        ("", False),
    ],
)
async def test_an_open_server_answers_to_this_computers_names_alone(
    opened: Client, host: str, good: bool
) -> None:
    answer = await opened.http.get("/api/server", headers={"Host": host})
    assert answer.status_code == (200 if good else 403), answer.text
    assert good or answer.json()["error"]["code"] == "foreign_host"


async def test_a_socket_by_another_name_is_refused(opened: Client) -> None:
    port = opened.http.base_url.port
    address = f"ws://evil.example:{port}/api/ingest"
    async with websockets.connect(address, host="127.0.0.1", port=port) as socket:
        assert json.loads(await socket.recv())["error"]["code"] == "foreign_host"


# --- how often ---


async def test_an_address_may_begin_so_many_a_minute_and_guess_so_often() -> None:
    settings = ServerSettings(token=TOKEN, limits=Limits(max_joins=1))
    host = {"Authorization": f"Bearer {TOKEN}"}
    with loading() as load:
        async with serving(settings, load) as client:
            await client.http.get(f"/?token={TOKEN}")
            assert (await client.http.post("/api/calls", json={})).status_code == 201
            late = await client.http.post("/whip", content="v=0", headers=SDP)
            assert (late.status_code, late.json()["error"]["code"]) == (429, "too_many")
            assert 1 <= int(late.headers["retry-after"]) <= 60
            address = f"ws://127.0.0.1:{client.http.base_url.port}/api/ingest"
            async with websockets.connect(address, additional_headers=host) as socket:
                assert json.loads(await socket.recv())["error"]["code"] == "too_many"
                await socket.wait_closed()
                assert socket.close_code == 1013
            assert (await client.http.get("/api/calls")).status_code == 200

            async with httpx.AsyncClient(base_url=client.http.base_url) as other:
                wrong = {"Authorization": "Bearer wrong"}
                assert (await other.get("/api/calls", headers=wrong)).status_code == 401
                for token in (wrong, host):  # neither is looked at
                    late = await other.get("/api/calls", headers=token)
                    assert (late.status_code, late.json()["error"]["code"]) == (429, "too_many")
                assert (await other.get(f"/?token={TOKEN}")).status_code == 429
                assert (await other.get("/api/calls")).status_code == 401
            assert (await client.http.get("/api/calls")).status_code == 200, "who is in, stays in"


async def test_a_request_is_no_bigger_than_it_needs_to_be(opened: Client) -> None:
    big = b" " * 1_100_000

    async def pieces() -> AsyncIterator[bytes]:
        yield big

    kind = {"Content-Type": "application/json"}
    for path in ("/api/calls", "/api/sessions", "/api/sessions/x/pause"):
        for body in (big, pieces()):
            told = await opened.error("POST", path, content=body, headers=kind)
            assert told[:2] == (413, "too_big")


# --- headers ---


async def test_every_answer_is_guarded(opened: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    call = (await opened.http.post("/api/calls", json={})).json()
    pages = ["/", call["link"], "/api/docs", "/calls/nowhere"]
    data = [
        "/api/server",
        "/static/dashboard/app.js",
        "/nowhere",
        "/api/sessions/nowhere",
        "/openapi.json",
    ]
    report = f"/api/calls/{call['room']}/report.html"
    policies = {}
    for path in (*pages, *data, report):
        headers = (await opened.http.get(path)).headers
        policies[path] = headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["permissions-policy"].startswith("camera=(self), microphone=(self)")
        assert policies[path].count("default-src 'none'") == 1
        assert "frame-ancestors 'none'; base-uri 'none'" in policies[path]
    assert {policies[path] for path in pages[1:]} == {
        policies["/"].replace("style-src 'self' 'unsafe-inline'", "style-src 'self'")
    }
    assert len({policies[path] for path in data}) == 1
    assert "script-src 'self';" in policies["/"]
    assert "script-src" not in policies["/api/server"]
    assert policies[report].startswith("sandbox allow-scripts;")
    with monkeypatch.context() as broken:
        broken.setattr(opened.hub, "settings", None)
        failed = await opened.http.get("/api/server")
    assert failed.status_code == 500
    assert failed.headers["content-security-policy"] == policies["/api/server"]


# --- paths ---


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A folder that may be opened, beside files that may not."""
    for name in ("media/talk.mp4", "media2/talk.mp4", "secret.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "media" / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    (tmp_path / "media" / "in.mp4").symlink_to(tmp_path / "media" / "talk.mp4")
    (tmp_path / "media" / "up").symlink_to(tmp_path)
    (tmp_path / "media" / "loop").symlink_to(tmp_path / "media" / "loop")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "leads_to"),
    [
        ("{}/media/talk.mp4", "{}/media/talk.mp4"),
        ("{}/media/in.mp4", "{}/media/talk.mp4"),
        ("{}/media2/../media/talk.mp4", "{}/media/talk.mp4"),
        ("webcam:{}/media/talk.mp4", "webcam:{}/media/talk.mp4"),
        ("{}/media/out.mp4", None),
        ("{}/media/../secret.mp4", None),
        ("{}/media/up/secret.mp4", None),
        ("{}/media2/talk.mp4", None),
        ("{}/secret.mp4", None),
        ("{}/media/loop/talk.mp4", None),
        ("webcam:{}/secret.mp4", None),
        ("webcam:file://{}/secret.mp4", None),
        ("webcam:rtsp://192.0.2.1/1", None),
        ("web/app.py", None),
        ("nul\0l", None),
        ("a" * 10_000, None),
    ],
)
async def test_a_client_names_files_of_allowed_folders_alone(
    folders: Path, source: str, leads_to: str | None
) -> None:
    settings = ServerSettings(allow_paths=(folders / "media",))
    named = source.format(folders)
    if leads_to is not None:
        assert check_path(settings, named) == leads_to.format(folders)
        return
    for asked in (settings, ServerSettings()):
        with pytest.raises(ApiError) as refused:
            check_path(asked, named)
        assert (refused.value.status, refused.value.code) == (403, "paths_not_allowed")


@pytest.mark.parametrize(
    "source", ["webcam", "webcam:1", "webcam:Logitech", "http://x.example/a", "rtsp://x.example/1"]
)
async def test_what_is_no_file_needs_no_folder(source: str) -> None:
    assert check_path(ServerSettings(), source) == source


async def test_a_path_over_http_is_refused_whether_or_not_it_is_there(opened: Client) -> None:
    for path in (sys.executable, "/nowhere/talk.mp4"):
        told = await opened.error("POST", "/api/sessions", json={"source": path})
        assert told[:2] == (403, "paths_not_allowed")
        assert "--allow-paths FOLDER" in told[2]
    assert (await opened.error("POST", "/api/sessions", json={"source": "file:///etc/hosts"}))[
        :2
    ] == (400, "unreadable_source")


def _loads_nothing() -> Any:
    raise UsageError("no models are needed here")
