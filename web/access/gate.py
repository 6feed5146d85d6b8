"""The gate before every route: who may pass, how often, and from which pages.

In: requests as they come. Out: the same, with who sent them; or a refusal. A route that is not
named here is for the host alone.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum, auto
from typing import Literal, Protocol
from urllib.parse import urlencode, urlsplit

from fastapi.requests import HTTPConnection
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from pydantic import BaseModel, ValidationError
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.access.bodies import bounded, hurried
from web.access.keys import (
    ERASE_TOKEN,
    Caller,
    Guest,
    Host,
    Keys,
    Overlay,
    bearer,
    cookie_name,
)
from web.access.pages import plain_page
from web.access.rates import Rate, group_of
from web.errors import ApiError, refuse
from web.settings import ServerSettings, is_loopback, origin_of

AUTH_S = 10.0
"""How long a WebSocket that came without a token may take to send one."""


class Right(Enum):
    """Who may use a route, beside the host."""

    PUBLIC = auto()
    """Everybody."""
    GUEST = auto()
    """Every guest."""
    ROOM = auto()
    """Guests of the call `room`, which the path or the query names."""
    SESSION_OF_ROOM = auto()
    """Guests of the call to which session `id` belongs."""
    OWN_SESSION = auto()
    """The guest who publishes session `id`, or did."""
    ERASE = auto()
    """Likewise; also by the header `ERASE_TOKEN`, without a cookie."""
    OWN_VIEWER = auto()
    """The guest who watches session `id` as `viewer`."""
    OVERLAY = auto()
    """The overlay of session `id`."""


RIGHTS: Mapping[tuple[str, str], Right] = {
    ("GET", "/healthz"): Right.PUBLIC,
    ("GET", "/static/{path:path}"): Right.PUBLIC,
    ("GET", "/overlay/{id}"): Right.PUBLIC,  # of which the page alone tells nothing
    ("GET", "/api/sessions/{id}"): Right.OVERLAY,
    ("WEBSOCKET", "/api/sessions/{id}/events"): Right.OVERLAY,
    ("GET", "/api/server"): Right.GUEST,
    ("GET", "/calls/{room}"): Right.ROOM,
    ("GET", "/api/calls/{room}"): Right.ROOM,
    ("WEBSOCKET", "/api/calls/{room}/events"): Right.ROOM,
    ("POST", "/whip"): Right.ROOM,
    ("PATCH", "/whip/{id}"): Right.OWN_SESSION,
    ("DELETE", "/whip/{id}"): Right.OWN_SESSION,
    ("POST", "/whep/{id}"): Right.SESSION_OF_ROOM,
    ("PATCH", "/whep/{id}/{viewer}"): Right.OWN_VIEWER,
    ("DELETE", "/whep/{id}/{viewer}"): Right.OWN_VIEWER,
    ("POST", "/api/sessions/{id}/pause"): Right.OWN_SESSION,
    ("DELETE", "/api/sessions/{id}"): Right.ERASE,
}

JOINS = {
    ("POST", "/whip"),
    ("POST", "/api/sessions"),
    ("POST", "/api/calls"),
    ("WEBSOCKET", "/api/ingest"),
}
"""Where sessions and calls begin: how often one address may, is limited; guests' by call."""

_PATTERNS = [(method, compile_path(path)[0], right) for (method, path), right in RIGHTS.items()]

_CALL_PAGE = compile_path("/calls/{room}")[0]


class Entry(Protocol):
    """A session or a viewer, as far as the gate must know it."""

    owner: str | None
    """The guest whose it is; None: the host's."""


class SessionEntry(Entry, Protocol):
    """A session, as far as the gate must know it."""

    room: str | None
    """The call to which it belongs."""


class Auth(BaseModel):
    """The first message on a WebSocket whose handshake could not carry the token."""

    type: Literal["auth"]
    token: str


class Gate:
    """ASGI middleware that lets through what may pass, and leaves its sender in `state.caller`.

    Args:
        session: finds one by its id, or raises `ApiError`.
        viewer: likewise, by the id of the session that it watches and its own.
        let_in: raises the `ApiError` that says why a guest may not be in their call.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: ServerSettings,
        keys: Keys,
        session: Callable[[str], SessionEntry],
        viewer: Callable[[str, str], Entry],
        let_in: Callable[[Guest], None],
    ) -> None:
        self._app = app
        self._keys = keys
        self._session = session
        self._viewer = viewer
        self._let_in = let_in
        self._origins = {origin_of(origin) for origin in settings.origins}
        self._joins = Rate(settings.limits.max_joins)
        self._wrong_tokens = Rate(settings.limits.max_joins)
        self._limits = settings.limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] == "http":
            await self._request(HTTPConnection(scope), receive, send)
        elif scope["type"] == "websocket":
            await self._socket(WebSocket(scope, receive, send), receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, request: HTTPConnection, receive: Receive, send: Send) -> None:
        try:
            self._check_addresses(request)
            answer = self._enter(request)
            if answer is None and _right(request)[0] is not Right.PUBLIC:
                self._admit(request, self._caller(request))
        except ApiError as error:
            answer = _refusal(request, error)
        if answer is not None:
            await answer(request.scope, receive, send)
            return
        upload = request.headers.get("content-type", "").startswith("multipart/")
        if (_method(request), request.scope["path"], upload) == ("POST", "/api/sessions", True):
            receive = hurried(receive, self._limits.idle_s, math.inf)
        else:
            most = 1024 * max(self._limits.max_message_kb, self._limits.max_sdp_kb)
            receive = hurried(bounded(receive, most), math.inf, self._limits.request_s)
        await self._app(request.scope, receive, send)

    async def _socket(self, socket: WebSocket, receive: Receive, send: Send) -> None:
        with suppress(WebSocketDisconnect):
            try:
                self._check_addresses(socket)
                caller = self._caller(socket)
                if caller is None:
                    await socket.accept()
                    caller = await self._introduced(socket)
                    receive, send = _accepted(receive, send)
                self._admit(socket, caller)
            except ApiError as error:
                if socket.application_state is WebSocketState.CONNECTING:
                    await socket.accept()
                await refuse(socket, error)
                return
            await self._app(socket.scope, receive, send)

    # --- from which page ---

    def _check_addresses(self, request: HTTPConnection) -> None:
        """Refuse what other pages have a browser send here; `ApiError` says so."""
        host = request.headers.get("host", "")
        if self._keys.open and not _is_this_computer(host):
            # A page elsewhere can let its own name lead here, and then ask as if it were ours.
            raise ApiError(
                403,
                "foreign_host",
                "without a token this server answers to localhost and 127.0.0.1 alone",
            )
        origin = request.headers.get("origin")
        if origin is None or _method(request) in ("GET", "HEAD"):
            return  # no browser, or nothing that changes anything
        scheme = request.scope["scheme"].replace("ws", "http")
        if origin_of(origin) not in {origin_of(f"{scheme}://{host}"), *self._origins} - {None}:
            raise ApiError(403, "foreign_origin", "a page of another server may not ask this here")

    # --- who ---

    def _enter(self, request: HTTPConnection) -> Response | None:
        """The answer to a link that lets somebody in: a cookie, and the page without the token.

        `ApiError` if it lets nobody in; None if the request is for something else.
        """
        path, token = request.scope["path"], request.query_params.get("token")
        call = _CALL_PAGE.match(path)
        if self._keys.open or token is None or _method(request) != "GET":
            return None
        if path != "/" and not call:
            return None
        rest = [pair for pair in request.query_params.multi_items() if pair[0] != "token"]
        answer = RedirectResponse(f"{path}?{urlencode(rest)}" if rest else path, 303)
        answer.headers["Cache-Control"] = "no-store"
        known = self._keys.by_cookie(request)
        if isinstance(known, Host):
            return answer
        caller: Host | Guest
        if call is None:
            caller = self._host_by_token(request, token)
        else:
            link = self._keys.invited(token, call["room"])
            if known and known.room == call["room"] and link in (None, known.link):
                return answer
            if link is None:
                raise self._wrong(request, "this link is not whole, or too old: ask for a new one")
            # What a browser published in one call stays its own when it enters another.
            secret = known.secret if known else secrets.token_urlsafe(18)
            caller = Guest(secret, call["room"], link)
            self._let_in(caller)
        answer.set_cookie(
            cookie_name(request, type(caller)),
            self._keys.cookie(caller),
            max_age=self._keys.guest_s if isinstance(caller, Guest) else None,
            secure=request.scope["scheme"] == "https" or self._is_proxied_https(request),
            httponly=True,
            # Not strict: whoever comes from a link on another page, as a mail program shows it,
            # would be sent on without the cookie. Other pages can change nothing: see above.
            samesite="lax",
        )
        return answer

    def _caller(self, request: HTTPConnection) -> Caller | None:
        """Who sends this, if it tells; `ApiError` if it brings a wrong token."""
        if self._keys.open:
            return Host()
        token = bearer(request)
        return self._keys.by_cookie(request) if token is None else self._by_token(request, token)

    def _by_token(self, request: HTTPConnection, token: str) -> Host | Overlay:
        return self._keys.overlay_of(token) or self._host_by_token(request, token)

    def _host_by_token(self, request: HTTPConnection, token: str) -> Host:
        if not self._keys.is_token(token):
            raise self._wrong(request, "this token is wrong: take the one that was printed")
        return Host()

    async def _introduced(self, socket: WebSocket) -> Caller:
        """Who sends a token as the first message; `ApiError` if that is not what comes."""
        try:
            message = await asyncio.wait_for(socket.receive(), AUTH_S)
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"])
            token = Auth.model_validate_json(message.get("text") or "").token
        except (asyncio.TimeoutError, ValidationError):
            raise self._wrong(socket, _WHO_ARE_YOU) from None
        return self._by_token(socket, token)

    def _wrong(self, request: HTTPConnection, message: str) -> ApiError:
        """What is said to a wrong token. A right one is let in however many wrong ones came from
        its address, which may be a proxy's: of 16 characters or more, none is ever guessed."""
        address = _address(request)
        if wait_s := self._wrong_tokens.wait_s(address):
            return _too_many(wait_s, "wrong tokens came")
        self._wrong_tokens.take(address)
        return _unauthorized(message)

    def _is_proxied_https(self, request: HTTPConnection) -> bool:
        return origin_of(f"https://{request.headers.get('host', '')}") in self._origins

    # --- what they may ---

    def _admit(self, request: HTTPConnection, caller: Caller | None) -> None:
        """Let `caller` do what is asked, or raise the `ApiError` that says why not."""
        secret = request.headers.get(ERASE_TOKEN)
        if secret and not isinstance(caller, Host) and _right(request)[0] is Right.ERASE:
            caller = Guest(secret, room="", link="")
        if caller is None:
            raise _unauthorized(_WHO_ARE_YOU)
        if isinstance(caller, Guest) and not self._may(caller, request):
            raise ApiError(403, "forbidden", "guests of a call may not do this")
        if isinstance(caller, Overlay) and not _may_read(caller, request):
            raise ApiError(403, "forbidden", "an overlay may read its session, and nothing else")
        if (_method(request), request.scope["path"]) in JOINS:
            address = _address(request)
            if isinstance(caller, Guest):
                # Of what comes by one proxy, a call uses up neither the host's nor another call's.
                address = f"{group_of(address)} {caller.room}"
            if wait_s := self._joins.wait_s(address):
                raise _too_many(wait_s, "sessions and calls were begun")
            self._joins.take(address)
        request.state.caller = caller

    def _may(self, guest: Guest, request: HTTPConnection) -> bool:
        right, of = _right(request)
        match right:
            case Right.PUBLIC | Right.GUEST:
                return True
            case Right.ROOM | Right.SESSION_OF_ROOM:
                named = right is Right.ROOM
                if (of.get("room") if named else self._session(of["id"]).room) != guest.room:
                    return False
                self._let_in(guest)
                return True
            case Right.OWN_SESSION | Right.ERASE:
                return self._session(of["id"]).owner == guest.owner
            case Right.OWN_VIEWER:
                return self._viewer(of["id"], of["viewer"]).owner == guest.owner
            case Right.OVERLAY | None:
                return False


def _may_read(overlay: Overlay, request: HTTPConnection) -> bool:
    right, of = _right(request)
    return right is Right.OVERLAY and of["id"] == overlay.session


def _right(request: HTTPConnection) -> tuple[Right | None, Mapping[str, str]]:
    """Whom the route is for, beside the host; and what its path and its query name."""
    method = _method(request).replace("HEAD", "GET")
    for of, pattern, right in _PATTERNS:
        if of == method and (match := pattern.match(request.scope["path"])):
            return right, {**request.query_params, **match.groupdict()}
    return None, {}


_WHO_ARE_YOU = (
    "open the link that the server printed when it started or, to join a call, the link you were "
    "sent; a program sends the header Authorization: Bearer TOKEN"
)


def _method(request: HTTPConnection) -> str:
    return str(request.scope.get("method", "WEBSOCKET"))


def _address(request: HTTPConnection) -> str:
    return request.client.host if request.client else ""


def _is_this_computer(host: str) -> bool:
    """Whether a Host header names it as only this computer can."""
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, "unauthorized", message, {"WWW-Authenticate": "Bearer"})


def _too_many(wait_s: float, what: str) -> ApiError:
    seconds = math.ceil(wait_s)
    return ApiError(
        429,
        "too_many",
        f"too many {what} from your address: try again in {seconds} s",
        {"Retry-After": str(seconds)},
    )


def _refusal(request: HTTPConnection, error: ApiError) -> Response:
    """The answer that says why not, for a person or for a program."""
    if "text/html" in request.headers.get("accept", ""):
        title = _PAGES.get(error.code)
        if title is not None:
            return HTMLResponse(plain_page(title, error.message), error.status)
        if error.status in (401, 403):
            return HTMLResponse(plain_page(*_NOT_LET_IN), error.status, error.headers)
    return JSONResponse(error.to_json(), error.status, error.headers)


def _accepted(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """For a route that is going to accept a WebSocket that was accepted already."""
    first: list[Message] = [{"type": "websocket.connect"}]

    async def receive_again() -> Message:
        return first.pop() if first else await receive()

    async def send_on(message: Message) -> None:
        if message["type"] != "websocket.accept":
            await send(message)

    return receive_again, send_on


_NOT_LET_IN = (
    "Open the link you were given",
    "This server lets in whoever comes by a link: the one that it printed when it started or, for "
    "a call, the one that its host sent you. Perhaps yours is not whole, or too old. Ask for a new "
    "one.",
)

_PAGES = {
    "call_ended": "This call is over",
    "unknown_room": "There is no such call",
    "removed": "You were removed from this call",
    "old_link": "This link is no longer good",
}
"""By the code of an error: the title of its page."""
