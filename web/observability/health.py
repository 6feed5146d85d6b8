"""Whether the server works, and how hard.

In: requests of a supervisor and of Prometheus. Out: ``/healthz`` and ``/metrics``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal, Protocol

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Gauge
from prometheus_client import generate_latest as exposition
from typing_extensions import TypedDict  # pydantic, which documents it, wants this one

from realtime.analysis import Analyzer
from web.errors import ApiError
from web.observability.loop_watch import WATCH_LOOP, LoopWatch


class Running(Protocol):
    """A session, as it is counted."""

    @property
    def kind(self) -> str:
        """Where its media come from."""

    @property
    def state(self) -> str:
        """Whether it waits, runs or has ended."""


class Watched(Protocol):
    """What the server is judged by; see `web.sessions.hub.Hub`."""

    @property
    def state(self) -> Literal["loading", "ready", "failed"]:
        """Of the models."""

    @property
    def problem(self) -> str:
        """Why they failed to load."""

    @property
    def analyzer(self) -> Analyzer | None:
        """The models; None until they are ready."""

    @property
    def sessions(self) -> Mapping[str, Running]:
        """By id."""


class Health(TypedDict):
    """The server answers, and so do its networks as soon as they are loaded."""

    status: Literal["ok", "loading"]


def routes(hub: Watched, watch: LoopWatch) -> APIRouter:
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
    late = Gauge(
        "live_emotion_loop_late_times",
        "How often the event loop was over 20 ms late: for one callback, for a garbage collection, "
        f"or for any reason inside the server, those two among them; 0 unless {WATCH_LOOP} is set.",
        ["reason"],
        registry=registry,
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
        late.labels("callback").set(watch.held.times)
        late.labels("garbage").set(watch.collected.times)
        late.labels("any").set(watch.late.times)
        if hub.analyzer is not None:
            waiting.set(hub.analyzer.waiting)
            stuck.set(hub.analyzer.stuck)
        return Response(exposition(REGISTRY) + exposition(registry), media_type=CONTENT_TYPE_LATEST)

    return router
