"""Notes that somebody who watches a session writes of their own, each about a moment of it.

In: what is written, or which note is to go. Out: the event that tells it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from models.naming import shown
from realtime.events import Event, NoteChanged
from web.errors import ApiError

_AHEAD_S = 60.0
"""So far a note may be ahead of its session, whose clock the writer hears of late."""


class NewNote(BaseModel):
    """A note, and the media time in seconds of what it is about."""

    at: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    text: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
        AfterValidator(shown),
    ]

    def events(self, session: str, time: float, told: Iterable[Event]) -> list[Event]:
        """What tells it; see `web.sessions.ended.Addition`."""
        if self.at > time + _AHEAD_S:
            raise ApiError(422, "invalid_request", f"the session has come to {time:.0f} s only")
        number = max((event.note for event in told if isinstance(event, NoteChanged)), default=0)
        return [
            NoteChanged(session=session, time=time, note=number + 1, at=self.at, text=self.text)
        ]


@dataclass(frozen=True, slots=True)
class GoneNote:
    """A note that is deleted.

    Attributes:
        note: its number.
    """

    note: int

    def events(self, session: str, time: float, told: Iterable[Event]) -> list[Event]:
        """What tells it; see `web.sessions.ended.Addition`."""
        last = None
        for event in told:
            if isinstance(event, NoteChanged) and event.note == self.note:
                last = event
        if last is None or not last.text:
            raise ApiError(404, "unknown_note", f"session {session} has no note {self.note}")
        return [last.model_copy(update={"time": time, "text": ""})]
