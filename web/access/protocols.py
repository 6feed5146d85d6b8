"""uvicorn's protocols, one object for each connection, with what a stranger may not do.

In: bytes. Out: as uvicorn has it; but who is slow, or sends pings without reading, is cut off.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from web.access.incoming import Allowance
from web.access.keys import Host
from web.access.places import Place, Standing

PIECE_BYTES = 4096
"""Of a WebSocket, so much is parsed at once. One read brings up to 256 KiB: 43,000 pings, which
would be answered before anybody saw that they are too many."""


class HttpProtocol(H11Protocol):
    """A connection whose requests must come within `request_s`, and which has a place.

    Args:
        place: which it holds until it is lost.
        request_s: how long it may take, from its beginning or from the last answer, until the head
            of the next request is there. What is left of the body of a request that has its answer
            already must have come by then, too.
        rest: see `H11Protocol`.
    """

    def __init__(self, *, place: Place, request_s: float, **rest: Any) -> None:
        super().__init__(**rest)
        self._place = place
        self._request_s = request_s
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def standing(self) -> Standing:
        """Whose request is under way; between two requests it is nobody's."""
        return _standing(self.scope) if self._answering else Standing.STRANGER

    def drop(self) -> None:
        """Close it at once, whatever is still to be sent."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._place.holder = self
        self._hurry()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        super().connection_lost(exc)
        self._place.leave()
        self._wait_no_longer()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        super().data_received(data)
        if self._answering:
            self._wait_no_longer()

    def on_response_complete(self) -> None:
        """See `H11Protocol`."""
        super().on_response_complete()
        if not self._answering:  # the next request, which had come already
            self._hurry()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """See `H11Protocol`."""
        self._wait_no_longer()
        super().handle_websocket_upgrade(event)
        protocol = self.transport.get_protocol()
        assert isinstance(protocol, WebSocketProtocol)
        self._place.holder = protocol
        protocol.place = self._place

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _hurry(self) -> None:
        self._wait_no_longer()
        self._deadline = self.loop.call_later(self._request_s, self.drop)

    def _wait_no_longer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket that is not read while its client does not read, and whose pings are counted.

    Attributes:
        max_frame_rate: how many pings, pongs and parts of messages it takes a second, in the long
            run; see `limited_to`. Whole messages are counted where they are read.
        place: which it holds until it is lost.
    """

    max_frame_rate: int
    place: Place

    def __init__(self, *arguments: Any, **rest: Any) -> None:
        super().__init__(*arguments, **rest)
        self._allowance = Allowance(self.max_frame_rate)
        self._began = self.loop.time()

    @classmethod
    def limited_to(cls, max_frame_rate: int) -> type[WebSocketProtocol]:
        """This class for `uvicorn.Config`, which takes a class without arguments."""
        limited = type(cls.__name__, (cls,), {"max_frame_rate": max_frame_rate})
        return cast("type[WebSocketProtocol]", limited)

    @property
    def standing(self) -> Standing:
        """Whose it is; while it closes, nobody's."""
        return Standing.STRANGER if self.close_sent else _standing(self.scope)

    def drop(self) -> None:
        """Close it at once, whatever is still to be sent."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        super().connection_lost(exc)
        self.place.leave()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        for start in range(0, len(data), PIECE_BYTES):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + PIECE_BYTES])

    # While what is sent does not go, nothing is read: each ping that is read is another pong to
    # send, and those of a client that reads nothing would fill the memory (+313 MB in 40 s).

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()

    async def receive(self) -> Any:
        """See `WebSocketsSansIOProtocol`, which resumes reading here."""
        message = await super().receive()
        if not self.writable.is_set():
            self.transport.pause_reading()
        return message

    def handle_ping(self) -> None:
        """See `WebSocketsSansIOProtocol`."""
        if self._take_frame():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        """See `WebSocketsSansIOProtocol`."""
        if self._take_frame():
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        """See `WebSocketsSansIOProtocol`."""
        if event.fin or self._take_frame():
            super().handle_cont(event)

    def _take_frame(self) -> bool:
        """Whether one more may come; else the connection is closed."""
        if self.close_sent or self.transport.is_closing():
            return False
        if self._allowance.take(self.loop.time() - self._began):
            return True
        self.conn.fail(1008, "too_fast")
        self.handle_parser_exception()
        return False


def _standing(scope: Any) -> Standing:
    """Of whom the gate has let in, and left there."""
    caller = scope["state"].get("caller")
    if caller is None:
        return Standing.STRANGER
    return Standing.HOST if isinstance(caller, Host) else Standing.GUEST
