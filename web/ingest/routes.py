"""Media by WebSocket, for devices without WebRTC.

In: a JSON start message, then binary messages of sound and pictures with their media times. Out:
the events of the session, on the same socket.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NoReturn

import numpy as np
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from models.errors import UsageError
from realtime.sources.pushed import PushedSource
from web.access.incoming import Allowance, Incoming
from web.errors import ApiError, refuse
from web.ingest.messages import AUDIO, JPEG, bad, check_end, parse_media, parse_start
from web.sessions.feed import converse
from web.sessions.hub import Hub
from web.settings import Limits


def routes(hub: Hub) -> APIRouter:
    """The route ``/api/ingest``."""
    router = APIRouter()

    @router.websocket("/api/ingest")
    async def ingest(socket: WebSocket) -> None:
        await socket.accept()
        limits = hub.settings.limits
        incoming = Incoming(socket, limits)
        try:
            start = parse_start(await incoming.next(limits.idle_s))
            source = PushedSource(
                start.name,
                has_audio=start.audio,
                has_video=start.video,
                max_frame_mpx=limits.max_frame_mpx,
            )
            hosted = await hub.begin(source, kind="ingest", name=start.name)
        except ApiError as error:
            await refuse(socket, error)
            return
        except WebSocketDisconnect:
            return
        with suppress(WebSocketDisconnect):  # whoever goes without a word has ended
            try:
                await socket.send_json({"type": "started", "session": hosted.id})
                await converse(socket, hosted, 0, _take(incoming, source, limits))
            except ApiError as error:
                await refuse(socket, error)
        await source.end()

    return router


async def _take(incoming: Incoming, source: PushedSource, limits: Limits) -> NoReturn:
    """Pass on what comes until the client says that this was all; then wait for it to go."""
    pictures = Allowance(limits.max_frame_rate)
    while isinstance(
        message := await incoming.next(limits.idle_s, media_s=source.position_s), bytes
    ):
        kind, time_s, media = parse_media(message)
        if kind == AUDIO and source.has_audio:
            if len(media) % 2:
                raise bad("sound comes in whole samples of two bytes")
            try:
                await source.audio(time_s, np.frombuffer(media, "<i2"))
            except UsageError as error:
                raise ApiError(400, "wrong_rate", str(error)) from error
        elif kind == JPEG and source.has_video:
            await source.jpeg(time_s, media)
            if not pictures.take(source.position_s):
                raise ApiError(
                    400,
                    "too_many_pictures",
                    f"at most {limits.max_frame_rate} pictures are taken for one second of media: "
                    "5 are enough",
                )
        else:
            raise bad(f"media of kind {kind} was not announced by the start message")
    check_end(message)
    await source.end()
    await incoming.next()
    raise bad("nothing may come after the message of type end")
