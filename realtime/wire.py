"""Parts of events: words, faces, speakers; and the base of everything that is told.

In: what the session found. Out: JSON objects within those of `realtime.events`, whose units apply.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Wire(BaseModel):
    """Something that is told. A reader must ignore fields it does not know."""

    # The lines below a field are its description in the schema.
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class WireWord(Wire):
    """One recognised word. Its times, in seconds of media time, are estimates.

    The words are spread over the loud parts of the utterance by their length: half of them are
    less than 0.08 s off, nine of ten less than 0.2 s.
    """

    text: str
    start: float
    end: float


class WireTranscript(Wire):
    """What was said, and which engine heard it."""

    text: str
    """Empty if there were no words, or none worth reading."""
    engine: str
    confidence: float | None = None
    """How sure the engine is of its words, 0 to 1. With an empty text: something was said and not
    understood. Null if there were no words to recognise, or the engine does not tell."""
    words: tuple[WireWord, ...] = ()

    @property
    def shown(self) -> str:
        """The text for a person to read; in brackets, why there is none."""
        return self.text or ("(no words)" if self.confidence is None else "(not understood)")


class WireFace(Wire):
    """A face the model was shown."""

    time: float
    """Media time of its frame."""
    box: tuple[float, float, float, float]
    """x, y of the left upper corner, width, height; in pixels of the source."""
    confidence: float
    """The detector's, 0 to 1."""


class WireSpeaker(Wire):
    """To whom an utterance is given."""

    id: int
    """Number of the speaker in the session, from 1, in the order in which they were first heard."""
    name: str
    """``Speaker 1``, or what somebody has called them."""
    by: Literal["face", "voice", "both"]
    """What told it: the face that spoke, the voice, or both."""
    confidence: float
    """0 to 1; against all others who have been heard, and somebody new."""


class WirePerson(Wire):
    """Somebody who was in view during an utterance."""

    speaks: bool
    """Of several, whose lips go with the sound."""
    confidence: float | None = None
    """The chance of that, 0 to 1; all those in view together have at most 1. Null if nobody else
    was in view, or the source has too few pictures."""
    speaker: int | None = None
    """The speaker whose face it is, if they were seen speaking before."""
    time: float
    """Media time of the last picture of the face."""
    box: tuple[float, float, float, float]
    """Where it was then: x, y, width, height, in pixels of the source."""


class Latency(Wire):
    """How long the answer took, in seconds of wall time."""

    close_to_result: float
    """From the decision that the utterance is over."""
    end_to_result: float | None
    """From the end of the utterance itself, hangover included; null if not at live pace."""
    stages: dict[str, float]
    """What each stage took: ``stt`` (after the close), ``faces``, ``mer``. Stages overlap."""
