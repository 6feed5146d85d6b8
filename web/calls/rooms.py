"""Calls: rooms in which people see and hear each other, each analysed in a session of their own.

In: the sessions that publishers began for a room (`POST /whip?room=`). Out: who is there, and who
comes, goes and changes. Nobody's media is ever mixed with another's.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from typing_extensions import NotRequired, TypedDict  # pydantic, which documents it, wants these

from web.access.keys import Guest
from web.errors import ApiError
from web.sessions.ended import Session
from web.sessions.hosted import Hosted
from web.sessions.hub import Hub
from web.sessions.pausing import Who

LOOK_S = 0.5
"""How often a follower of a room looks who is there. Sessions come, end, pause and are forgotten
in many ways; looking misses none of them, and costs nothing."""


def _some_name() -> str:
    return secrets.token_urlsafe(9)


@dataclass(slots=True)
class Call:
    """One room.

    Attributes:
        name: of the host, who is the one that analyses.
        room: its name, which nobody can guess.
        link: the number of the link that lets people in now; those before it let in nobody.
        removed: the guests whom the host has removed.
        entered: the guests who were in the call when its link was last renewed, and may stay.
    """

    name: str
    room: str = field(default_factory=_some_name)
    link: str = field(default_factory=_some_name)
    removed: set[str] = field(default_factory=set)
    entered: set[str] = field(default_factory=set)


class Change(TypedDict):
    """What is told of a room: ``participant.joined``, ``.left`` or ``.changed`` (its state), with
    the `session`; or ``host.changed``, with whether the host is `watching` now."""

    type: str
    session: NotRequired[Session]
    watching: NotRequired[bool]


class Calls:
    """The rooms of this server."""

    def __init__(self, hub: Hub) -> None:
        self.limits = hub.settings.limits
        self._hub = hub
        self._calls: dict[str, Call] = {}
        self._over: dict[str, Call] = {}  # the last that were ended

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
        call = Call(name)
        self._calls[call.room] = call
        return call

    def get(self, room: str) -> Call:
        """The call in `room`; `ApiError` if there is none, or it is over."""
        if room in self._over:
            raise ApiError(410, "call_ended", "the host has ended this call")
        return self.find(room)

    def find(self, room: str) -> Call:
        """The call in `room`, also if it is over; `ApiError` if there is none."""
        call = self._calls.get(room) or self._over.get(room)
        if call is None:
            raise ApiError(
                404, "unknown_room", f"there is no call {room}: ask its host for a new link"
            )
        return call

    def let_in(self, guest: Guest) -> None:
        """Do nothing if the guest may be in their call, else raise the `ApiError` that says why."""
        call = self.get(guest.room)
        if guest.owner in call.removed:
            raise ApiError(403, "removed", "the host has removed you from this call")
        if guest.link != call.link and guest.owner not in call.entered:
            raise ApiError(
                403, "old_link", "the host has made a new link to this call: ask for that one"
            )

    def end(self, room: str) -> None:
        """End a call: everybody leaves, and no link to it is good any more."""
        self.get(room)
        for hosted in self.hosted(room):
            hosted.dismiss()
        self._over[room] = self._calls.pop(room)
        if len(self._over) > self.limits.max_rooms:
            del self._over[next(iter(self._over))]

    def renew_link(self, room: str) -> Call:
        """Make the links that were given out bad; who is in the call now stays."""
        call = self.get(room)
        call.link = _some_name()
        call.entered = {hosted.owner for hosted in self.present(room) if hosted.owner is not None}
        return call

    def remove(self, room: str, id: str) -> None:
        """Have whoever publishes session `id` leave the call; a guest may not come back.

        The link is renewed, as by that which let them in they would come back with another browser.

        Raises:
            ApiError: no such session is, or was, in the call.
        """
        call = self.get(room)
        found = next((hosted for hosted in self.hosted(room) if hosted.id == id), None)
        if found is None:
            raise ApiError(
                404, "unknown_participant", f"session {id} is not of this call: see who is in it"
            )
        if found.owner is not None:
            call.removed.add(found.owner)
        for hosted in self.hosted(room):
            if hosted is found or (found.owner is not None and hosted.owner == found.owner):
                hosted.dismiss()
        self.renew_link(room)

    def all(self) -> list[Call]:
        """All calls, newest first."""
        return list(reversed(self._calls.values()))

    def hosted(self, room: str) -> list[Hosted]:
        """The sessions of all who are in the room, were, or are connecting, as they came."""
        return [hosted for hosted in self._hub.sessions.values() if hosted.room == room]

    def present(self, room: str) -> list[Hosted]:
        """The sessions of all who are in the room now."""
        return [hosted for hosted in self.hosted(room) if not (hosted.over or hosted.connecting)]

    def sees(self, room: str, guest: Guest | None) -> bool:
        """Whether somebody may know who is in the room now: a guest who is in it; the host (None)
        always."""
        return guest is None or any(hosted.owner == guest.owner for hosted in self.present(room))

    def watched(self, room: str) -> bool:
        """Whether the host sees, hears or reads anybody in the room now."""
        return any(hosted.watchers for hosted in self.present(room))

    async def follow(self, room: str, guest: Guest | None) -> AsyncIterator[Change]:
        """First, who is there; then who comes, goes and changes. Endless.

        A guest who is not in the room, yet or any more, is told of nobody new.

        Args:
            guest: who follows; None: the host.

        Raises:
            ApiError: the call is over, or the guest may not be in it any more.
        """
        known: dict[str, Session] = {}
        watching = False
        while True:
            if guest is None:
                self.get(room)
            else:
                self.let_in(guest)
            sees = self.sees(room, guest)
            present = [hosted for hosted in self.present(room) if sees or hosted.id in known]
            there = {hosted.id: hosted.to_json() for hosted in present}
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
            if watching != self.watched(room):
                watching = not watching
                yield {"type": "host.changed", "watching": watching}
            await asyncio.sleep(LOOK_S)


def _state(session: Session) -> tuple[str, list[Who]]:
    return session["state"], session["paused_by"]
