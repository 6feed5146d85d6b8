"""The events of a session on a WebSocket.

In: the number of the last event the client has. Out: all after it, one JSON message each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Annotated, Any, NoReturn

from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect

from web.access.incoming import Incoming
from web.errors import ApiError, refuse
from web.sessions.hosted import wire
from web.sessions.hub import AnySession, Hub


def routes(hub: Hub) -> APIRouter:
    """The route ``/api/sessions/{id}/events``."""
    router = APIRouter()

    @router.websocket("/api/sessions/{id}/events")
    async def events(socket: WebSocket, id: str, after: Annotated[int, Query(ge=0)] = 0) -> None:
        await socket.accept()
        incoming = Incoming(socket, hub.settings.limits)
        with suppress(WebSocketDisconnect):
            try:
                await converse(socket, hub.get(id), after, incoming.ignore())
            except ApiError as error:
                await refuse(socket, error)

    return router


async def converse(
    socket: WebSocket, hosted: AnySession, after: int, hearing: Coroutine[Any, Any, NoReturn]
) -> None:
    """Send the events of `hosted` while `hearing` takes what the client sends.

    Ends, and closes the socket, after the session's last event; raises what `hearing` raises.
    """

    async def tell() -> None:
        async for seq, event in hosted.follow(after):
            await socket.send_text(wire(seq, event))
            await asyncio.sleep(0)  # a socket that takes all at once would leave others no time

    tasks = {asyncio.create_task(tell()), asyncio.create_task(hearing)}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        await socket.close()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
