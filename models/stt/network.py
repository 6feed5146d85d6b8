"""What all engines have in common: threads, whose turn it is, and what is not taken for words.

In: utterances, whole or so far. Out: their text, whole ones first, made on threads of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import time
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from enum import IntEnum
from functools import partial
from pathlib import Path
from queue import Empty, PriorityQueue
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from models.errors import AnalysisError, UsageError
from models.levels import gain, without_hum
from models.stt.transcriber import Hypothesis, Transcriber, Transcript
from models.stt.word_times import word_times
from models.vad import WINDOW, load_vad
from models.worker import STUCK_S, Worker

T = TypeVar("T")

SAMPLE_RATE = 16_000

_SHORTEST = SAMPLE_RATE // 10  # samples: in less than that no word can be said

# A window more likely than this is speech. It is where Silero lets speech end, not where it lets
# it begin (0.5): what has been taken for an utterance is not doubted again. White and pink noise of
# any loudness stayed below 0.12, and each of 36 clips of speech went above 0.5.
_SPEECH = 0.35

_MOST_REPETITIVE = 2.4  # text to its compressed length, from where Whisper's authors distrust it


class Recognised(NamedTuple):
    """What a network makes of an utterance.

    Attributes:
        text: "" if it has no words, or they make no sense.
        confidence: see `Transcript`.
    """

    text: str
    confidence: float | None = None


class _Rank(IntEnum):
    CLOSE = 0
    WHOLE = 1
    SO_FAR = 2


class _Call(NamedTuple):
    rank: _Rank
    number: int  # in the order of their coming; no two have the same
    future: Future[Any]
    call: Callable[[], Any]


class NetworkTranscriber(Transcriber):
    """An engine with threads that listen to one utterance at a time each.

    Args:
        name: the engine's name.
        stuck_s: see `load_transcriber`.
        threads: how many utterances it listens to at once.
    """

    def __init__(self, name: str, stuck_s: float = STUCK_S, threads: int = 1) -> None:
        self.name = name
        self._calls: PriorityQueue[_Call] = PriorityQueue()
        self._numbers = itertools.count()
        self._closed = False
        self._workers = [Worker(name, self._take, stuck_s) for _ in range(threads)]

    @abstractmethod
    def recognise(self, samples: npt.NDArray[np.float32]) -> Recognised:
        """The words of an utterance of at least 0.1 s, float32 (n,), 16 kHz mono."""

    def recognise_so_far(
        self, samples: npt.NDArray[np.float32], last: Hypothesis | None
    ) -> Hypothesis:
        """The words so far; none, unless an engine can tell them at little cost."""
        return Hypothesis("")

    def transcribe(self, samples: npt.NDArray[np.float32]) -> Future[Transcript]:
        """See `Transcriber.transcribe`."""
        return self._submit(_Rank.WHOLE, partial(self._transcript, samples))

    def transcribe_so_far(
        self, samples: npt.NDArray[np.float32], last: Hypothesis | None
    ) -> Future[Hypothesis]:
        """See `Transcriber.transcribe_so_far`."""
        return self._submit(_Rank.SO_FAR, partial(self._hypothesis, samples, last))

    @property
    def stuck(self) -> bool:
        """See `Transcriber.stuck`."""
        return any(worker.stuck for worker in self._workers)

    @property
    def waiting(self) -> int:
        """See `Transcriber.waiting`."""
        return self._calls.qsize()

    def work_s(self) -> float:
        """See `Transcriber.work_s`. Of noise, so that it has to listen to all of it."""
        noise = np.random.default_rng(0).normal(0, 0.01, 2 * SAMPLE_RATE).astype(np.float32)
        began = time.perf_counter()
        self.recognise(noise)
        return time.perf_counter() - began

    def close(self) -> None:
        """See `Transcriber.close`."""
        self._closed = True
        with contextlib.suppress(Empty):
            while True:
                _fail(self._calls.get_nowait().future)
        for _ in self._workers:
            self._calls.put(_Call(_Rank.CLOSE, next(self._numbers), Future(), int))
        for worker in self._workers:
            worker.close()

    def _submit(self, rank: _Rank, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._calls.put(_Call(rank, next(self._numbers), future, call))
        if self._closed:  # nobody takes it any more
            _fail(future)
        return future

    def _take(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        rank, _, future, call = self._calls.get()
        return None if rank is _Rank.CLOSE else (future, call)

    def _transcript(self, samples: npt.NDArray[np.float32]) -> Transcript:
        with self._named():
            samples = _levelled(samples)
            if not _worth_hearing(samples):
                return Transcript("", (), self.name)
            text, confidence = self.recognise(samples)
            text = "" if _repetitive(text) else " ".join(text.split())
            return Transcript(text, word_times(text, samples), self.name, confidence)

    def _hypothesis(self, samples: npt.NDArray[np.float32], last: Hypothesis | None) -> Hypothesis:
        with self._named():
            samples = _levelled(samples)
            if not _worth_hearing(samples):
                return Hypothesis("")
            return self.recognise_so_far(samples, last)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Whatever a network trips over fails its utterance, and says which engine it was."""
        try:
            yield
        except Exception as error:
            reason = f"{self.name}: {type(error).__name__}: {error}"
            raise AnalysisError("stt", reason) from error


def _fail(future: Future[Any]) -> None:
    """Nobody will work for it: the engine was closed."""
    if not future.done() and future.set_running_or_notify_cancel():
        future.set_exception(AnalysisError("stt", "the speech recogniser was closed"))


def _levelled(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Bring up what is quieter than ordinary speech: no network here scales its input."""
    samples = without_hum(samples)
    peak = float(np.abs(samples).max(initial=0.0))
    levelled: npt.NDArray[np.float32] = samples * np.float32(gain(peak))
    return levelled


def _worth_hearing(samples: npt.NDArray[np.float32]) -> bool:
    """Whether there is speech: recognisers hear "huh" and "thank you" in noise and silence."""
    vad = load_vad().stream()
    windows = (samples[n : n + WINDOW] for n in range(0, len(samples) - WINDOW + 1, WINDOW))
    return len(samples) >= _SHORTEST and any(vad.probability(w) > _SPEECH for w in windows)


def _repetitive(text: str) -> bool:
    """Whether a network has lost its way: it says one thing over and over."""
    written = text.encode()
    return len(written) > _MOST_REPETITIVE * len(zlib.compress(written))


def parts(samples: npt.NDArray[np.float32], longest: int) -> Iterator[npt.NDArray[np.float32]]:
    """Cut what is longer than a network can take, each time where the last third is quietest."""
    while len(samples) > longest:
        step = SAMPLE_RATE // 10
        last = samples[longest - longest // 3 : longest]
        power = np.square(last[: len(last) // step * step]).reshape(-1, step).sum(axis=1)
        cut = longest - longest // 3 + int(power.argmin()) * step + step // 2
        yield samples[:cut]
        samples = samples[cut:]
    yield samples


def joined(recognised: Iterable[Recognised]) -> Recognised:
    """Several parts as one, which is as sure as the least sure of them."""
    texts, confidences = zip(*recognised, strict=True)
    return Recognised(" ".join(filter(None, texts)), min(confidences))


@contextlib.contextmanager
def reading(weights: Path) -> Iterator[None]:
    """Around the loading of weights: whatever the libraries trip over becomes one line."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise UsageError(
            f"the weights at {weights} cannot be read ({reason[0]}): delete them and download them "
            "again"
        ) from error
