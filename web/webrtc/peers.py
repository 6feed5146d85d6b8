"""All peer connections of this server: who publishes, and who watches whom.

In: SDP offers. Out: sessions of what the publishers send, and their media to viewers.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine
from typing import Any

from web.calls.rooms import Calls
from web.errors import ApiError
from web.sessions.ended import Kind
from web.sessions.hosted import Hosted
from web.sessions.hub import Hub
from web.webrtc.connection import Publisher, Viewer, first_of


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
        self, offer: str, *, room: str | None, name: str, owner: str | None = None
    ) -> tuple[Hosted, str]:
        """Begin a session of what the sender of `offer` sends; gives it, and our answer.

        Args:
            owner: the guest who sends it; None: the host.
        """
        if room is not None:
            self._calls.admit(room)
        await self._hub.admit()  # rather than after a connection has begun
        settings = self._hub.settings
        kind: Kind = "camera" if room is None else "call"
        alone = settings.alone or kind == "call"
        publisher = Publisher(settings, name or "camera", alone=alone)
        try:
            answer = await publisher.accept(offer)
            if room is not None:
                self._calls.admit(room)  # others may have come meanwhile
            hosted = await self._hub.begin(
                publisher.source, kind=kind, name=name, room=room, owner=owner
            )
        except BaseException:
            await publisher.close()
            raise
        self._publishers[hosted.id] = publisher
        self._spawn(self._keep_publisher(publisher, hosted))
        return hosted, answer

    async def watch(self, id: str, offer: str, *, owner: str | None = None) -> tuple[str, str]:
        """Send the media of session `id` to the sender of `offer`; its own id, and our answer.

        Args:
            owner: the guest who watches; None: the host.
        """
        publisher = self.publisher(id)
        await publisher.flowing()
        most = self._limits.max_viewers
        if len(publisher.viewers) >= most:
            raise ApiError(503, "full", f"{most} watch session {id}, as many as may: try again")
        viewer = Viewer(self._hub.settings, publisher, owner)
        viewer_id = uuid.uuid4().hex[:12]
        publisher.viewers[viewer_id] = viewer  # from now on it counts
        try:
            answer = await viewer.accept(offer)
        except BaseException:
            del publisher.viewers[viewer_id]
            await viewer.close()
            raise
        self._spawn(self._keep_viewer(publisher, viewer_id))
        return viewer_id, answer

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

    async def _keep_publisher(self, publisher: Publisher, hosted: Hosted) -> None:
        try:
            await publisher.live(hosted)
        finally:
            del self._publishers[hosted.id]

    async def _keep_viewer(self, publisher: Publisher, viewer_id: str) -> None:
        viewer = publisher.viewers[viewer_id]
        try:
            await first_of(viewer.gone, publisher.closed)
            await viewer.close()
        finally:
            del publisher.viewers[viewer_id]

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
