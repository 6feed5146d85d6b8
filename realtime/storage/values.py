"""What the session store keeps, as values.

In: what the server knows of a session, what an utterance was made from, errors of the disk. Out:
the same in the form in which it is stored and told.
"""

from __future__ import annotations

import base64
import errno
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSession:
    """What is kept of a session beside its events.

    Attributes:
        kind, name, source, room, owner: as the server calls them.
        started: when it was asked for, UTC.
        duration: of its source in seconds, where that is known in advance.
        recorded: whether the sound and the faces of its utterances are kept.
        time: media seconds of its end; 0 while it runs.
        utterances: how many closed; 0 while it runs.
        last_seq: number of its last event; 0 while it runs.
        reason: why it ended; None while it runs.
    """

    id: str
    kind: str
    name: str
    source: str
    room: str | None
    owner: str | None
    started: datetime
    duration: float | None
    recorded: bool
    time: float = 0.0
    utterances: int = 0
    last_seq: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class UtteranceInputs:
    """What the model was given for one utterance, small enough to keep.

    Attributes:
        faces: media time in seconds and JPEG (160 x 160) of each face.
        waveform: lowest and highest sample of each of some equal parts.
        duration: seconds.
        frame: width and height, in pixels of the source, of the pictures in which the faces were
            found; None if there was no face.
    """

    faces: tuple[tuple[float, bytes], ...]
    waveform: tuple[tuple[float, float], ...]
    duration: float
    frame: tuple[int, int] | None

    def to_json(self) -> bytes:
        """As it is stored: JSON, the pictures in base64."""
        return json.dumps(
            {
                "faces": [(at, base64.b64encode(data).decode()) for at, data in self.faces],
                "waveform": self.waveform,
                "duration": self.duration,
                "frame": self.frame,
            }
        ).encode()

    @classmethod
    def from_json(cls, text: bytes) -> UtteranceInputs:
        """What `to_json` gave."""
        kept: dict[str, Any] = json.loads(text)
        return cls(
            faces=tuple((at, base64.b64decode(data)) for at, data in kept["faces"]),
            waveform=tuple((low, high) for low, high in kept["waveform"]),
            duration=kept["duration"],
            frame=kept["frame"] and tuple(kept["frame"]),
        )


@dataclass(frozen=True, slots=True)
class NotStored:
    """Why something is not durable.

    Attributes:
        code: "store.full": the disk is; "store.failed": anything else.
        message: one line for a person.
    """

    code: Literal["store.full", "store.failed"]
    message: str


class UnkeepableError(Exception):
    """Something can never be kept: its place is taken, or its session was deleted."""


def why_not_stored(error: Exception) -> NotStored:
    """What an error of SQLite's, or of the disk, means for what was to be kept."""
    no_space = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if no_space or "full" in str(error):  # SQLite's word; its code is known from Python 3.11 on
        return NotStored(
            "store.full", "the disk is full: what is told from now on may be lost with the server"
        )
    return NotStored(
        "store.failed",
        f"the session cannot be kept ({error}): what is told from now on may be lost with the "
        "server",
    )
