"""Speech-to-text: the contract, and the choice of an engine.

In: the samples of one utterance, as they are spoken. Out: the text so far, then a `Transcript`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from models.errors import UsageError
from models.registry import is_here, resolve
from models.worker import STUCK_S

T = TypeVar("T")


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

    def expect(self, speakers: int) -> None:  # noqa: B027 - most have nothing to do
        """So many speakers may talk at the same time: make ready for them, in the background."""

    @abstractmethod
    def close(self) -> None:
        """Release what the engine holds; open streams fail."""


# Best first, and the weights of each. Mean word error rate over the eight English sets of the Open
# ASR leaderboard, as published with Moonshine: moonshine-base 10.1 %, whisper-base.en 10.3 %,
# moonshine-tiny 12.7 %, whisper-tiny.en 12.8 %; whisper-small is better than all, sphinx far worse.
_WEIGHTS = {
    "whisper-small": "whisper-small",
    "moonshine-base": "moonshine-base",
    "whisper-base.en": "whisper-base.en",
    "moonshine-tiny": "moonshine-tiny",
    "whisper-tiny.en": "whisper-tiny.en",
    "silero": "silero-stt",
    "sphinx": "pocketsphinx-en-us",
}

# Whisper listens to any utterance for 30 s, which takes the small one 5.5 s of a core: lively talk
# would leave it behind. The others take 1.7 s (base.en) and 0.8 s (tiny.en); Moonshine listens as
# long as the utterance lasts, and takes 0.4 s (base) and 0.2 s (tiny) for one of 3 s.
_NOT_LIVE = ("whisper-small",)

ENGINES = ("auto", "moonshine", "whisper", *_WEIGHTS)
"""The names `load_transcriber` knows."""


def load_transcriber(name: str, stuck_s: float = STUCK_S) -> Transcriber:
    """An engine by its name; its own `name` says which it is.

    Args:
        name: ``auto``: the best whose weights are on this machine and that can follow live speech
            on two cores; ``moonshine`` or ``whisper``: the best of these that is here; or an exact
            one of `ENGINES`.
        stuck_s: seconds after which an engine that gives no answer fails its utterance.

    Raises:
        UsageError: there is no such engine, or its weights cannot be read.
        MissingWeights: none of its weights are on this machine.
    """
    from models.stt.speech_only import SpeechOnly

    return SpeechOnly(_load(_choose(name), stuck_s))


def _choose(name: str) -> str:
    if name not in ENGINES:
        raise UsageError(
            f"no speech-to-text engine named '{name}'; choose one of: {', '.join(ENGINES)}"
        )
    if name == "auto":
        fitting = [engine for engine in _WEIGHTS if engine not in _NOT_LIVE]
    else:
        fitting = [engine for engine in _WEIGHTS if engine == name or engine.startswith(f"{name}-")]
    # The last is the smallest: the one to name when none is here.
    return next((engine for engine in fitting if is_here(_WEIGHTS[engine])), fitting[-1])


def _load(engine: str, stuck_s: float) -> Transcriber:
    weights = resolve(_WEIGHTS[engine])
    if engine == "sphinx":
        from models.stt.sphinx import SphinxTranscriber

        return SphinxTranscriber(stuck_s=stuck_s)
    if engine == "silero":
        from models.stt.silero import SileroTranscriber

        return SileroTranscriber(engine, weights, stuck_s)
    if engine.startswith("moonshine"):
        from models.stt.moonshine import MoonshineTranscriber

        return MoonshineTranscriber(engine, weights, stuck_s)
    from models.stt.whisper import WhisperTranscriber

    return WhisperTranscriber(engine, weights, stuck_s)


def resolved(value: T) -> Future[T]:
    """A future that needs no waiting."""
    future: Future[T] = Future()
    future.set_result(value)
    return future
