"""The messages of a client that sends media by WebSocket.

In: text and bytes. Out: a start, media with their times, an end; or the `ApiError` that says what
is wrong.
"""

from __future__ import annotations

import struct
from typing import Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from web.errors import ApiError, invalid

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


def parse_start(message: bytes | str) -> Start:
    """The first message; `ApiError` if it is none."""
    if isinstance(message, bytes):
        raise bad("media came before the message of type start")
    try:
        return Start.model_validate_json(message)
    except ValidationError as error:
        raise bad(f"this is no message of type start: {invalid(error)}") from error


def parse_media(message: bytes) -> tuple[int, float, bytes]:
    """`AUDIO` or `JPEG`, a media time in seconds, and the media; `ApiError` if it is no media."""
    if len(message) <= _HEADER.size:
        raise bad("a message of media holds no media")
    kind, time_s = _HEADER.unpack_from(message)
    if not abs(time_s) <= MAX_TIME_S:  # nor is nan
        raise bad(f"{time_s} is no media time in seconds")
    return kind, time_s, message[_HEADER.size :]


def check_end(message: str) -> None:
    """`ApiError` if this is not the last message."""
    try:
        End.model_validate_json(message)
    except ValidationError as error:
        raise bad("after the start comes media, then a message of type end") from error


def bad(message: str) -> ApiError:
    """What is said of a message that cannot come here."""
    return ApiError(400, "bad_message", message)
