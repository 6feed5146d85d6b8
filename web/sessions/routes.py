"""Sessions over HTTP: begin, list, look at, pause, stop, delete.

In: requests. Out: JSON, the session's picture as it changes, the sound and film that were recorded.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, ValidationError
from typing_extensions import TypedDict  # pydantic, which documents it, wants this one

from models.errors import UsageError
from realtime.events import NoteChanged, UtteranceResult
from realtime.media import FrameThinner
from realtime.sources import Isolation, open_source
from realtime.storage.values import UtteranceInputs
from web.access.keys import Host, Keys, caller_of, check_path
from web.errors import ApiError, invalid
from web.sessions.ended import Session
from web.sessions.film import film_response
from web.sessions.hosted import Hosted
from web.sessions.hub import AnySession, Hub
from web.sessions.model_inputs import jpeg
from web.sessions.notes import GoneNote, NewNote
from web.sessions.speakers import Correction, SpeakerWish
from web.sessions.uploads import Upload

PICTURE_EVERY_S = 0.2

Number = Annotated[int, Path(ge=1, le=10**9)]
"""Of an utterance, a speaker or a note in its session."""

_PICTURE_QUALITY = 80


class NewSession(BaseModel):
    """A source that the server opens itself."""

    source: str = Field(min_length=1)
    """``webcam``, ``webcam:1``, a path on the server, or an http, https, rtsp or rtsps URL."""
    pace: Literal["live", "fast"] = "fast"
    """Of a recording: as it was recorded, or as fast as the machine can."""


class SessionList(TypedDict):
    """Sessions, newest first."""

    sessions: list[Session]


class Pause(BaseModel):
    """Whether the person analysed wishes not to be, for now."""

    paused: bool


class OverlayPath(TypedDict):
    """Where on this server the overlay is, with what lets it read its session."""

    path: str


class WireInputFace(TypedDict):
    """A face the model was shown: media time in seconds, and a data URL."""

    time: float
    image: str


class WireInputs(TypedDict):
    """What the model was given; `frame` is the size of the pictures, in pixels of the source."""

    faces: list[WireInputFace]
    waveform: list[tuple[float, float]]
    duration: float
    frame: tuple[int, int] | None


class UtteranceView(TypedDict):
    """One utterance; without inputs where they are no longer kept."""

    result: UtteranceResult
    inputs: WireInputs | None


def routes(hub: Hub, keys: Keys) -> APIRouter:
    """The routes under ``/api/sessions``."""
    router = APIRouter(prefix="/api/sessions", tags=["sessions"])

    @router.post("", status_code=201, openapi_extra={"requestBody": _BEGIN_BODY})
    async def begin(request: Request, response: Response) -> Session:
        """Begin a session of an uploaded recording, or of a source that the server opens."""
        await hub.admit()  # rather than after an upload of minutes
        content = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content == "multipart/form-data":
            hosted = await _begin_upload(hub, request)
        elif content == "application/json":
            hosted = await _begin_source(hub, await request.body())
        else:
            raise ApiError(
                415, "unsupported_media_type", "send multipart/form-data or application/json"
            )
        response.headers["Location"] = f"/api/sessions/{hosted.id}"
        return hosted.to_json()

    @router.get("")
    def list_sessions(
        limit: Annotated[int, Query(ge=1, le=1000)] = 200, before: str | None = None
    ) -> SessionList:
        """The newest sessions; the next page is what was before the last session of this one."""
        return {"sessions": [session.to_json() for session in hub.recent(limit, before)]}

    @router.get("/{id}")
    async def get(id: str) -> Session:
        """One session as it is now."""
        return hub.get(id).to_json()

    @router.get("/{id}/overlay")
    async def overlay(id: str) -> OverlayPath:
        """The address of a page for streaming programs, good for this session until the server
        ends."""
        return {"path": keys.overlay(hub.get(id).id)}

    @router.delete("/{id}", status_code=204)
    async def forget(id: str) -> None:
        """Stop a session, and delete for good all that it found."""
        await hub.forget(id)

    @router.post("/{id}/stop")
    async def stop(id: str) -> Session:
        """Stop a session. What was said so far is still analysed; its events tell when it ended."""
        hosted = hub.get(id)
        hosted.stop()
        return hosted.to_json()

    @router.post("/{id}/pause")
    async def pause(request: Request, id: str, wish: Pause) -> Session:
        """Pause or resume the analysis of a browser's camera; what a guest paused, only they
        resume."""
        hosted = hub.get(id)
        of_guest = hosted.owner is not None
        host = of_guest and isinstance(caller_of(request), Host)
        hosted.pausing.change(wish.paused, "host" if host else "person")
        return hosted.to_json()

    @router.post("/{id}/rest")
    async def rest(id: str) -> Session:
        """The last utterance showed the person at rest: what follows is also told without that."""
        hosted = hub.get(id)
        hosted.rest()
        return hosted.to_json()

    @router.post("/{id}/speakers/{number}")
    async def speaker(id: str, number: Number, wish: SpeakerWish) -> Session:
        """Name a speaker, or say that they are the same as another, also after the end."""
        correction = Correction(number, wish.name, wish.merge_into)
        return (await hub.correct(id, correction)).to_json()

    @router.post("/{id}/notes", status_code=201)
    async def write_note(id: str, note: NewNote) -> NoteChanged:
        """Write a note of your own about a moment of a session, also after its end."""
        (written,) = await hub.add(id, note)
        assert isinstance(written, NoteChanged)
        return written

    @router.delete("/{id}/notes/{number}", status_code=204)
    async def delete_note(id: str, number: Number) -> None:
        """Delete a note: only the events as they were told have it until the session is deleted."""
        await hub.add(id, GoneNote(number))

    @router.get("/{id}/utterances/{number}")
    def utterance(id: str, number: Number) -> UtteranceView:
        """One utterance, with what the model was given for it."""
        session = hub.get(id)
        result = session.result(number)
        if result is None:
            raise ApiError(404, "unknown_utterance", f"session {id} has no result {number} (yet)")
        inputs = session.inputs(number)
        return {"result": result, "inputs": _wire_inputs(inputs) if inputs else None}

    @router.get("/{id}/utterances/{number}/sound.wav", response_class=Response)
    def sound(id: str, number: Number) -> Response:
        """What was heard of one utterance, where it is recorded: WAV, 16 kHz, mono."""
        hub.get(id)
        data = hub.store.sound(id, number)
        if not data:
            raise ApiError(
                404,
                "not_recorded",
                f"there is no sound of utterance {number} of session {id}: a server started with "
                "--record keeps it",
            )
        return Response(data, media_type="audio/wav", headers={"Cache-Control": "no-store"})

    @router.get("/{id}/film", response_class=Response)
    def film(id: str, range: Annotated[str | None, Header()] = None) -> Response:
        """The film of a session that has ended, where it is recorded: MP4, on the session's clock.

        A header `Range` asks for a part of it.
        """
        file = hub.store.films.open(id) if hub.get(id).to_json()["film"] else None
        if file is None:
            raise ApiError(
                404,
                "no_film",
                f"there is no film of session {id}: a server started with --record keeps one, to "
                "be seen when the session has ended",
            )
        return film_response(file, range)

    @router.get("/{id}/picture", response_class=StreamingResponse)
    async def picture(id: str) -> StreamingResponse:
        """The newest picture, again and again (MJPEG), until the session ends."""
        return StreamingResponse(
            _pictures(hub.get(id)),
            media_type="multipart/x-mixed-replace; boundary=frame",
            headers={"Cache-Control": "no-store"},
        )

    return router


_BEGIN_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {"schema": NewSession.model_json_schema()},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["video"],
                "properties": {
                    "video": {"type": "string", "format": "binary"},
                    "pace": {"type": "string", "enum": ["live", "fast"], "default": "fast"},
                },
            }
        },
    },
}


async def _begin_upload(hub: Hub, request: Request) -> Hosted:
    upload = Upload()
    try:
        await upload.receive(request, field="video", max_mb=hub.settings.limits.max_upload_mb)
        new = _new_session({"source": upload.name, **upload.fields})
        source = await open_source(
            str(upload.path), new.pace, thinner=_thinner(hub), isolation=_isolation(hub)
        )
    except BaseException as error:
        upload.delete()
        if isinstance(error, UsageError):  # where the server keeps it is of no interest
            raise UsageError(str(error).replace(str(upload.path), upload.name)) from error
        raise
    return await hub.begin(source, kind="upload", name=upload.name, at_end=upload.delete)


async def _begin_source(hub: Hub, body: bytes) -> Hosted:
    new = _new_session(body)
    path = check_path(hub.settings, new.source)
    if new.source.partition(":")[0] == "webcam":
        await hub.ready()  # a device delivers at once, and nobody would take it
    source = await open_source(path, new.pace, thinner=_thinner(hub), isolation=_isolation(hub))
    return await hub.begin(source, kind="source", name=source.name)


def _thinner(hub: Hub) -> FrameThinner | None:
    """Without the film, which shows whose lips move, where there is one person."""
    return FrameThinner(film_rate=0) if hub.settings.alone else None


def _isolation(hub: Hub) -> Isolation:
    limits = hub.settings.limits
    return Isolation(
        memory_mb=limits.max_decoder_mb,
        max_frame_mpx=limits.max_frame_mpx,
        max_hours=limits.max_media_h,
        stall_s=limits.stuck_s,
    )


def _new_session(given: bytes | dict[str, str]) -> NewSession:
    try:
        if isinstance(given, bytes):
            return NewSession.model_validate_json(given)
        return NewSession.model_validate(given)
    except ValidationError as error:
        raise invalid(error) from error


def _wire_inputs(inputs: UtteranceInputs) -> WireInputs:
    return {
        "faces": [
            {"time": time, "image": f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"}
            for time, data in inputs.faces
        ],
        "waveform": list(inputs.waveform),
        "duration": inputs.duration,
        "frame": inputs.frame,
    }


async def _pictures(hosted: AnySession) -> AsyncIterator[bytes]:
    shown = None
    hosted.watchers += 1
    try:
        yield b"--frame\r\n"
        while not hosted.ended.is_set():
            frame = hosted.picture
            if frame is not None and frame is not shown:
                shown = frame
                data = await asyncio.to_thread(jpeg, frame.image, _PICTURE_QUALITY)
                # The boundary goes with the picture: browsers show a part only when it is over.
                yield b"Content-Type: image/jpeg\r\n\r\n" + data + b"\r\n--frame\r\n"
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(hosted.ended.wait(), PICTURE_EVERY_S)
    finally:
        hosted.watchers -= 1
