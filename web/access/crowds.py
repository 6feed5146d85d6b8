"""How many requests of one address may be under way, whichever proxy they come by.

In: requests. Out: the same, or 429. Whoever comes by no proxy has no more connections than that.
"""

from __future__ import annotations

from collections import Counter

from fastapi.requests import HTTPConnection
from fastapi.responses import JSONResponse
from fastapi.websockets import WebSocket
from starlette.types import ASGIApp, Receive, Scope, Send

from web.access.rates import group_of
from web.errors import ApiError, refuse


class Crowds:
    """ASGI middleware that counts requests and WebSockets by the address of their client.

    Args:
        most: how many of one address may be under way.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        client = HTTPConnection(scope).client
        address = group_of(client.host) if client else ""
        if self._under_way[address] >= self._most:
            await _turn_away(scope, receive, send)
            return
        self._under_way[address] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way[address] -= 1
            if not self._under_way[address]:
                del self._under_way[address]


async def _turn_away(scope: Scope, receive: Receive, send: Send) -> None:
    error = ApiError(429, "too_many", "too many requests of your address are under way: wait")
    if scope["type"] == "http":
        await JSONResponse(error.to_json(), error.status)(scope, receive, send)
    else:
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        await refuse(socket, error)
