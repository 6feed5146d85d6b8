"""Calls: rooms in which people see and hear each other, each analysed in a session of their own.

In: the sessions that publishers began for a room (`POST /whip?room=`). Out: who is there, and who
comes, goes and changes. Nobody's media is ever mixed with another's.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from typing_extensions import TypedDict  # pydantic, which documents it, wants this one

from web.errors import ApiError
from web.sessions.ended import Session
from web.sessions.hosted import Hosted
from web.sessions.hub import Hub

LOOK_S = 0.5
"""How often a follower of a room looks who is there. Sessions come, end, pause and are forgotten
in many ways; looking misses none of them, and costs nothing."""


@dataclass(frozen=True, slots=True)
class Call:
    """One room.

    Attributes:
        room: its name, which nobody can guess.
        name: of the host, who is the one that analyses.
    """

    room: str
    name: str


class Change(TypedDict):
    """What is told of a room: ``participant.joined``, ``.left`` or ``.changed`` (its state)."""

    type: str
    session: Session


class Calls:
    """The rooms of this server."""

    def __init__(self, hub: Hub) -> None:
        self.limits = hub.settings.limits
        self._hub = hub
        self._calls: dict[str, Call] = {}

    def create(self, name: str) -> Call:
        """A new room; nobody is in it.

        Raises:
            ApiError: there are as many as may be, and in each of them is somebody.
        """
        if len(self._calls) >= self.limits.max_rooms:
            empty = (room for room in self._calls if not self.present(room))
            if (oldest := next(empty, None)) is None:
                raise ApiError(
                    503, "full", f"{len(self._calls)} calls are held, as many as may: end one"
                )
            del self._calls[oldest]
        call = Call(room=secrets.token_urlsafe(9), name=name)
        self._calls[call.room] = call
        return call

    def get(self, room: str) -> Call:
        """The call in `room`; `ApiError` if there is none."""
        try:
            return self._calls[room]
        except KeyError:
            raise ApiError(
                404, "unknown_room", f"there is no call {room}: ask its host for a new link"
            ) from None

    def admit(self, room: str) -> None:
        """Do nothing if one more may join the room, else raise the `ApiError` that says why not."""
        self.get(room)
        most = self.limits.max_participants
        if len(self.present(room)) >= most:
            raise ApiError(
                503,
                "full",
                f"{most} people are in this call, as many as may: wait for one to go",
            )

    def all(self) -> list[Call]:
        """All calls, newest first."""
        return list(reversed(self._calls.values()))

    def hosted(self, room: str) -> list[Hosted]:
        """The sessions of all who are in the room, or were, in the order they came."""
        return [hosted for hosted in self._hub.sessions.values() if hosted.room == room]

    def present(self, room: str) -> list[Hosted]:
        """The sessions of all who are in the room now."""
        return [hosted for hosted in self.hosted(room) if hosted.state != "ended"]

    async def follow(self, room: str) -> AsyncIterator[Change]:
        """First, who is there; then who comes, goes and changes. Endless."""
        known: dict[str, Session] = {}
        while True:
            there = {hosted.id: hosted.to_json() for hosted in self.present(room)}
            for id, session in there.items():
                before = known.get(id)
                if before is None:
                    yield {"type": "participant.joined", "session": session}
                elif _state(before) != _state(session):
                    yield {"type": "participant.changed", "session": session}
            for id in known.keys() - there.keys():
                last = self._hub.sessions.get(id)  # None: forgotten, with all it found
                session = last.to_json() if last else {**known[id], "state": "ended"}
                yield {"type": "participant.left", "session": session}
            known = there
            await asyncio.sleep(LOOK_S)


def _state(session: Session) -> tuple[str, bool]:
    return session["state"], session["paused"]
