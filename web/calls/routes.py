"""Calls over HTTP: make one, look who is in it, remove somebody, end it; and a WebSocket of who
comes and goes.

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
from web.access.keys import Keys, sending_guest
from web.calls.rooms import Call, Calls
from web.errors import ApiError, refuse
from web.sessions.ended import Session


class NewCall(BaseModel):
    """Who calls."""

    name: Annotated[str, Field(max_length=80)] = ""


class CallCreated(TypedDict):
    """A call, and the path by which others come to its page from now on, with what lets them in."""

    room: str
    name: str
    link: str


class CallState(TypedDict):
    """A call, who is in it, and whether the host is `watching` now; for its host, too, a path by
    which others may join from now on. Who is in it, the host knows, and guests while they are."""

    room: str
    name: str
    link: str | None
    watching: bool
    participants: list[Session] | None


class CallList(TypedDict):
    """All calls, newest first."""

    calls: list[CallState]


def routes(calls: Calls, keys: Keys) -> APIRouter:
    """The routes under ``/api/calls``."""
    router = APIRouter(prefix="/api/calls", tags=["calls"])

    def state(call: Call, request: Request) -> CallState:
        guest = sending_guest(request)
        present = [hosted.to_json() for hosted in calls.present(call.room)]
        return {
            "room": call.room,
            "name": call.name,
            "link": keys.link(call.room, call.link) if guest is None else None,
            "watching": calls.watched(call.room),
            "participants": present if calls.sees(call.room, guest) else None,
        }

    def created(call: Call) -> CallCreated:
        link = keys.link(call.room, call.link)
        return {"room": call.room, "name": call.name, "link": link}

    @router.post("", status_code=201)
    async def create(response: Response, new: NewCall | None = None) -> CallCreated:
        """Make a room; whoever gets its link may join, as long as the link is good."""
        call = calls.create((new or NewCall()).name)
        response.headers["Location"] = f"/api/calls/{call.room}"
        return created(call)

    @router.get("")
    async def list_calls(request: Request) -> CallList:
        """All calls, newest first."""
        return {"calls": [state(call, request) for call in calls.all()]}

    @router.get("/{room}")
    async def get(request: Request, room: str) -> CallState:
        """One call, and who is in it now."""
        return state(calls.get(room), request)

    @router.delete("/{room}", status_code=204)
    async def end(room: str) -> None:
        """End a call: everybody leaves, and its link is dead. What was found is kept."""
        calls.end(room)

    @router.post("/{room}/link", status_code=201)
    async def renew_link(room: str) -> CallCreated:
        """A new link, in place of those given out so far. Who is in the call stays."""
        return created(calls.renew_link(room))

    @router.delete("/{room}/participants/{id}", status_code=204)
    async def remove(room: str, id: str) -> None:
        """Have whoever publishes session `id` leave, for the rest of the call: they cannot come
        back with their cookie, and nobody can join by the links given out so far. Who is in the
        call stays. `GET /api/calls/ROOM` gives the new link."""
        calls.remove(room, id)

    @router.websocket("/{room}/events")
    async def events(socket: WebSocket, room: str) -> None:
        await socket.accept()
        guest = sending_guest(socket)

        async def tell() -> None:
            async for change in calls.follow(room, guest):
                await socket.send_json(change)

        tasks = [
            asyncio.create_task(tell()),
            asyncio.create_task(Incoming(socket, calls.limits).ignore()),
        ]
        try:
            with suppress(WebSocketDisconnect):
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        except ApiError as error:
            await refuse(socket, error)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return router
