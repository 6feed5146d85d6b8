"""How many requests of one address, or of one guest, may be under way.

In: requests. Out: the same, or 429.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from fastapi.requests import HTTPConnection
from fastapi.responses import JSONResponse
from fastapi.websockets import WebSocket
from starlette.types import ASGIApp, Receive, Scope, Send

from web.access.keys import Guest, Overlay
from web.access.rates import group_of
from web.errors import ApiError, refuse


class Crowds:
    """ASGI middleware that counts requests and WebSockets by whose they are.

    Args:
        most: how many of one may be under way.
        of: tells whose a request is; None: of somebody who is not counted.
        whose: that in words.
    """

    def __init__(
        self,
        app: ASGIApp,
        most: int,
        of: Callable[[HTTPConnection], str | None],
        whose: str,
    ) -> None:
        self._app = app
        self._most = most
        self._of = of
        self._whose = whose
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        one = None if scope["type"] == "lifespan" else self._of(HTTPConnection(scope))
        if one is None:
            await self._app(scope, receive, send)
            return
        if self._under_way[one] >= self._most:
            await self._turn_away(scope, receive, send)
            return
        self._under_way[one] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way[one] -= 1
            if not self._under_way[one]:
                del self._under_way[one]

    async def _turn_away(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = f"too many requests {self._whose} are under way: wait, or close some pages"
        error = ApiError(429, "too_many", message)
        if scope["type"] == "http":
            await JSONResponse(error.to_json(), error.status)(scope, receive, send)
        else:
            socket = WebSocket(scope, receive, send)
            await socket.accept()
            await refuse(socket, error)


def address_of(request: HTTPConnection) -> str:
    """Where it comes from, by whichever proxy. Who comes by none has no more connections than may
    be of one address anyway."""
    return group_of(request.client.host) if request.client else ""


def guest_of(request: HTTPConnection) -> str | None:
    """The guest, or the overlay, who sends it, as far as the gate has told."""
    caller = getattr(request.state, "caller", None)
    return caller.owner if isinstance(caller, Guest | Overlay) else None
