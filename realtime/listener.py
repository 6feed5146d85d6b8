"""From a ring of audio to the changes of speech in it: the detector and the endpointer at work.

In: audio, as it is written to the ring. Out: speech started, paused, resumed; utterance closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import numpy as np

from models.errors import AnalysisError
from models.vad import WINDOW, VADStream
from realtime.endpointing import (
    Endpointer,
    EndpointingSettings,
    SpeechChange,
    Turn,
    UtteranceClosed,
)
from realtime.levelling import Leveller
from realtime.media import SAMPLE_RATE, Samples
from realtime.metrics import VAD_WINDOW
from realtime.rings import AudioRing

AnotherVoice: TypeAlias = Callable[[Samples, Samples], Awaitable[bool]]
"""See `realtime.analysis.Analyzer.another_voice`."""

_COMPARED = 32 * SAMPLE_RATE // 10  # at most, of what was said before a pause


class Listener:
    """Hears speech begin and end in a ring of audio, window by window, brought to one level.

    Args:
        ring: where the audio is.
        vad: tells speech.
        settings: of the endpointing.
        another_voice: tells whether an utterance is to be split; None where there is one speaker.
    """

    def __init__(
        self,
        ring: AudioRing,
        vad: VADStream,
        settings: EndpointingSettings,
        another_voice: AnotherVoice | None = None,
    ) -> None:
        self._ring = ring
        self._vad = vad
        self._endpointer = Endpointer(settings)
        self._another_voice = another_voice
        self._leveller = Leveller()
        self.position = 0
        """Samples [0, position) have been listened to."""

    @property
    def speaking_until(self) -> int | None:
        """See `Endpointer.speaking_until`; never beyond what the ring holds."""
        until = self._endpointer.speaking_until
        return None if until is None else min(until, self._ring.stop)

    @property
    def closing(self) -> UtteranceClosed | None:
        """See `Endpointer.closing`."""
        return self._endpointer.closing

    async def listen(self) -> AsyncIterator[SpeechChange]:
        """Take all whole windows that have arrived; yields each change as its window is taken."""
        while self.position + WINDOW <= self._ring.stop:
            window = self._ring.read(self.position, self.position + WINDOW)
            self.position += WINDOW
            async for change in self._take(window):
                yield change

    async def end(self) -> AsyncIterator[SpeechChange]:
        """No more audio will come: take the last part of a window, and close what is open."""
        async for change in self.listen():
            yield change
        if rest := self._ring.stop - self.position:
            window = np.zeros(WINDOW, dtype=np.float32)
            window[:rest] = self._ring.read(self.position, self._ring.stop)
            self.position = self._ring.stop
            async for change in self._take(window):
                yield change
        for change in self._endpointer.end(self._ring.stop):
            yield change

    async def _take(self, window: Samples) -> AsyncIterator[SpeechChange]:
        with VAD_WINDOW.time():
            probability = self._vad.probability(self._leveller.window(window))
        for change in self._endpointer.window(probability):
            yield change
        turn = self._endpointer.turn
        if turn is not None and await self._somebody_else(turn):
            for change in self._endpointer.split(turn):
                yield change

    async def _somebody_else(self, turn: Turn) -> bool:
        """Whether somebody else speaks behind a pause; not if that could not be told."""
        if self._another_voice is None:
            return False
        before = self._ring.read(max(turn.start, turn.pause - _COMPARED), turn.pause)
        after = self._ring.read(turn.resumed, min(turn.position, self._ring.stop))
        try:
            return await self._another_voice(before, after)
        except AnalysisError:
            return False
