"""Engines that hear an utterance as a whole, once it is over: what they have in common.

In: samples. Out: no text while they are gathered, then the transcript, made on a thread of its own.
"""

from __future__ import annotations

import contextlib
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
import numpy.typing as npt

from models.errors import AnalysisError, UsageError
from models.stt import Transcriber, Transcript, TranscriptionStream, resolved
from models.worker import STUCK_S, Worker

_SHORTEST = 1600  # samples, 0.1 s: in less than that no word can be said
_MOST_REPETITIVE = 2.4  # text to its compressed length, from where Whisper's authors distrust it


class WholeUtteranceTranscriber(Transcriber):
    """A network that writes down a whole utterance at a time.

    One thread, for all streams: the network takes one core, and is heard sooner by the first if
    it does not hear the second as well.

    Args:
        name: the engine's name.
        stuck_s: see `load_transcriber`.
    """

    def __init__(self, name: str, stuck_s: float = STUCK_S) -> None:
        self.name = name
        self._calls: SimpleQueue[tuple[Future[str], Callable[[], str]] | None] = SimpleQueue()
        self._worker = Worker(name, self._calls.get, stuck_s)
        self._closed = False

    @abstractmethod
    def recognise(self, samples: npt.NDArray[np.float32]) -> str:
        """The words of an utterance of at least 0.1 s, float32 (n,) 16 kHz; "" if it has none."""

    def stream(self) -> TranscriptionStream:
        """A stream for one utterance; see `Transcriber.stream`."""
        return _WholeUtteranceStream(self)

    def close(self) -> None:
        """Let the network go; utterances that wait for it fail."""
        self._closed = True
        with contextlib.suppress(Empty):
            while (waiting := self._calls.get_nowait()) is not None:
                waiting[0].cancel()
        self._calls.put(None)
        self._worker.close()

    def submit(self, samples: npt.NDArray[np.float32]) -> Future[Transcript]:
        """The transcript of a whole utterance, soon. Fails with AnalysisError."""
        transcript: Future[Transcript] = Future()

        def deliver(done: Future[str]) -> None:
            if done.cancelled():
                transcript.set_exception(AnalysisError("stt", "the speech recogniser was closed"))
            elif error := done.exception():
                reason = f"{self.name}: {type(error).__name__}: {error}"
                transcript.set_exception(AnalysisError("stt", reason))
            else:
                transcript.set_result(Transcript(done.result(), (), self.name))

        text: Future[str] = Future()
        text.add_done_callback(deliver)
        self._calls.put((text, partial(self._text, samples)))
        if self._closed:  # nobody takes it any more
            text.cancel()
        return transcript

    def _text(self, samples: npt.NDArray[np.float32]) -> str:
        if len(samples) < _SHORTEST:
            return ""
        text = " ".join(self.recognise(samples).split())
        written = text.encode()
        # A network that has lost its way says one thing over and over.
        lost = len(written) > _MOST_REPETITIVE * len(zlib.compress(written))
        return "" if lost else text


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


class _WholeUtteranceStream(TranscriptionStream):
    def __init__(self, transcriber: WholeUtteranceTranscriber) -> None:
        self._transcriber = transcriber
        self._pieces: list[npt.NDArray[np.float32]] = []

    def accept(self, samples: npt.NDArray[np.float32]) -> Future[str]:
        self._pieces.append(samples.copy())
        # To hear the beginning again each second would cost as much as the whole, many times over.
        return resolved("")

    def finish(self) -> Future[Transcript]:
        pieces, self._pieces = self._pieces, []
        return self._transcriber.submit(np.concatenate([*pieces, np.zeros(0, np.float32)]))

    def cancel(self) -> None:
        self._pieces.clear()
