"""Where utterances begin and end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from models.vad import load_vad
from realtime.endpointing import (
    EndpointingSettings,
    SpeechChange,
    UtteranceClosed,
)
from realtime.listener import Listener
from realtime.media import AudioBlock
from realtime.rings import AudioRing

Audio = npt.NDArray[np.float32]


def boundaries(changes: list[SpeechChange]) -> list[tuple[int, int]]:
    return [(c.start, c.stop) for c in changes if isinstance(c, UtteranceClosed)]


def streamed_boundaries(chunks: Iterator[Audio]) -> list[tuple[int, int]]:
    """Boundaries of audio that arrives in `chunks`, through the ring as in a session."""
    return boundaries(asyncio.run(_changes(chunks)))


async def _changes(chunks: Iterator[Audio]) -> list[SpeechChange]:
    ring = AudioRing(seconds=2)
    listener = Listener(ring, load_vad().stream(), EndpointingSettings())
    changes: list[SpeechChange] = []
    for chunk in chunks:
        # In pieces of a second at most: a ring holds seconds, a caller may bring an hour.
        for i in range(0, len(chunk), 16_000):
            ring.write(AudioBlock(ring.stop, chunk[i : i + 16_000]))
            changes += [change async for change in listener.listen()]
    return changes + [change async for change in listener.end()]
