"""How one gets in, and from where: links, cookies, tokens, origins, rates, headers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

import httpx
import pytest
import websockets
from party import TOKEN
from web_client import Client, hosted, loading, serving
from webrtc_client import SDP

from realtime.events import SpeechStarted
from web.access.keys import Keys
from web.settings import Limits, ServerSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")


# --- how one gets in ---


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


async def test_an_overlay_reads_its_session_and_nothing_else(closed: Client) -> None:
    session, other = hosted(closed), hosted(closed)
    as_host = {"Authorization": f"Bearer {TOKEN}"}
    told = await closed.http.get(f"/api/sessions/{session.id}/overlay", headers=as_host)
    address = httpx.URL(told.json()["path"])
    assert address.path == f"/overlay/{session.id}"
    assert TOKEN not in str(address)
    as_overlay = {"Authorization": f"Bearer {address.params['token']}"}
    async with httpx.AsyncClient(base_url=closed.http.base_url) as obs:
        page = await obs.get(address)
        assert page.status_code == 200
        assert "set-cookie" not in page.headers
        assert (await obs.get(f"/api/sessions/{session.id}")).status_code == 401
        obs.headers.update(as_overlay)
        assert (await obs.get(f"/api/sessions/{session.id}")).json()["id"] == session.id
        for method, path in (
            ("GET", f"/api/sessions/{other.id}"),
            ("GET", "/api/sessions"),
            ("GET", f"/api/sessions/{session.id}/results.json"),
            ("GET", f"/api/sessions/{session.id}/overlay"),
            ("GET", "/api/server"),
            ("POST", f"/api/sessions/{session.id}/stop"),
            ("DELETE", f"/api/sessions/{session.id}"),
        ):
            answer = await obs.request(method, path)
            assert answer.status_code == 403, path
            assert answer.json()["error"]["code"] == "forbidden"
        # It is no token for the page of the host, either.
        entered = await obs.get("/", params={"token": address.params["token"]})
        assert entered.status_code == 401
    for id, code in ((session.id, None), (other.id, "forbidden")):
        async with closed.connect(f"/api/sessions/{id}/events") as feed:
            token = address.params["token"]
            await feed.send(json.dumps({"type": "auth", "token": token}))
            if code is None:
                session.record(SpeechStarted(session=session.id, time=1.0))
                assert json.loads(await feed.recv())["type"] == "speech.started"
            else:
                assert json.loads(await feed.recv())["error"]["code"] == code


@pytest.mark.parametrize(
    "path",
    [
        "/?token=wrong",
        "/",
        "/calls/x?token=wrong",
        "/calls/x",
    ],
)
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
    host = {"Authorization": f"Bearer {TOKEN}"}
    calls = [(await closed.http.post("/api/calls", headers=host)).json() for _ in range(2)]
    one, other = (call["link"] for call in calls)
    foreign = f"{one.partition('=')[0]}={other.partition('=')[2]}"
    words = f"join {calls[0]['room']} {closed.app.state.rooms.get(calls[0]['room']).link}"
    sealed = keys._fernet.encrypt_at_time(words.encode(), round(time.time()) - keys.guest_s - 100)
    for link in (foreign, f"{one.partition('=')[0]}={sealed.decode()}"):
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


async def test_guests_of_a_call_begin_nothing_at_the_cost_of_others_at_their_address() -> None:
    settings = ServerSettings(token=TOKEN, limits=Limits(max_joins=2))
    host = {"Authorization": f"Bearer {TOKEN}"}
    with loading() as load:
        async with serving(settings, load) as client:
            begin = partial(client.http.post, "/api/calls", json={}, headers=host)
            call = (await begin()).json()

            async def knock(call: dict[str, str]) -> int:
                async with httpx.AsyncClient(base_url=client.http.base_url) as guest:
                    await guest.get(call["link"])
                    path = f"/whip?room={call['room']}"
                    return (await guest.post(path, content="v=0", headers=SDP)).status_code

            assert [await knock(call) for _ in range(3)] == [400, 400, 429]
            other = (await begin()).json()
            assert await knock(other) == 400


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
                late = await other.get("/api/calls", headers=wrong)
                assert (late.status_code, late.json()["error"]["code"]) == (429, "too_many")
                assert (await other.get("/calls/x?token=wrong")).status_code == 429
                assert (await other.get("/api/calls")).status_code == 401
                # Behind a proxy, the wrong ones may be somebody else's.
                assert (await other.get("/api/calls", headers=host)).status_code == 200
                assert (await other.get(f"/?token={TOKEN}")).status_code == 303
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
    assert {policies[path] for path in pages} == {policies["/"]}
    assert "unsafe" not in policies["/"]
    assert len({policies[path] for path in data}) == 1
    assert "script-src 'self';" in policies["/"]
    assert "script-src" not in policies["/api/server"]
    assert policies[report].startswith("sandbox allow-scripts;")
    with monkeypatch.context() as broken:
        broken.setattr(opened.hub, "settings", None)
        failed = await opened.http.get("/api/server")
    assert failed.status_code == 500
    assert failed.headers["content-security-policy"] == policies["/api/server"]
