"""The one error of the HTTP and WebSocket interfaces, and the form every error takes there.

In: what went wrong. Out: `{"error": {"code", "message"}}` with its HTTP status.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError


class ApiError(Exception):
    """A request that cannot be answered as asked.

    Args:
        status: the HTTP status.
        code: stable, for programs: ``unknown_session``, ``too_big``, ``full``, ...
        message: one line for a person: what is wrong, and what to do.
        headers: of the answer over HTTP.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = " ".join(message.split())  # one line, whatever a client had put into it
        self.headers = headers

    def to_json(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"error": {"code": self.code, "message": self.message}}


def invalid(error: ValidationError | RequestValidationError) -> ApiError:
    """What is said of input of the wrong form: where the first mistake is, and which."""
    problem = error.errors()[0]
    where = ".".join(str(step) for step in problem["loc"]) or "the whole"
    return ApiError(422, "invalid_request", f"{where}: {problem['msg']}")


async def refuse(socket: WebSocket, error: ApiError) -> None:
    """Say on an accepted WebSocket what is wrong, and close it with the code that fits."""
    with suppress(WebSocketDisconnect):
        await socket.send_json(error.to_json())
        await socket.close(_CLOSE_CODES.get(error.status, 1008), error.code)


_CLOSE_CODES = {413: 1009, 429: 1013, 503: 1013}
"""By HTTP status: the message is too big; try again later. All else is against the rules: 1008."""
