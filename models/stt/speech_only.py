"""No words where nobody speaks: recognisers hear "huh" and "thank you" in noise and silence.

In: any engine. Out: the same engine, but that an utterance without speech has no words.
"""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import numpy.typing as npt

from models.stt import Transcriber, Transcript, TranscriptionStream, resolved
from models.vad import WINDOW, load_vad

# A window more likely than this is speech. It is where Silero lets speech end, not where it lets
# it begin (0.5): what has been taken for an utterance is not doubted again. White and pink noise of
# any loudness stayed below 0.12, and each of 36 clips of speech went above 0.5.
_THRESHOLD = 0.35


class SpeechOnly(Transcriber):
    """An engine that is asked only if there is speech to write down.

    Args:
        engine: hears the utterances; closed with this.
    """

    def __init__(self, engine: Transcriber) -> None:
        self.name = engine.name
        self._engine = engine

    def stream(self) -> TranscriptionStream:
        """A stream for one utterance; see `Transcriber.stream`."""
        return _SpeechOnlyStream(self._engine.stream(), self.name)

    def expect(self, speakers: int) -> None:
        """See `Transcriber.expect`."""
        self._engine.expect(speakers)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


class _SpeechOnlyStream(TranscriptionStream):
    """Looks for speech until it has found some, window by window: 0.1 ms of work each."""

    def __init__(self, stream: TranscriptionStream, engine: str) -> None:
        self._stream = stream
        self._engine = engine
        self._vad = load_vad().stream()
        self._rest = np.zeros(0, np.float32)  # less than a window, not yet looked at
        self._speech = False

    def accept(self, samples: npt.NDArray[np.float32]) -> Future[str]:
        text = self._stream.accept(samples)
        self._look(samples)
        return text if self._speech else resolved("")

    def finish(self) -> Future[Transcript]:
        self._look(np.zeros(-len(self._rest) % WINDOW, np.float32))
        if self._speech:
            return self._stream.finish()
        self._stream.cancel()
        return resolved(Transcript("", (), self._engine))

    def cancel(self) -> None:
        self._stream.cancel()

    def _look(self, samples: npt.NDArray[np.float32]) -> None:
        heard = np.concatenate([self._rest, samples])
        whole = len(heard) - len(heard) % WINDOW
        self._rest = heard[whole:]
        for start in range(0, whole, WINDOW):
            if self._speech:
                return
            self._speech = self._vad.probability(heard[start : start + WINDOW]) > _THRESHOLD
