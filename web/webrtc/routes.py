"""Publish by WHIP (RFC 9725), watch by WHEP.

In: SDP offers over HTTP. Out: our answers, and where what they began is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from web.access.crowds import address_of
from web.access.keys import ERASE_TOKEN, sending_guest
from web.errors import ApiError
from web.settings import IceServer, ServerSettings
from web.webrtc.connection import Peer
from web.webrtc.peers import Peers

SDP = "application/sdp"
SDP_FRAGMENT = "application/trickle-ice-sdpfrag"


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
        """Publish by WHIP: an SDP offer in, an answer out; `Location` names the session. By the
        header `Erase-Token`, which guests get, it can be deleted at any later time."""
        offer = await _body(request, SDP, max_kb)
        guest = sending_guest(request)
        hosted, answer = await peers.publish(
            offer, room=room, name=name, guest=guest, address=address_of(request)
        )
        response = created(answer, f"/whip/{hosted.id}")
        if guest is not None:
            response.headers[ERASE_TOKEN] = guest.secret
        return response

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
        guest = sending_guest(request)
        owner = guest.owner if guest else None
        viewer_id, answer = await peers.watch(id, offer, owner=owner)
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
