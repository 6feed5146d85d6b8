"""Media by WebSocket, for devices without WebRTC.

In: a JSON start message, then binary messages of sound and pictures with their media times. Out:
the events of the session, on the same socket.
"""

from __future__ import annotations

import asyncio
import math
import struct
from contextlib import suppress
from typing import Literal, NoReturn

import numpy as np
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field, ValidationError, model_validator

from realtime.sources.pushed import PushedSource
from web.errors import ApiError, invalid, refuse
from web.feed import converse
from web.hub import Hub

AUDIO, JPEG = 0, 1
"""The first byte of a binary message."""

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
        idle_s = hub.settings.limits.idle_s
        try:
            start = await _receive_start(socket, idle_s)
            source = PushedSource(start.name, has_audio=start.audio, has_video=start.video)
            hosted = await hub.begin(source, kind="ingest", name=start.name)
        except ApiError as error:
            await refuse(socket, error)
            return
        except WebSocketDisconnect:
            return
        with suppress(WebSocketDisconnect):  # whoever goes without a word has ended
            try:
                await socket.send_json({"type": "started", "session": hosted.id})
                await converse(socket, hosted, 0, _take(socket, source, idle_s))
            except ApiError as error:
                await refuse(socket, error)
        await source.end()

    return router


async def _receive_start(socket: WebSocket, idle_s: float) -> Start:
    message = await _receive(socket, idle_s)
    if isinstance(message, bytes):
        raise _bad("media came before the message of type start")
    try:
        return Start.model_validate_json(message)
    except ValidationError as error:
        raise _bad(f"this is no message of type start: {invalid(error)}") from error


async def _take(socket: WebSocket, source: PushedSource, idle_s: float) -> NoReturn:
    """Pass on what comes until the client says that this was all; then wait for it to go."""
    while isinstance(message := await _receive(socket, idle_s), bytes):
        if len(message) <= _HEADER.size:
            raise _bad("a message of media holds no media")
        kind, time_s = _HEADER.unpack_from(message)
        media = message[_HEADER.size :]
        if not math.isfinite(time_s):
            raise _bad(f"{time_s} is no media time")
        if kind == AUDIO and source.has_audio:
            if len(media) % 2:
                raise _bad("sound comes in whole samples of two bytes")
            await source.audio(time_s, np.frombuffer(media, "<i2"))
        elif kind == JPEG and source.has_video:
            await source.jpeg(time_s, media)
        else:
            raise _bad(f"media of kind {kind} was not announced by the start message")
    try:
        End.model_validate_json(message)
    except ValidationError as error:
        raise _bad("after the start comes media, then a message of type end") from error
    await source.end()
    await _receive(socket, None)
    raise _bad("nothing may come after the message of type end")


async def _receive(socket: WebSocket, within_s: float | None) -> bytes | str:
    try:
        message = await asyncio.wait_for(socket.receive(), within_s)
    except asyncio.TimeoutError:
        raise ApiError(408, "idle", f"nothing came for {within_s:g} s") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"])
    content: bytes | str | None = message.get("bytes")
    return message["text"] if content is None else content


def _bad(message: str) -> ApiError:
    return ApiError(400, "bad_message", message)
