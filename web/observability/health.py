"""Whether the server works, and how hard.

In: requests of a supervisor and of Prometheus. Out: ``/healthz`` and ``/metrics``.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Gauge
from prometheus_client import generate_latest as exposition
from typing_extensions import TypedDict  # pydantic, which documents it, wants this one

from web.errors import ApiError
from web.sessions.hub import Hub


class Health(TypedDict):
    """The server answers, and so do its networks as soon as they are loaded."""

    status: Literal["ok", "loading"]


def routes(hub: Hub) -> APIRouter:
    """The routes ``/healthz`` and ``/metrics``."""
    router = APIRouter(tags=["server"])
    # What the hub knows is read when it is asked for; each hub of a process has its own.
    registry = CollectorRegistry()
    sessions = Gauge(
        "live_emotion_sessions", "Sessions in memory.", ["kind", "state"], registry=registry
    )
    waiting = Gauge(
        "live_emotion_inference_waiting", "Calls that wait for the networks.", registry=registry
    )
    tasks = Gauge(
        "live_emotion_asyncio_tasks", "Tasks of the server's event loop.", registry=registry
    )
    stuck = Gauge(
        "live_emotion_inference_stuck", "1 while a network gives no answer.", registry=registry
    )

    @router.get("/healthz")
    async def healthz() -> Health:
        """Whether sessions are analysed, or will be as soon as the models are loaded; else 503."""
        if hub.state == "failed":
            raise ApiError(503, "models_failed", hub.problem)
        if hub.analyzer is None:
            return {"status": "loading"}
        if hub.analyzer.stuck:
            raise ApiError(503, "stuck", "the networks give no answer; they are soon begun anew")
        return {"status": "ok"}

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """What there is to count and to time, in the text format of Prometheus."""
        sessions.clear()
        for hosted in hub.sessions.values():
            sessions.labels(hosted.kind, hosted.state).inc()
        tasks.set(len(asyncio.all_tasks()))
        if hub.analyzer is not None:
            waiting.set(hub.analyzer.waiting)
            stuck.set(hub.analyzer.stuck)
        return Response(exposition(REGISTRY) + exposition(registry), media_type=CONTENT_TYPE_LATEST)

    return router
