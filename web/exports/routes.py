"""What sessions found, as files to take away: of one session, or of all people in a call.

In: requests, with the thresholds as whoever asks has moved them. Out: the files of
`realtime.formats.catalogue`, and the events as they were told.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib.util import find_spec
from typing import Annotated

from fastapi import APIRouter, Query, Response

from models.errors import UsageError
from realtime.formats.catalogue import FORMATS, Format, Wish
from realtime.formats.findings import gather
from realtime.formats.parquet import pyarrow
from web.calls.rooms import Calls
from web.errors import ApiError
from web.exports.streaming import Turns
from web.exports.thresholds import parse_thresholds
from web.sessions.hosted import wire
from web.sessions.hub import AnySession, Hub

Thresholds = Annotated[
    str, Query(description="Thresholds in place of the model's own: happiness:0.4,fear:0.25")
]
Speakers = Annotated[bool, Query(description="Whether captions name who speaks")]
Emotions = Annotated[bool, Query(description="Whether captions tell what is expressed")]

Find = Callable[[str], tuple[str, Sequence[AnySession]]]
"""Gives, for an id, a title and the sessions; an `ApiError` if nothing has that id."""


def routes(hub: Hub, calls: Calls) -> APIRouter:
    """The routes of all formats under each session and each call."""
    router = APIRouter(prefix="/api", tags=["results"])
    turns = Turns()
    if find_spec("pyarrow"):
        # To load it when it is first asked for would hold the event loop for 40 ms.
        threading.Thread(target=pyarrow, daemon=True).start()

    def one(id: str) -> tuple[str, list[AnySession]]:
        hosted = hub.get(id)
        return hosted.name, [hosted]

    def everybody(room: str) -> tuple[str, list[AnySession]]:
        call = calls.find(room)  # also if it is over
        return f"Call of {call.name}" if call.name else "Call", hub.in_room(room)

    for format in FORMATS.values():
        for path, find in (("/sessions/{id}", one), ("/calls/{id}", everybody)):
            router.add_api_route(
                f"{path}/{format.route}",
                _answering(format, turns, find, together=find is everybody),
                response_class=Response,
                summary=format.about,
            )

    @router.get("/sessions/{id}/results.jsonl", response_class=Response)
    async def jsonl(id: str) -> Response:
        """The session's events as they were told, one a line."""
        session = await turns.take(lambda: hub.get(id))
        lines = (f"{wire(seq, event)}\n" for seq, event in session.read())
        return turns.stream(lines, "application/jsonl", f"emotions-{id}.jsonl")

    return router


def _answering(
    format: Format, turns: Turns, find: Find, *, together: bool
) -> Callable[..., Awaitable[Response]]:
    """What answers requests for a format; `together`: of people, even if there is one."""

    async def results(
        id: str, thresholds: Thresholds = "", speakers: Speakers = True, emotions: Emotions = True
    ) -> Response:
        judged = parse_thresholds(thresholds)

        def begin() -> Iterable[str | bytes]:
            title, people = find(id)
            return format.write(gather(people, judged), Wish(title, together, speakers, emotions))

        try:
            parts = await turns.take(begin)
        except UsageError as error:
            raise ApiError(501, "not_installed", str(error)) from None
        shown = format is FORMATS["report"]
        return turns.stream(
            parts, format.media_type, "" if shown else f"emotions-{id}{format.ending}"
        )

    return results
