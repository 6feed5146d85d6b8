"""What somebody knows better about the speakers of a session: a name, or that two are one.

In: what is wished of a speaker, and the session or its events. Out: the events that tell it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator

from models.naming import shown
from realtime.attribution import Attribution, averages_of, joint_name
from realtime.events import AverageUpdated, Event, SpeakerChanged, UtteranceResult
from realtime.session import LiveSession
from web.errors import ApiError


class SpeakerWish(BaseModel):
    """What a speaker is called, or who they are the same as: exactly one of both."""

    name: (
        Annotated[
            str,
            StringConstraints(strip_whitespace=True, min_length=1, max_length=80),
            AfterValidator(shown),
        ]
        | None
    ) = None
    merge_into: Annotated[int, Field(ge=1, le=10**9)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> SpeakerWish:
        if (self.name is None) == (self.merge_into is None):
            raise ValueError("give name or merge_into, one of both")
        return self


@dataclass(frozen=True, slots=True)
class Correction:
    """What is to be told of one speaker.

    Attributes:
        speaker: their number.
        name: what they are called from now on; or else
        into: the number of the speaker who they are.
    """

    speaker: int
    name: str | None
    into: int | None

    async def ask(self, session: LiveSession) -> None:
        """Have a running session tell it; `ApiError` if it cannot."""
        try:
            if self.name is not None:
                await session.rename(self.speaker, self.name)
            elif self.into is not None:
                await session.merge(self.speaker, self.into)
        except KeyError as error:
            raise _unknown(error.args[0]) from error
        except ValueError as error:
            raise _same(self.speaker) from error

    def is_told_by(self, event: Event) -> bool:
        """Whether the event tells just this."""
        match event:
            case SpeakerChanged(speaker=speaker, name=name, gone=None):
                return (speaker, name) == (self.speaker, self.name)
            case SpeakerChanged(speaker=speaker, gone=gone):
                return (gone, speaker) == (self.speaker, self.into)
        return False

    def events(self, session: str, time: float, told: Iterable[Event]) -> list[Event]:
        """What tells it of a session that has ended; see `web.sessions.ended.Addition`."""
        told = [event for event in told if isinstance(event, UtteranceResult | SpeakerChanged)]
        known = Attribution(told)
        for number in (self.speaker, self.into):
            if number is not None and number not in known.names:
                raise _unknown(number)
        if self.speaker == self.into:
            raise _same(self.speaker)
        results = [event for event in told if isinstance(event, UtteranceResult)]
        changed = SpeakerChanged(
            session=session, time=time, speaker=self.speaker, name=self.name or ""
        )
        if self.into is not None:
            given = ((result.utterance, known.of(result).speaker) for result in results)
            changed = SpeakerChanged(
                session=session,
                time=time,
                speaker=self.into,
                name=joint_name(known.names, self.into, self.speaker),
                gone=self.speaker,
                utterances=tuple(
                    utterance for utterance, by in given if by and by.id == self.speaker
                ),
            )
        known.take(changed)
        average = averages_of(known.of(result) for result in results)
        return [changed, AverageUpdated(session=session, time=time, **dict(average))]


def _unknown(number: object) -> ApiError:
    return ApiError(
        404, "unknown_speaker", f"there is no speaker {number} (any more): see who was told last"
    )


def _same(number: int) -> ApiError:
    return ApiError(409, "same_speaker", f"{number} is one speaker: name another to merge them")
