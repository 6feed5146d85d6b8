"""The server's application: every route in its place.

In: settings, and how to load the models. Out: the FastAPI application.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Scope
from typing_extensions import TypedDict  # pydantic, which documents it, wants this one

from models.errors import UsageError
from realtime.analysis import Analyzer
from realtime.events import event_schema
from web.access.crowds import Crowds, address_of, guest_of
from web.access.gate import Gate
from web.access.headers import SecurityHeaders
from web.access.keys import Keys
from web.access.pages import plain_page
from web.calls import routes as calls
from web.calls.rooms import Calls
from web.errors import ApiError, invalid
from web.exports import routes as exports
from web.ingest import routes as ingest
from web.observability import health
from web.observability.loop_watch import WATCH_LOOP, LoopWatch
from web.sessions import feed
from web.sessions import routes as sessions
from web.sessions.hub import Hub
from web.settings import ServerSettings
from web.webrtc import routes as webrtc
from web.webrtc.peers import Peers

_STATIC = Path(__file__).parent / "static"


def create_app(settings: ServerSettings, load: Callable[[], Analyzer]) -> FastAPI:
    """The application; `app.state` has its `hub`, `keys` and `rooms`.

    Its routes, in order (FORMAT: each of `realtime.formats.catalogue.FORMATS`)::

        GET /openapi.json
        POST /api/sessions
        GET /api/sessions
        GET /api/sessions/{id}
        GET /api/sessions/{id}/overlay
        DELETE /api/sessions/{id}
        POST /api/sessions/{id}/stop
        POST /api/sessions/{id}/pause
        POST /api/sessions/{id}/rest
        POST /api/sessions/{id}/speakers/{number}
        POST /api/sessions/{id}/notes
        DELETE /api/sessions/{id}/notes/{number}
        GET /api/sessions/{id}/utterances/{number}
        GET /api/sessions/{id}/utterances/{number}/sound.wav
        GET /api/sessions/{id}/film
        GET /api/sessions/{id}/picture
        WEBSOCKET /api/sessions/{id}/events
        GET /api/sessions/{id}/FORMAT
        GET /api/calls/{id}/FORMAT
        GET /api/sessions/{id}/results.jsonl
        WEBSOCKET /api/ingest
        POST /api/calls
        GET /api/calls
        GET /api/calls/{room}
        DELETE /api/calls/{room}
        POST /api/calls/{room}/link
        DELETE /api/calls/{room}/participants/{id}
        WEBSOCKET /api/calls/{room}/events
        POST /whip
        PATCH /whip/{id}
        DELETE /whip/{id}
        POST /whep/{id}
        PATCH /whep/{id}/{viewer}
        DELETE /whep/{id}/{viewer}
        GET /healthz
        GET /metrics
        GET /api/server
        GET /api/schema
        GET /
        GET /calls/{room}
        GET /overlay/{id}
        GET /api/docs
        MOUNT /static

    Args:
        load: gives the models; called in a thread when the application starts.
    """
    hub = Hub(settings, load)
    keys = Keys(settings)
    rooms = Calls(hub)
    watch = LoopWatch()
    publishers = Peers(hub, rooms)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as cleanup:
            if os.environ.get(WATCH_LOOP):
                await cleanup.enter_async_context(watch)
            await hub.start()
            yield
            await hub.aclose()
            await publishers.aclose()

    app = _App(
        title="Live emotion",
        summary="What was said and felt, utterance by utterance, while it is said.",
        version=_version(),
        lifespan=lifespan,
        docs_url=None,  # its page comes from a CDN; ours is below
        redoc_url=None,
        responses={"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}},
    )
    app.state.hub, app.state.keys, app.state.rooms = hub, keys, rooms
    limits = settings.limits
    app.add_middleware(Crowds, most=limits.max_connections_per_guest, of=guest_of, whose="of yours")
    app.add_middleware(
        Gate,
        settings=settings,
        keys=keys,
        session=hub.get,
        viewer=publishers.viewer,
        let_in=rooms.let_in,
    )
    app.add_middleware(
        Crowds,
        most=limits.max_connections_per_address,
        of=lambda request: None if keys.is_host(request) else address_of(request),
        whose="of your address",
    )
    _tell_errors_in_one_form(app)
    app.include_router(sessions.routes(hub, keys))
    app.include_router(feed.routes(hub))
    app.include_router(exports.routes(hub, rooms))
    app.include_router(ingest.routes(hub))
    app.include_router(calls.routes(rooms, keys))
    app.include_router(webrtc.routes(publishers, settings))
    app.include_router(health.routes(hub, watch))
    _add_server(app, hub)
    _add_pages(app, rooms)
    return app


class _App(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        """Around everything, so that the answer to an error of ours is guarded, too."""
        return SecurityHeaders(super().build_middleware_stack())


class ServerState(TypedDict):
    """What a client should know before it begins.

    `recording` tells whether film, sound and faces are kept; what was found is kept for
    `keep_days`, or, if that is null, until the host deletes it.
    """

    state: Literal["loading", "ready", "failed"]
    problem: str
    profile: str | None
    stt: str | None
    version: str
    recording: bool
    keep_days: float | None
    limits: dict[str, int | float]
    ice_servers: list[dict[str, Any]]


def _add_server(app: FastAPI, hub: Hub) -> None:
    @app.get("/api/server", tags=["server"])
    async def server() -> ServerState:
        """Whether the models are loaded, which they are, and what the limits are."""
        options = asdict(hub.settings.limits)
        return {
            "state": hub.state,
            "problem": hub.problem,
            "profile": hub.analyzer.profile if hub.analyzer else None,
            "stt": hub.analyzer.engine if hub.analyzer else None,
            "version": app.version,
            "recording": hub.settings.record,
            "keep_days": hub.settings.keep_days,
            "limits": options | {"max_sessions": hub.max_sessions},
            "ice_servers": [asdict(server) for server in hub.settings.ice_servers],
        }

    @app.get("/api/schema", tags=["server"])
    async def schema() -> dict[str, Any]:
        """The JSON Schema of the events; on sockets each also has its number, `seq`."""
        return event_schema()


def _add_pages(app: FastAPI, rooms: Calls) -> None:
    def page(name: str) -> FileResponse:
        return FileResponse(_STATIC / name, headers=_REVALIDATE)

    @app.get("/", include_in_schema=False)
    async def dashboard() -> Response:
        return page("dashboard/index.html")

    @app.get("/calls/{room}", include_in_schema=False)
    async def call(room: str) -> Response:
        try:
            rooms.get(room)
        except ApiError as error:
            return HTMLResponse(plain_page("There is no such call", error.message), error.status)
        return page("call/call.html")

    @app.get("/overlay/{id}", include_in_schema=False)
    async def overlay(id: str) -> Response:  # of no session, too: on the air nothing beats an error
        return page("overlay/overlay.html")

    @app.get("/api/docs", include_in_schema=False)
    async def docs() -> Response:
        return page("reference/api.html")

    app.mount("/static", _Static(directory=_STATIC))


_REVALIDATE = {"Cache-Control": "no-cache"}
"""A browser asks whether its copy is still good, so that an update is seen at once."""


class _Static(StaticFiles):
    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_REVALIDATE)
        return response


class ErrorDetail(BaseModel):
    """What went wrong: `code` for programs, `message` for people."""

    code: str
    message: str


class ErrorBody(BaseModel):
    """Every error of the interface."""

    error: ErrorDetail


def _tell_errors_in_one_form(app: FastAPI) -> None:
    def answer(error: ApiError) -> JSONResponse:
        return JSONResponse(error.to_json(), error.status, error.headers)

    @app.exception_handler(ApiError)
    async def ours(_: Request, error: ApiError) -> JSONResponse:
        return answer(error)

    @app.exception_handler(UsageError)
    async def unreadable(_: Request, error: UsageError) -> JSONResponse:
        return answer(ApiError(400, "unreadable_source", str(error)))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        return answer(invalid(error))

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> JSONResponse:
        codes = {404: "not_found", 405: "method_not_allowed", 408: "too_slow", 413: "too_big"}
        code = codes.get(error.status_code, "http_error")
        message = f"{request.method} {request.url.path}: {error.detail}"
        response = answer(ApiError(error.status_code, code, message))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def unexpected(_: Request, __: Exception) -> JSONResponse:
        return answer(ApiError(500, "internal", "the server failed: its log says how"))


def _version() -> str:
    try:
        return version("live-emotion")
    except PackageNotFoundError:  # run from a copy that was not installed
        return "0"
