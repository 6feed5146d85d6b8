"""Speech-to-text: the contract, and the choice of an engine.

In: the samples of one utterance, as they are spoken. Out: the text so far, then a `Transcript`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import UsageError

ENGINES = ("sphinx",)
"""The names `load_transcriber` knows."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word and when it was said, in seconds from the start of its utterance."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in one utterance.

    Attributes:
        text: the words, separated by single spaces; empty if none were recognised.
        words: the same words with their times; empty if the engine does not tell times.
        engine: name of the engine that heard them.
    """

    text: str
    words: tuple[Word, ...]
    engine: str


class TranscriptionStream(ABC):
    """One utterance on its way through an engine. No call blocks; decoding happens elsewhere."""

    @abstractmethod
    def accept(self, samples: npt.NDArray[np.float32]) -> Future[str]:
        """Hand over the next samples, float32 (n,) 16 kHz; resolves to the text so far."""

    @abstractmethod
    def finish(self) -> Future[Transcript]:
        """No more samples will come; resolves to the transcript. Ends the stream."""

    @abstractmethod
    def cancel(self) -> None:
        """The utterance is of no interest any more. Ends the stream; harmless after `finish`."""


class Transcriber(ABC):
    """An engine: loaded once, shared by all sessions. Safe to use from several threads."""

    name: str

    @abstractmethod
    def stream(self) -> TranscriptionStream:
        """A stream for one new utterance. Its futures fail with AnalysisError if the engine does.

        The transcript depends on the samples alone: not on how they were cut into pieces, nor on
        any other utterance.
        """

    @abstractmethod
    def close(self) -> None:
        """Release what the engine holds; open streams fail."""


def load_transcriber(name: str) -> Transcriber:
    """The engine of that name.

    Raises:
        UsageError: there is no such engine.
    """
    if name == "sphinx":
        from models.stt.sphinx import SphinxTranscriber

        return SphinxTranscriber()
    raise UsageError(
        f"no speech-to-text engine named '{name}'; choose one of: {', '.join(ENGINES)}"
    )
