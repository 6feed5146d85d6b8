"""What sessions found, as files to take away: of one session, or of all people in a call.

In: requests, with the thresholds as whoever asks has moved them. Out: JSON, JSON Lines, CSV,
WebVTT and a report.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from web.calls.rooms import Calls
from web.exports.captions import to_vtt
from web.exports.findings import Findings, gather, parse_thresholds
from web.exports.report import report
from web.exports.tables import to_csv
from web.sessions.hosted import wire
from web.sessions.hub import AnySession, Hub

BOM = "\ufeff"
"""The byte order mark, without which Excel takes a CSV file for one in an old code page."""

Thresholds = Annotated[
    str, Query(description="Thresholds in place of the model's own: happiness:0.4,fear:0.25")
]


def routes(hub: Hub, calls: Calls) -> APIRouter:
    """The routes ``results.*`` and ``report.html`` under each session and each call."""
    router = APIRouter(prefix="/api", tags=["results"])

    def one(id: str) -> tuple[str, list[AnySession]]:
        hosted = hub.get(id)
        return hosted.name, [hosted]

    def everybody(room: str) -> tuple[str, list[AnySession]]:
        call = calls.get(room)
        return f"Call of {call.name}" if call.name else "Call", hub.in_room(room)

    _add_formats(router, "/sessions/{id}", one, lambda people: people[0].to_json())
    _add_formats(
        router,
        "/calls/{id}",
        everybody,
        lambda people: {"people": [person.to_json() for person in people]},
    )

    @router.get("/sessions/{id}/results.jsonl", response_class=Response)
    def jsonl(id: str) -> Response:
        """The session's events as they were told, one a line."""
        lines = [f"{wire(seq, event)}\n" for seq, event in hub.get(id).events]
        return _download("".join(lines), "application/jsonl", f"{id}.jsonl")

    return router


def _add_formats(
    router: APIRouter,
    path: str,
    find: Callable[[str], tuple[str, list[AnySession]]],
    body: Callable[[list[Findings]], dict[str, Any]],
) -> None:
    """Add the formats for what `find` gives for an id: a title and the sessions."""

    @router.get(f"{path}/results.json", response_class=Response)
    def results_json(id: str, thresholds: Thresholds = "") -> Response:
        """Everything that was found: each utterance, the average, the warnings."""
        _, people = find(id)
        found = gather(people, parse_thresholds(thresholds))
        text = json.dumps(body(found), indent=2, ensure_ascii=False)
        return _download(text, "application/json", f"{id}.json")

    @router.get(f"{path}/results.csv", response_class=Response)
    def results_csv(id: str, thresholds: Thresholds = "") -> Response:
        """A table of one row an utterance."""
        _, people = find(id)
        found = gather(people, parse_thresholds(thresholds))
        return _download(BOM + to_csv(found), "text/csv; charset=utf-8", f"{id}.csv")

    @router.get(f"{path}/results.vtt", response_class=Response)
    def results_vtt(id: str, thresholds: Thresholds = "") -> Response:
        """Captions: who said what, and what it expressed."""
        _, people = find(id)
        found = gather(people, parse_thresholds(thresholds))
        return _download(to_vtt(found), "text/vtt; charset=utf-8", f"{id}.vtt")

    @router.get(f"{path}/report.html", response_class=Response)
    def report_html(id: str, thresholds: Thresholds = "") -> Response:
        """A page with charts and words that needs no server, and no network."""
        title, people = find(id)
        found = gather(people, parse_thresholds(thresholds))
        return Response(report(title, found), media_type="text/html; charset=utf-8")


def _download(content: str, media_type: str, filename: str) -> Response:
    disposition = f'attachment; filename="emotions-{filename}"'
    return Response(content, media_type=media_type, headers={"Content-Disposition": disposition})
