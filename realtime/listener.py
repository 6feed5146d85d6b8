"""From a ring of audio to the changes of speech in it: the detector and the endpointer at work.

In: audio, as it is written to the ring. Out: speech started, paused, resumed; utterance closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from models.vad import WINDOW, VADStream
from realtime.endpointing import Endpointer, EndpointingSettings, SpeechChange, UtteranceClosed
from realtime.levelling import Leveller
from realtime.media import Samples
from realtime.metrics import VAD_WINDOW
from realtime.rings import AudioRing


class Listener:
    """Hears speech begin and end in a ring of audio, window by window, brought to one level."""

    def __init__(self, ring: AudioRing, vad: VADStream, settings: EndpointingSettings) -> None:
        self._ring = ring
        self._vad = vad
        self._endpointer = Endpointer(settings)
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

    def listen(self) -> Iterator[SpeechChange]:
        """Take all whole windows that have arrived; yields each change as its window is taken."""
        while self.position + WINDOW <= self._ring.stop:
            window = self._ring.read(self.position, self.position + WINDOW)
            self.position += WINDOW
            yield from self._take(window)

    def end(self) -> Iterator[SpeechChange]:
        """No more audio will come: take the last part of a window, and close what is open."""
        yield from self.listen()
        if rest := self._ring.stop - self.position:
            window = np.zeros(WINDOW, dtype=np.float32)
            window[:rest] = self._ring.read(self.position, self._ring.stop)
            self.position = self._ring.stop
            yield from self._take(window)
        yield from self._endpointer.end(self._ring.stop)

    def _take(self, window: Samples) -> Iterable[SpeechChange]:
        with VAD_WINDOW.time():
            probability = self._vad.probability(self._leveller.window(window))
        return self._endpointer.window(probability)
