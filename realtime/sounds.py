"""Non-speech sounds, heard all through a session: where each begins and ends.

In: a ring of audio, and a network that listens to windows of it on a fixed grid. Out: one event for
each laughter or applause, however long it lasts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import numpy as np

from models.errors import AnalysisError
from models.sounds.runs import PIECE_S, STEP_S, WINDOW_S, WINDOWS, Sound, SoundRuns
from realtime.events import Event, SoundHeard
from realtime.media import SAMPLE_RATE, Samples
from realtime.rings import AudioRing

_PIECE, _WINDOW, _STEP = (round(s * SAMPLE_RATE) for s in (PIECE_S, WINDOW_S, STEP_S))
_WAITING = 4  # pieces; at more a live source goes unheard, and another one must wait


class SoundWatch:
    """Listens to the sound of a session in the order of time, beside all else.

    Args:
        audio: where the sound of the session is.
        hear: tells how clearly each kind is heard in the windows of a piece, see
            `Analyzer.hear`.
        live: whether windows are given up where they come too fast.
        session: how the session is called.
        tell: takes an event for each sound that is over.
    """

    def __init__(
        self,
        audio: AudioRing,
        hear: Callable[[Samples], Awaitable[list[dict[str, float]]]],
        *,
        live: bool,
        session: str,
        tell: Callable[[Event], Awaitable[None]],
    ) -> None:
        self._audio = audio
        self._hear = hear
        self._live = live
        self._session = session
        self._tell = tell
        self._next = 0  # sample at which the next piece begins
        # Beginning in seconds, samples, and how many of its windows count.
        self._pieces: asyncio.Queue[tuple[float, Samples, int] | None] = asyncio.Queue(_WAITING)

    async def listen(self) -> bool:
        """Take all whole pieces that have arrived; False if one was given up."""
        taken = True
        while self._next + _PIECE <= self._audio.stop:
            samples = self._audio.read(self._next, self._next + _PIECE)
            taken &= await self._take(samples, WINDOWS)
        return taken

    async def end(self) -> None:
        """No more audio will come: take the rest, with silence behind it."""
        stop = self._audio.stop
        if stop > self._next + _STEP or self._next == 0 < stop:
            rest = self._audio.read(self._next, stop)
            windows = WINDOWS if len(rest) > _WINDOW else 1
            await self._take(np.pad(rest, (0, _PIECE - len(rest))), windows)
        await self._pieces.put(None)

    async def follow(self) -> None:
        """Hear each piece, and tell the sounds in it, until the end."""
        runs = SoundRuns()
        known_s = 0.0
        while (piece := await self._pieces.get()) is not None:
            start_s, samples, windows = piece
            known_s = start_s + PIECE_S
            try:
                heard = await self._hear(samples)
            except AnalysisError:
                continue  # it is in the log, and what was said is told all the same
            for number, window in enumerate(heard[:windows]):
                await self._tell_each(runs.take(start_s + number * STEP_S, window), known_s)
        await self._tell_each(runs.end(), known_s)

    async def _tell_each(self, sounds: Iterator[Sound], known_s: float) -> None:
        for sound in sounds:
            await self._tell(
                SoundHeard(
                    session=self._session,
                    time=known_s,
                    kind=sound.kind,
                    start=sound.start_s,
                    end=min(sound.stop_s, self._audio.stop / SAMPLE_RATE),
                    confidence=sound.confidence,
                )
            )

    async def _take(self, samples: Samples, windows: int) -> bool:
        start_s = self._next / SAMPLE_RATE
        self._next += WINDOWS * _STEP
        if self._live and self._pieces.full():
            return False
        await self._pieces.put((start_s, samples, windows))
        return True
