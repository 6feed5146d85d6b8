"""Calls over HTTP: make one, look who is in it, and a WebSocket of who comes and goes.

In: requests. Out: JSON; for the host, the link by which others join.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Request, Response, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field
from typing_extensions import TypedDict  # pydantic, which documents it, wants this one

from web.access.incoming import Incoming
from web.access.keys import Host, Keys, caller_of
from web.calls.rooms import Call, Calls
from web.errors import ApiError, refuse
from web.sessions.ended import Session


class NewCall(BaseModel):
    """Who calls."""

    name: Annotated[str, Field(max_length=80)] = ""


class CallCreated(TypedDict):
    """A new call, and the path by which others come to its page, with what lets them in."""

    room: str
    name: str
    link: str


class CallState(TypedDict):
    """A call, and who is in it; for its host, too, a path by which others may join from now on."""

    room: str
    name: str
    link: str | None
    participants: list[Session]


class CallList(TypedDict):
    """All calls, newest first."""

    calls: list[CallState]


def routes(calls: Calls, keys: Keys) -> APIRouter:
    """The routes under ``/api/calls``."""
    router = APIRouter(prefix="/api/calls", tags=["calls"])

    def state(call: Call, request: Request) -> CallState:
        is_host = isinstance(caller_of(request), Host)
        return {
            "room": call.room,
            "name": call.name,
            "link": keys.link(call.room) if is_host else None,
            "participants": [hosted.to_json() for hosted in calls.present(call.room)],
        }

    @router.post("", status_code=201)
    async def create(response: Response, new: NewCall | None = None) -> CallCreated:
        """Make a room; whoever gets its link may join, as long as the link is good."""
        call = calls.create((new or NewCall()).name)
        response.headers["Location"] = f"/api/calls/{call.room}"
        return {"room": call.room, "name": call.name, "link": keys.link(call.room)}

    @router.get("")
    async def list_calls(request: Request) -> CallList:
        """All calls, newest first."""
        return {"calls": [state(call, request) for call in calls.all()]}

    @router.get("/{room}")
    async def get(request: Request, room: str) -> CallState:
        """One call, and who is in it now."""
        return state(calls.get(room), request)

    @router.websocket("/{room}/events")
    async def events(socket: WebSocket, room: str) -> None:
        await socket.accept()
        incoming = Incoming(socket, calls.limits)
        try:
            calls.get(room)
        except ApiError as error:
            await refuse(socket, error)
            return

        async def tell() -> None:
            async for change in calls.follow(room):
                await socket.send_json(change)

        telling = asyncio.create_task(tell())
        try:
            with suppress(WebSocketDisconnect):
                await incoming.ignore()
        except ApiError as error:
            await refuse(socket, error)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    return router
