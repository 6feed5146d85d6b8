"""Media by WebSocket, for devices without WebRTC.

In: a JSON start message, then binary messages of sound and pictures with their media times. Out:
the events of the session, on the same socket.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Literal, NoReturn

import numpy as np
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field, ValidationError, model_validator

from models.errors import UsageError
from realtime.sources.pushed import PushedSource
from web.errors import ApiError, invalid, refuse
from web.feed import converse
from web.hub import Hub
from web.incoming import Allowance, Incoming
from web.settings import Limits

AUDIO, JPEG = 0, 1
"""The first byte of a binary message."""

MAX_TIME_S = 1e11
"""Of media times, either way: beyond it a float does not tell one sample from the next. Unix time
in seconds is well within it."""

_HEADER = struct.Struct("<Bd")  # kind, media time in seconds


class Start(BaseModel):
    """The first message: who sends, and what is going to come."""

    type: Literal["start"]
    name: str = Field("ingest", min_length=1, max_length=80)
    audio: bool = True
    video: bool = True

    @model_validator(mode="after")
    def _something(self) -> Start:
        if not self.audio and not self.video:
            raise ValueError("audio and video are both off")
        return self


class End(BaseModel):
    """The last message: nothing more will come."""

    type: Literal["end"]


def routes(hub: Hub) -> APIRouter:
    """The route ``/api/ingest``."""
    router = APIRouter()

    @router.websocket("/api/ingest")
    async def ingest(socket: WebSocket) -> None:
        await socket.accept()
        limits = hub.settings.limits
        incoming = Incoming(socket, limits)
        try:
            start = await _receive_start(incoming, limits.idle_s)
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


async def _receive_start(incoming: Incoming, idle_s: float) -> Start:
    message = await incoming.next(idle_s)
    if isinstance(message, bytes):
        raise _bad("media came before the message of type start")
    try:
        return Start.model_validate_json(message)
    except ValidationError as error:
        raise _bad(f"this is no message of type start: {invalid(error)}") from error


async def _take(incoming: Incoming, source: PushedSource, limits: Limits) -> NoReturn:
    """Pass on what comes until the client says that this was all; then wait for it to go."""
    pictures = Allowance(limits.max_frame_rate)
    while isinstance(
        message := await incoming.next(limits.idle_s, media_s=source.position_s), bytes
    ):
        if len(message) <= _HEADER.size:
            raise _bad("a message of media holds no media")
        kind, time_s = _HEADER.unpack_from(message)
        media = message[_HEADER.size :]
        if not abs(time_s) <= MAX_TIME_S:  # nor is nan
            raise _bad(f"{time_s} is no media time in seconds")
        if kind == AUDIO and source.has_audio:
            if len(media) % 2:
                raise _bad("sound comes in whole samples of two bytes")
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
            raise _bad(f"media of kind {kind} was not announced by the start message")
    try:
        End.model_validate_json(message)
    except ValidationError as error:
        raise _bad("after the start comes media, then a message of type end") from error
    await source.end()
    await incoming.next()
    raise _bad("nothing may come after the message of type end")


def _bad(message: str) -> ApiError:
    return ApiError(400, "bad_message", message)
