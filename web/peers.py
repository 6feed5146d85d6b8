"""All peer connections: publishers by WHIP (RFC 9725), viewers by WHEP.

In: SDP offers over HTTP. Out: sessions of what the publishers send, and their media to viewers.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from web.access import Caller, Guest, caller_of
from web.calls import Calls
from web.errors import ApiError
from web.hub import Hosted, Hub
from web.kept import Kind
from web.peer import Peer, Publisher, Viewer, first_of
from web.settings import IceServer, ServerSettings

SDP = "application/sdp"
SDP_FRAGMENT = "application/trickle-ice-sdpfrag"


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
        publisher = Publisher(self._hub.settings, name or "camera")
        try:
            answer = await publisher.accept(offer)
            if room is not None:
                self._calls.admit(room)  # others may have come meanwhile
            kind: Kind = "camera" if room is None else "call"
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


def routes(peers: Peers, settings: ServerSettings) -> APIRouter:
    """The routes under ``/whip`` and ``/whep``."""
    router = APIRouter(tags=["WebRTC"])
    links = ", ".join(link for server in settings.ice_servers for link in _links(server))
    max_kb = settings.limits.max_sdp_kb

    def created(answer: str, location: str) -> Response:
        headers = {"Location": location, "Accept-Patch": SDP_FRAGMENT}
        if links:
            headers["Link"] = links
        return Response(answer, 201, headers, SDP)

    async def release(peer: Peer) -> Response:
        peer.gone.set()
        await peer.closed.wait()
        return Response()

    @router.post("/whip", status_code=201)
    async def publish(
        request: Request,
        room: str | None = None,
        name: Annotated[str, Query(max_length=80)] = "",
    ) -> Response:
        """Publish by WHIP: an SDP offer in, an answer out; `Location` names the session."""
        offer = await _body(request, SDP, max_kb)
        owner = _owner(caller_of(request))
        hosted, answer = await peers.publish(offer, room=room, name=name, owner=owner)
        return created(answer, f"/whip/{hosted.id}")

    @router.patch("/whip/{id}", status_code=204)
    async def trickle(request: Request, id: str) -> None:
        """More ICE candidates of a publisher."""
        await peers.publisher(id).trickle(await _body(request, SDP_FRAGMENT, max_kb))

    @router.delete("/whip/{id}")
    async def unpublish(id: str) -> Response:
        """Publish no more; the session ends, and what it found is kept."""
        return await release(peers.publisher(id))

    @router.post("/whep/{id}", status_code=201)
    async def watch(request: Request, id: str) -> Response:
        """Watch a session by WHEP: an SDP offer in, an answer out; `Location` names the viewer."""
        offer = await _body(request, SDP, max_kb)
        viewer_id, answer = await peers.watch(id, offer, owner=_owner(caller_of(request)))
        return created(answer, f"/whep/{id}/{viewer_id}")

    @router.patch("/whep/{id}/{viewer}", status_code=204)
    async def trickle_viewer(request: Request, id: str, viewer: str) -> None:
        """More ICE candidates of a viewer."""
        await peers.viewer(id, viewer).trickle(await _body(request, SDP_FRAGMENT, max_kb))

    @router.delete("/whep/{id}/{viewer}")
    async def unwatch(id: str, viewer: str) -> Response:
        """Watch no more."""
        return await release(peers.viewer(id, viewer))

    return router


def _owner(caller: Caller) -> str | None:
    return caller.id if isinstance(caller, Guest) else None


async def _body(request: Request, media_type: str, max_kb: int) -> str:
    """The text of a request of that type; `ApiError` if it is another, or too long."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        raise ApiError(415, "wrong_type", f"send {media_type}, not {given or 'nothing named'}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_kb * 1024:
            raise ApiError(413, "too_big", f"an SDP may have up to {max_kb} KiB")
    return body.decode(errors="replace")


def _links(server: IceServer) -> Iterator[str]:
    """An ICE server as RFC 9725 has it told."""
    account = ""
    if server.username is not None:
        account = (
            f'; username="{server.username}"; credential="{server.credential}"'
            '; credential-type="password"'
        )
    for url in server.urls:
        yield f'<{url}>; rel="ice-server"{account}'
