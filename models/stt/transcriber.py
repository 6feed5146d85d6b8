"""What every speech-to-text engine does.

In: the samples of one utterance. Out: its text so far, while it is spoken; at its end a
`Transcript`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Word:
    """One word and about when it was said, in seconds from the start of its utterance."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in one utterance.

    Attributes:
        text: the words, separated by single spaces; empty if none were recognised.
        words: the same words with their times, estimated by `models.stt.word_times`.
        engine: name of the engine that heard them.
        confidence: how sure the engine is, 0 to 1: the geometric mean of the probabilities of its
            tokens. Empty text with a confidence: something was said, and not understood. None if
            there was nothing to recognise, or the engine does not tell.
    """

    text: str
    words: tuple[Word, ...]
    engine: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The text of an utterance that goes on.

    Attributes:
        text: as in a `Transcript`.
        tokens: the engine's own, by which it finds the next hypothesis sooner.
    """

    text: str
    tokens: tuple[int, ...] = ()


class Transcriber(ABC):
    """An engine: loaded once, shared by all sessions. Safe to use from several threads.

    Its answers depend on the samples alone, not on any other utterance. Its futures fail with
    AnalysisError. One that is cancelled in time is not begun.

    Attributes:
        name: of the engine.
    """

    name: str

    @abstractmethod
    def transcribe(self, samples: npt.NDArray[np.float32]) -> Future[Transcript]:
        """The transcript of a whole utterance, float32 (n,), 16 kHz mono."""

    @abstractmethod
    def transcribe_so_far(
        self, samples: npt.NDArray[np.float32], last: Hypothesis | None
    ) -> Future[Hypothesis]:
        """The text of an utterance that goes on; transcripts come before it.

        Args:
            samples: float32 (n,), 16 kHz mono, from the beginning of the utterance.
            last: what was made of fewer of these samples, if anything.
        """

    @property
    @abstractmethod
    def stuck(self) -> bool:
        """Whether it gives no answer."""

    @property
    @abstractmethod
    def waiting(self) -> int:
        """How many utterances wait for it."""

    @abstractmethod
    def work_s(self) -> float:
        """Wall seconds that it takes just now for two seconds of sound; 0 if it does nothing."""

    @abstractmethod
    def close(self) -> None:
        """Release what the engine holds; utterances that wait for it fail."""
