"""All peer connections of this server: who publishes, and who watches whom.

In: SDP offers. Out: sessions of what the publishers send, and their media to viewers.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from web.access.keys import Guest
from web.calls.rooms import Calls
from web.errors import ApiError
from web.sessions.ended import Kind
from web.sessions.hosted import Hosted
from web.sessions.hub import Hub
from web.webrtc.connection import Publisher, Viewer, first_of

logger = logging.getLogger(__name__)

MAX_CONNECTING = 16
"""Guests of one call whose connection is being made, which takes about a second, at once."""


class Peers:
    """The publishers and viewers of this server."""

    def __init__(self, hub: Hub, calls: Calls) -> None:
        self._hub = hub
        self._calls = calls
        self._limits = hub.settings.limits
        self._publishers: dict[str, Publisher] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Close all connections; sessions that still run get no more media. Idempotent."""
        for publisher in self._publishers.values():
            publisher.gone.set()  # and with it, its viewers
        await asyncio.gather(*self._tasks)

    async def publish(
        self, offer: str, *, room: str | None, name: str, guest: Guest | None, address: str
    ) -> tuple[Hosted, str]:
        """Begin a session of what the sender of `offer` sends; gives it, and our answer.

        A guest is in one place at a time: what they published before ends.

        Args:
            guest: who sends it, to their room; None: the host.
            address: from which it came.
        """
        owner = guest.owner if guest else None
        self._admit(room, guest)
        await self._hub.admit(owner)  # rather than after a connection has begun
        settings = self._hub.settings
        kind: Kind = "camera" if room is None else "call"
        alone = settings.alone or kind == "call"
        publisher = Publisher(settings, name or "camera", owner, address=address, alone=alone)
        try:
            answer = await publisher.accept(offer)
            self._admit(room, guest)  # others may have come meanwhile
            hosted = await self._hub.begin(
                publisher.source,
                kind=kind,
                name=name,
                room=room,
                owner=owner,
                connecting=owner is not None and not self._is_in(room, owner),
            )
        except BaseException:
            await publisher.close()
            raise
        if owner is not None:
            for other in self._publishers.values():
                if other.owner == owner:
                    other.hosted.dismiss()
            self._make_way(room)
        publisher.hosted = hosted
        self._publishers[hosted.id] = publisher
        self._spawn(self._keep_publisher(publisher, guest))
        return hosted, answer

    async def watch(self, id: str, offer: str, *, owner: str | None = None) -> tuple[str, str]:
        """Send the media of session `id` to the sender of `offer`; its own id, and our answer.

        Args:
            owner: the guest who watches; None: the host.
        """
        publisher = self.publisher(id)
        watching = None  # how the others see a guest
        if owner is not None:
            watching = self._present(publisher.hosted.room, owner)
            await watching.flowing()
        await publisher.flowing()
        viewers = publisher.viewers.values()
        if owner is not None:
            before = [viewer for viewer in viewers if viewer.owner == owner]
            for viewer in before:  # each guest has one place; a page may have lost its connection
                viewer.gone.set()
            full = len(before) > 1
        else:
            full = sum(viewer.owner is None for viewer in viewers) >= self._limits.max_viewers
        if full:
            raise ApiError(503, "full", f"as many watch session {id} as may: try again")
        viewer = Viewer(self._hub.settings, publisher, owner)
        viewer_id = uuid.uuid4().hex[:12]
        publisher.viewers[viewer_id] = viewer  # from now on it counts
        try:
            answer = await viewer.accept(offer)
        except BaseException:
            del publisher.viewers[viewer_id]
            await viewer.close()
            raise
        self._spawn(self._keep_viewer(publisher, viewer_id, watching))
        return viewer_id, answer

    def _admit(self, room: str | None, guest: Guest | None) -> None:
        """Do nothing if one more may publish, else raise the `ApiError` that says why not.

        Guests do not take the host's places; those whose connection is not made take nobody's.
        """
        if room is None:
            return
        if guest is None:
            self._calls.get(room)
            others = [h for h in self._calls.present(room) if h.owner is None]
        else:
            self._calls.let_in(guest)
            present = self._calls.present(room)
            others = [h for h in present if h.owner not in (None, guest.owner)]
        most = self._limits.max_participants
        if len(others) >= most:
            raise ApiError(
                503, "full", f"{most} people are in this call, as many as may: wait for one to go"
            )

    def _make_way(self, room: str | None) -> None:
        """Let go of a guest who is connecting, if there are as many in the call as may be.

        It is who has taken longest, of the address from which most came: whoever makes guests of
        one link by the dozen pushes out their own. Those of other calls are not concerned.
        """
        waiting = [
            publisher
            for publisher in self._publishers.values()
            if publisher.hosted.room == room
            and publisher.owner is not None
            and not (publisher.connected.is_set() or publisher.hosted.over)
        ]
        if len(waiting) >= MAX_CONNECTING:
            address = Counter(publisher.address for publisher in waiting).most_common(1)[0][0]
            oldest = next(publisher for publisher in waiting if publisher.address == address)
            oldest.hosted.dismiss()

    def _is_in(self, room: str | None, owner: str) -> bool:
        """Whether a guest is in a call: they stay in it when they come again, as a page does whose
        network has changed, and not when that, too, never connects."""
        return any(
            publisher.came_in and not publisher.hosted.over
            for publisher in self._publishers.values()
            if (publisher.hosted.room, publisher.owner) == (room, owner)
        )

    def _present(self, room: str | None, owner: str) -> Publisher:
        """What a guest publishes in a call, also while that connects; `ApiError` without any."""
        for publisher in self._publishers.values():
            hosted = publisher.hosted
            if (hosted.room, hosted.owner) == (room, owner) and not hosted.over:
                return publisher
        raise ApiError(403, "not_joined", "join the call: who sees the others is seen by them")

    def publisher(self, id: str) -> Publisher:
        """Who publishes session `id`; `ApiError` if nobody does."""
        self._hub.get(id)
        try:
            return self._publishers[id]
        except KeyError:
            raise ApiError(
                404, "not_published", f"nobody publishes session {id} now: there is no media of it"
            ) from None

    def viewer(self, id: str, viewer_id: str) -> Viewer:
        """One viewer of session `id`; `ApiError` if there is none of that id."""
        try:
            return self.publisher(id).viewers[viewer_id]
        except KeyError:
            raise ApiError(
                404, "unknown_viewer", f"session {id} has no viewer {viewer_id}: it may have gone"
            ) from None

    async def _keep_publisher(self, publisher: Publisher, guest: Guest | None) -> None:
        entering = asyncio.create_task(self._enter(publisher, guest))
        try:
            await publisher.live()
        finally:
            entering.cancel()
            await asyncio.gather(entering, return_exceptions=True)
            hosted = publisher.hosted
            del self._publishers[hosted.id]
            if (
                guest is not None and not publisher.came_in
            ):  # the host is told in the session why not
                with suppress(ApiError):  # it is forgotten already, or as soon as it can be
                    await self._hub.forget(hosted.id)

    async def _enter(self, publisher: Publisher, guest: Guest | None) -> None:
        """Give a guest a place as soon as they are connected, if they still may have one."""
        await publisher.connected.wait()
        hosted = publisher.hosted
        try:
            if guest is not None:
                self._admit(hosted.room, guest)
                await self._hub.admit(hosted.owner)
            hosted.connecting = False
        except ApiError as error:
            logger.info("%s: %s", publisher.name, error.message)
            hosted.dismiss()

    async def _keep_viewer(
        self, publisher: Publisher, viewer_id: str, watching: Publisher | None
    ) -> None:
        viewer = publisher.viewers[viewer_id]
        by_host = watching is None
        publisher.hosted.watchers += by_host
        try:
            ends = [viewer.gone, publisher.closed]
            if watching is not None:
                ends += [watching.hosted.ended, watching.hosted.dismissed, watching.closed]
            await first_of(*ends)
            await viewer.close()
        finally:
            publisher.hosted.watchers -= by_host
            del publisher.viewers[viewer_id]

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
