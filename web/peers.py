"""All peer connections: publishers by WHIP (RFC 9725), viewers by WHEP.

In: SDP offers over HTTP. Out: sessions of what the publishers send, and their media to viewers.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from web.calls import Calls
from web.errors import ApiError
from web.hub import Hosted, Hub, Kind
from web.peer import Peer, Publisher, Viewer, first_of
from web.settings import IceServer

SDP = "application/sdp"
SDP_FRAGMENT = "application/trickle-ice-sdpfrag"

MAX_SDP_BYTES = 64 * 1024

MAX_VIEWERS = 16
"""Of one session. Each costs an encoder of its own: with VP8 at 25 pictures a second about 14 % of
a core for 360x288 and 28 % for 1280x720, beside the 12 to 16 % that receiving them takes."""


class Peers:
    """The publishers and viewers of this server."""

    def __init__(self, hub: Hub, calls: Calls) -> None:
        self._hub = hub
        self._calls = calls
        self._publishers: dict[str, Publisher] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Close all connections; sessions that still run get no more media. Idempotent."""
        for publisher in self._publishers.values():
            publisher.gone.set()  # and with it, its viewers
        await asyncio.gather(*self._tasks)

    async def publish(self, offer: str, *, room: str | None, name: str) -> tuple[Hosted, str]:
        """Begin a session of what the sender of `offer` sends; gives it, and our answer."""
        if room is not None:
            self._calls.get(room)
        self._hub.admit()  # rather than after a connection has begun
        publisher = Publisher(self._hub.settings, name or "camera")
        try:
            answer = await publisher.accept(offer)
            kind: Kind = "camera" if room is None else "call"
            hosted = await self._hub.begin(publisher.source, kind=kind, name=name, room=room)
        except BaseException:
            await publisher.close()
            raise
        self._publishers[hosted.id] = publisher
        self._spawn(self._keep_publisher(publisher, hosted))
        return hosted, answer

    async def watch(self, id: str, offer: str) -> tuple[str, str]:
        """Send the media of session `id` to the sender of `offer`; its own id, and our answer."""
        publisher = self.publisher(id)
        await publisher.flowing()
        if len(publisher.viewers) >= MAX_VIEWERS:
            raise ApiError(503, "full", f"{MAX_VIEWERS} watch session {id}, which is the limit")
        viewer = Viewer(self._hub.settings, publisher)
        try:
            answer = await viewer.accept(offer)
        except BaseException:
            await viewer.close()
            raise
        viewer_id = uuid.uuid4().hex[:12]
        publisher.viewers[viewer_id] = viewer
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


def routes(peers: Peers, ice_servers: Sequence[IceServer]) -> APIRouter:
    """The routes under ``/whip`` and ``/whep``."""
    router = APIRouter(tags=["WebRTC"])
    links = ", ".join(link for server in ice_servers for link in _links(server))

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
        hosted, answer = await peers.publish(await _body(request, SDP), room=room, name=name)
        return created(answer, f"/whip/{hosted.id}")

    @router.patch("/whip/{id}", status_code=204)
    async def trickle(request: Request, id: str) -> None:
        """More ICE candidates of a publisher."""
        await peers.publisher(id).trickle(await _body(request, SDP_FRAGMENT))

    @router.delete("/whip/{id}")
    async def unpublish(id: str) -> Response:
        """Publish no more; the session ends, and what it found is kept."""
        return await release(peers.publisher(id))

    @router.post("/whep/{id}", status_code=201)
    async def watch(request: Request, id: str) -> Response:
        """Watch a session by WHEP: an SDP offer in, an answer out; `Location` names the viewer."""
        viewer_id, answer = await peers.watch(id, await _body(request, SDP))
        return created(answer, f"/whep/{id}/{viewer_id}")

    @router.patch("/whep/{id}/{viewer}", status_code=204)
    async def trickle_viewer(request: Request, id: str, viewer: str) -> None:
        """More ICE candidates of a viewer."""
        await peers.viewer(id, viewer).trickle(await _body(request, SDP_FRAGMENT))

    @router.delete("/whep/{id}/{viewer}")
    async def unwatch(id: str, viewer: str) -> Response:
        """Watch no more."""
        return await release(peers.viewer(id, viewer))

    return router


async def _body(request: Request, media_type: str) -> str:
    """The text of a request of that type; `ApiError` if it is another, or too long."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        raise ApiError(415, "wrong_type", f"send {media_type}, not {given or 'nothing named'}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_SDP_BYTES:
            raise ApiError(413, "too_big", f"an SDP may have at most {MAX_SDP_BYTES} bytes")
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
