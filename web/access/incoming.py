"""What a client sends on a WebSocket, message by message, and how much it may.

In: a WebSocket. Out: its messages, or the `ApiError` that ends the conversation.
"""

from __future__ import annotations

import asyncio
import time
from typing import NoReturn

from fastapi import WebSocket, WebSocketDisconnect

from web.errors import ApiError
from web.settings import Limits

BURST_S = 5.0
"""A client may be ahead of a rate by what it allows in so many seconds."""


class Allowance:
    """A rate that holds in the long run: a token bucket, full at first.

    Args:
        per_s: how many each second allows.
    """

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._left = self._most = per_s * BURST_S
        self._filled_at_s = 0.0

    def take(self, now_s: float) -> bool:
        """Whether one more is allowed at `now_s`, on a clock that begins at 0."""
        gained = self._per_s * max(0.0, now_s - self._filled_at_s)
        self._filled_at_s = max(now_s, self._filled_at_s)
        self._left = min(self._most, self._left + gained)
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Incoming:
    """The messages of one client, at most `Limits.max_message_rate` a second."""

    def __init__(self, socket: WebSocket, limits: Limits) -> None:
        self._socket = socket
        self._rate = limits.max_message_rate
        self._allowance = Allowance(self._rate)
        self._began = time.monotonic()

    async def next(self, within_s: float | None = None, *, media_s: float = 0.0) -> bytes | str:
        """The next message.

        Args:
            within_s: how long it may take.
            media_s: how much media the client has sent so far. A recording may be sent as fast as
                it is analysed: a second of it allows as many messages as a second of time.

        Raises:
            ApiError: none came in time, or too many come.
            WebSocketDisconnect: the client has gone.
        """
        try:
            message = await asyncio.wait_for(self._socket.receive(), within_s)
        except asyncio.TimeoutError:
            raise ApiError(408, "idle", f"nothing came for {within_s:g} s") from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        if not self._allowance.take(max(time.monotonic() - self._began, media_s)):
            raise ApiError(
                400, "too_fast", f"at most {self._rate} messages a second are taken: send fewer"
            )
        content: bytes | str | None = message.get("bytes")
        return message["text"] if content is None else content

    async def ignore(self) -> NoReturn:
        """Take what a client sends that has nothing to say, until it goes."""
        while True:
            await self.next()
