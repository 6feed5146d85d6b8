"""The utterance being spoken: what is worked out of it before it is over.

In: how far the sound has come, and where the utterance is likely to end. Out: its words and scores
so far; and, when it closes where that was likely, the analysis that has begun already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from models.errors import AnalysisError
from realtime.analysis import Analysis, Utterance, UtteranceStream
from realtime.endpointing import UtteranceClosed
from realtime.events import Event, TranscriptPartial, UtteranceProvisional
from realtime.media import SAMPLE_RATE
from realtime.rings import AudioRing

# How often the words so far are told: every 0.7 s, and where that is longer, when a fifth has been
# added, because the recogniser listens to all of the utterance each time.
_TEXT, _TEXT_GROWTH = 7 * SAMPLE_RATE // 10, 5
_TEXT_LATE = 2 * SAMPLE_RATE  # further behind than this is worth a warning
_PROVISIONAL = 3 * SAMPLE_RATE  # how often a long utterance is scored while it goes on
# Silence beyond the padding after which a pause is likely to last: with the default settings,
# analysis begins 0.16 s into a pause, and has 0.34 s until the pause is certain.
_LIKELY = 60 * SAMPLE_RATE // 1000

T = TypeVar("T")


class Spawn(Protocol):
    """Begins a task that ends with the session at the latest."""

    def __call__(self, work: Coroutine[Any, Any, T], /) -> asyncio.Task[T]:
        """Begin `work`."""


def analysing(
    stream: UtteranceStream, utterance: Utterance, spawn: Spawn
) -> asyncio.Task[Analysis]:
    """The analysis of an utterance, which has begun."""
    task = spawn(stream.result(utterance))

    def look(task: asyncio.Task[Analysis]) -> None:
        if not task.cancelled():
            task.exception()  # is told with the utterance, or was of one that went on

    task.add_done_callback(look)
    return task


@dataclass(frozen=True, slots=True)
class _Ahead:
    """The analysis of the utterance as it is if it ends where it is likely to."""

    utterance: Utterance
    frames: int  # that it has seen
    task: asyncio.Task[Analysis]


class OpenUtterance:
    """One utterance, from the first word on until it is known to be over.

    Args:
        number: in its session, from 1.
        start: its first sample.
        stream: of the models.
        audio: where the sound of the session is.
        session: how the session is called.
        spawn: begins what the session cancels when it ends.
        tell: takes events that can be given up.
    """

    def __init__(
        self,
        number: int,
        start: int,
        stream: UtteranceStream,
        audio: AudioRing,
        *,
        session: str,
        spawn: Spawn,
        tell: Callable[[Event], None],
    ) -> None:
        self.start = start
        self.stream = stream
        self._number = number
        self._audio = audio
        self._session = session
        self._spawn = spawn
        self._tell = tell
        self._over = False
        self._text = ""  # of the first part of it
        self._next_text = start + _TEXT
        self._next_score = start + _PROVISIONAL
        self._writing: asyncio.Task[None] | None = None  # down what was said so far
        self._scoring: asyncio.Task[None] | None = None
        self._ahead: _Ahead | None = None

    def write_down(self, until: int, *, busy: bool) -> bool:
        """Have what was said up to sample `until` written down, if it is time for that.

        Args:
            busy: whether the networks have something else to do, which goes before.

        Returns:
            False if the words are given up for so long that it should be told.
        """
        if until < self._next_text:
            return True
        if busy or (self._writing and not self._writing.done()):
            return until - self._next_text <= _TEXT_LATE
        self._next_text = until + max(_TEXT, (until - self.start) // _TEXT_GROWTH)
        self._writing = self._spawn(self._write(until))
        return True

    async def _write(self, until: int) -> None:
        try:
            text = await self.stream.text_so_far(self._audio.read(self.start, until))
        except AnalysisError:
            return  # only the result counts, and it will tell
        if not self._over and text != self._text:
            self._text = text
            self._tell(
                TranscriptPartial(
                    session=self._session,
                    time=until / SAMPLE_RATE,
                    utterance=self._number,
                    text=text,
                )
            )

    def score(self, until: int, *, busy: bool) -> bool:
        """Have what is expressed up to sample `until` scored, if it is time for that.

        Args:
            busy: whether utterances that are over wait for their results, which go before.

        Returns:
            False if the scores were given up.
        """
        if until < self._next_score:
            return True
        self._next_score += ((until - self._next_score) // _PROVISIONAL + 1) * _PROVISIONAL
        if busy or (self._scoring and not self._scoring.done()):
            return False
        self._scoring = self._spawn(self._score(until, self._text))
        return True

    async def _score(self, until: int, text: str) -> None:
        stop_s = until / SAMPLE_RATE
        samples = self._audio.read(self.start, until)
        try:
            scores = await self.stream.provisional(samples, text, stop_s)
        except AnalysisError:
            return  # only the result counts, and it will tell
        if not self._over:
            self._tell(
                UtteranceProvisional(
                    session=self._session,
                    time=stop_s,
                    utterance=self._number,
                    emotions=scores.probabilities,
                    neutral=scores.neutral,
                    thresholds=scores.thresholds,
                    expressed=scores.expressed,
                )
            )

    def work_ahead(self, closing: UtteranceClosed | None) -> None:
        """If a pause has begun, or the limit is near, analyse the utterance as if it were over.

        Should it end elsewhere, that is dropped. Should it end there, the answer is there.
        """
        if closing is None:
            self.drop_ahead()
            return
        known = self._ahead is not None and self._ahead.utterance.stop == closing.stop
        if not known and self._audio.stop >= closing.stop + _LIKELY:
            self.drop_ahead()
            utterance = self._complete(closing)
            frames = self.stream.seen(utterance.stop_s)
            task = analysing(self.stream, utterance, self._spawn)
            self._ahead = _Ahead(utterance, frames, task)

    def drop_ahead(self) -> None:
        """It did not end as it was expected to."""
        if self._ahead is not None:
            self._ahead.task.cancel()
            self._ahead = None

    def end(self) -> None:
        """Nobody speaks it any more: of its words and scores so far, nothing more is told."""
        self._over = True
        if self._writing is not None:
            self._writing.cancel()

    def close(self, closed: UtteranceClosed) -> tuple[Utterance, asyncio.Task[Analysis]]:
        """It is over: its analysis, which has begun already if it ended where it was likely to."""
        frames = self.stream.seen(closed.stop / SAMPLE_RATE)
        ahead = self._ahead
        if ahead and (ahead.utterance.stop, ahead.frames) == (closed.stop, frames):
            # A pause that lasted as long as the utterance might is told as its limit.
            return replace(ahead.utterance, reason=closed.reason), ahead.task
        self.drop_ahead()
        utterance = self._complete(closed)
        return utterance, analysing(self.stream, utterance, self._spawn)

    def _complete(self, closed: UtteranceClosed) -> Utterance:
        samples = self._audio.read(closed.start, closed.stop)
        return Utterance(self._number, closed.start, closed.stop, closed.reason, samples)
