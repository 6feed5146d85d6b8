"""Headers by which browsers guard the pages, and what they show, from other pages.

In: responses. Out: the same, each with its headers.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(self), microphone=(self), display-capture=(self), geolocation=()"
    ),
}

_FRAMED_BY_NOBODY = "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

_DATA_POLICY = f"default-src 'none'; {_FRAMED_BY_NOBODY}"

# 'self' of connect-src takes in the WebSockets of the same address.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    f"media-src 'self' blob:; connect-src 'self'; {_FRAMED_BY_NOBODY}"
)

_REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    f"style-src 'unsafe-inline'; img-src data: blob:; {_FRAMED_BY_NOBODY}"
)
"""The report carries its scripts in itself. It may run them, as a page of nowhere: without our
cookies, and without a way to any server."""


class SecurityHeaders:
    """ASGI middleware that adds them to every HTTP response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_ALWAYS)
                headers["Content-Security-Policy"] = _policy(scope["path"], headers)
            await send(message)

        await self._app(scope, receive, send_guarded if scope["type"] == "http" else send)


def _policy(path: str, headers: MutableHeaders) -> str:
    if not headers.get("content-type", "").startswith("text/html"):
        return _DATA_POLICY
    if path.endswith("/report.html"):
        return _REPORT_POLICY
    return _PAGE_POLICY
