"""No recogniser: every utterance is without words, and goes on by face and voice."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from models.stt.transcriber import Hypothesis, Transcriber, Transcript

T = TypeVar("T")


class NoWords(Transcriber):
    """Stands in where words are not wanted, or no recogniser is on this machine."""

    name = "none"
    stuck = False
    waiting = 0

    def transcribe(self, samples: npt.NDArray[np.float32]) -> Future[Transcript]:
        """See `Transcriber.transcribe`."""
        return _resolved(Transcript("", (), self.name))

    def transcribe_so_far(
        self, samples: npt.NDArray[np.float32], last: Hypothesis | None
    ) -> Future[Hypothesis]:
        """See `Transcriber.transcribe_so_far`."""
        return _resolved(Hypothesis(""))

    def work_s(self) -> float:
        """See `Transcriber.work_s`."""
        return 0.0

    def close(self) -> None:
        """There is nothing to release."""


def _resolved(value: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(value)
    return future
