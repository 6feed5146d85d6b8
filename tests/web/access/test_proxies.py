"""Whose address and scheme count when a proxy stands in front of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from party import TOKEN
from web_client import Client, loading, serving

from web.settings import Limits, ServerSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

RIGHT = {"Authorization": f"Bearer {TOKEN}"}
WRONG = {"Authorization": "Bearer wrong"}


def behind(*addresses: str, proto: str = "http") -> dict[str, str]:
    return {"X-Forwarded-For": ", ".join(addresses), "X-Forwarded-Proto": proto}


@pytest_asyncio.fixture(loop_scope="module", params=[("127.0.0.1",), ("10.0.0.0/8", "127.0.0.0/8")])
async def proxied(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """Of a server that believes a proxy at 127.0.0.1."""
    limits = Limits(max_joins=2, max_connections_per_address=8)
    settings = ServerSettings(token=TOKEN, trusted_proxies=request.param, limits=limits)
    with loading() as load:
        async with serving(settings, load) as client:
            yield client


@pytest_asyncio.fixture(loop_scope="module")
async def direct() -> AsyncIterator[Client]:
    """Of a server that believes no proxy."""
    with loading() as load:
        async with serving(ServerSettings(token=TOKEN, limits=Limits(max_joins=2)), load) as client:
            yield client


async def status(client: Client, *headers: dict[str, str]) -> int:
    both = {name: value for each in headers for name, value in each.items()}
    return (await client.http.get("/api/calls", headers=both)).status_code


async def test_a_right_token_passes_always_and_wrong_ones_are_limited(direct: Client) -> None:
    assert [await status(direct, WRONG) for _ in range(4)] == [401, 401, 429, 429]
    assert await status(direct, RIGHT) == 200
    assert (await direct.http.get(f"/?token={TOKEN}")).status_code == 303
    direct.http.cookies.clear()
    async with direct.connect("/api/calls/x/events") as socket:
        await socket.send(f'{{"type": "auth", "token": "{TOKEN}"}}')
        assert "unauthorized" not in str(await socket.recv())


async def test_the_rightmost_address_that_is_no_proxy_counts(proxied: Client) -> None:
    one, other = behind("198.51.100.1"), behind("198.51.100.2")
    assert [await status(proxied, WRONG, one) for _ in range(3)] == [401, 401, 429]
    assert await status(proxied, WRONG, other) == 401
    # What stands further left the client may have made up.
    assert await status(proxied, WRONG, behind("203.0.113.9", "198.51.100.1")) == 429
    assert await status(proxied, WRONG, behind("198.51.100.1", "127.0.0.1")) == 429
    assert await status(proxied, WRONG, behind("198.51.100.1", "203.0.113.9")) == 401
    assert await status(proxied, RIGHT, one) == 200


async def test_sessions_and_calls_go_by_the_real_address_too(proxied: Client) -> None:
    async def begin(address: str) -> int:
        headers = RIGHT | behind(address)
        return (await proxied.http.post("/api/calls", json={}, headers=headers)).status_code

    assert [await begin("198.51.100.1") for _ in range(3)] == [201, 201, 429]
    assert await begin("198.51.100.2") == 201


async def test_nobody_else_is_believed(direct: Client) -> None:
    told = [await status(direct, WRONG, behind(f"198.51.100.{number}")) for number in range(4)]
    assert told == [401, 401, 429, 429]
    entered = await direct.http.get(f"/?token={TOKEN}", headers=behind("192.0.2.1", proto="https"))
    assert "Secure" not in entered.headers["set-cookie"]
    direct.http.cookies.clear()


async def test_the_scheme_is_the_proxys(proxied: Client) -> None:
    secure = behind("192.0.2.1", proto="https")
    entered = await proxied.http.get(f"/?token={TOKEN}", headers=secure)
    assert entered.headers["set-cookie"].endswith("; Secure")
    proxied.http.cookies.clear()
    origin = {"Origin": f"https://{proxied.http.base_url.netloc.decode()}"}
    for headers, expected in ((secure, 201), (behind("192.0.2.1"), 403)):
        headers = RIGHT | origin | headers
        assert (
            await proxied.http.post("/api/calls", json={}, headers=headers)
        ).status_code == expected


async def test_connections_are_counted_by_the_real_address(proxied: Client) -> None:
    """Eight may be open, and the host's; the proxy has as many as it has clients for."""
    async with AsyncExitStack() as open:
        for address in ("198.51.100.1", "198.51.100.2"):
            for _ in range(8):
                await open.enter_async_context(
                    proxied.connect("/api/calls/x/events", behind(address))
                )
            assert await status(proxied, WRONG, behind(address)) == 429
            assert await status(proxied, RIGHT, behind(address)) == 200
            entered = await proxied.http.get(f"/?token={TOKEN}", headers=behind(address))
            assert entered.status_code == 303
            assert await status(proxied, behind(address)) == 200
            proxied.http.cookies.clear()
            assert await status(proxied, behind(address)) == 429
            async with proxied.connect("/api/calls/x/events", behind(address)) as socket:
                assert "too_many" in str(await socket.recv())
        assert await status(proxied, WRONG, behind("198.51.100.3")) == 401
    assert await status(proxied, behind("198.51.100.1")) == 401
