"""Where utterances begin and end, decided while the speech goes on.

In: one speech probability for each window of 512 samples. Out: speech started, paused, resumed,
dropped; utterance closed. Pure: no audio, no network, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from models.vad import WINDOW
from realtime.media import SAMPLE_RATE

CloseReason: TypeAlias = Literal["silence", "limit", "speaker", "end"]
"""Why an utterance closed: a pause, the longest duration, another voice, the end of the source."""

# Silero's `min_silence_at_max_speech`: a pause must be longer to be a place to split.
_SPLIT_SILENCE = 98 * SAMPLE_RATE // 1000

# So long before speech reaches its limit it is told where it will be split.
_NEAR_LIMIT = SAMPLE_RATE

# So much must be said on either side of a pause to tell whether it is by the same voice.
_TURN = 16 * SAMPLE_RATE // 10

# A sound is cut off the tail only if at least this much silence is before it.
_TAIL_SILENCE = 250 * SAMPLE_RATE // 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointingSettings:
    """The parameters of endpointing, under the names Silero gives them.

    Attributes:
        threshold: probability from which a window counts as speech, 0 to 1.
        neg_threshold: probability below which speech counts as paused, 0 to `threshold`.
        min_speech_duration_ms: shorter speech is dropped.
        min_silence_duration_ms: the hangover: how long a pause must last to close the utterance.
        speech_pad_ms: sound kept before the first and after the last window of speech, so that
            first and last syllables survive.
        max_speech_duration_s: a longer utterance is split, at its longest pause if it has one.
        min_tail_duration_ms: a shorter sound that stands alone between the last pause and the
            closing silence (a breath, a click) does not belong to the utterance. Silero has no
            such parameter: with 0 all boundaries are Silero's.

    Raises:
        ValueError: a value is out of its range; the message names it and the range.
    """

    threshold: float = 0.5
    neg_threshold: float = 0.35
    min_speech_duration_ms: int = 250
    min_silence_duration_ms: int = 500
    speech_pad_ms: int = 100
    max_speech_duration_s: float = 10.0
    min_tail_duration_ms: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, not {self.threshold}")
        if not 0 < self.neg_threshold <= self.threshold:
            raise ValueError(
                f"neg_threshold must be above 0 and at most threshold ({self.threshold}), "
                f"not {self.neg_threshold}"
            )
        for name in (
            "min_speech_duration_ms",
            "min_silence_duration_ms",
            "speech_pad_ms",
            "min_tail_duration_ms",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        shortest = (self.min_speech_duration_ms + 2 * self.speech_pad_ms) / 1000 + 0.1
        if not self.max_speech_duration_s >= shortest:
            raise ValueError(
                f"max_speech_duration_s must be at least {shortest:g}, "
                f"not {self.max_speech_duration_s}"
            )


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Speech began; if it lasts, an utterance beginning at sample `start` will close."""

    start: int


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """Speech fell silent at sample `position`; it may resume, close or be dropped."""

    position: int


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """The pause ended at sample `position` before it was long enough."""

    position: int


@dataclass(frozen=True, slots=True)
class SpeechDropped:
    """What had started was too short to be an utterance."""


@dataclass(frozen=True, slots=True)
class UtteranceClosed:
    """Samples [start, stop) are an utterance."""

    start: int
    stop: int
    reason: CloseReason


SpeechChange: TypeAlias = (
    SpeechStarted | SpeechPaused | SpeechResumed | SpeechDropped | UtteranceClosed
)


@dataclass(frozen=True, slots=True)
class Turn:
    """A pause too short to close the utterance, behind which somebody else may go on.

    Attributes:
        start: the sample at which the speech started, without padding.
        pause: where it fell silent.
        resumed: where the pause ended.
        position: the sample up to which it was listened to.
    """

    start: int
    pause: int
    resumed: int
    position: int


@dataclass(frozen=True, slots=True)
class _Ended:
    """A segment whose end is known but for the padding, which depends on what follows."""

    start: int  # padded
    end: int  # not padded
    reason: CloseReason
    order: int  # how many of the untold changes came before its end


class Endpointer:
    """Closes utterances where `silero_vad.get_speech_timestamps` would, but on the fly.

    The one difference, and how to switch it off: `EndpointingSettings.min_tail_duration_ms`. Who
    knows the voices may `split` further.

    Changes come in order: nothing is said of the next utterance before the last one is closed.

    Algorithmic latency: an utterance closes `min_silence_duration_ms` after its last speech,
    rounded up to whole windows. It is later only where less than twice the padding lies between
    two segments: they share that gap, so the first waits until the second is sure to count.
    """

    def __init__(self, settings: EndpointingSettings | None = None) -> None:
        self.settings = settings or EndpointingSettings()
        per_ms = SAMPLE_RATE // 1000
        self._min_speech = self.settings.min_speech_duration_ms * per_ms
        self._min_silence = self.settings.min_silence_duration_ms * per_ms
        self._pad = self.settings.speech_pad_ms * per_ms
        self._min_tail = self.settings.min_tail_duration_ms * per_ms
        self._max_speech = (
            self.settings.max_speech_duration_s * SAMPLE_RATE - WINDOW - 2 * self._pad
        )

        self._position = 0  # first sample of the next window
        self._speech: int | None = None  # where the current segment starts, not padded
        self._start = 0  # the same, padded
        self._pause: int | None = None  # where the current segment fell silent
        self._pauses: list[tuple[int, int]] = []  # (position, length): where it could be split
        self._last_pause: tuple[int, int] | None = None  # (position, length) of the one before
        self._last_end: int | None = None  # where the last segment that counted ended
        self._ended: _Ended | None = None
        self._changes: list[SpeechChange] = []

    @property
    def speaking_until(self) -> int | None:
        """Every sample before this one belongs to the utterance being spoken; None in silence.

        Whatever follows, with three exceptions that end earlier: an utterance split at
        `max_speech_duration_s`, one split at a turn, and one whose padding is shared.
        """
        if self._speech is None or self._ended is not None:
            return None
        silent = self._position if self._pause is None else self._pause
        end = self._without_tail(silent)
        if self._pause is None and end == silent:
            return self._position
        return min(self._position, end + self._pad)

    @property
    def closing(self) -> UtteranceClosed | None:
        """What will close if the pause that has begun lasts, or if speech goes on to its limit.

        None if neither is near. What follows may prove it wrong.
        """
        if self._speech is None or self._ended is not None:
            return None
        if self._pause is not None and self._pause - self._speech > self._min_speech:
            stop = self._without_tail(self._pause) + self._pad
            return UtteranceClosed(self._start, stop, "silence")
        if self._pauses and self._position - self._speech > self._max_speech - _NEAR_LIMIT:
            position, length = self._longest_pause
            stop = position + min(self._pad, length // 2)
            return UtteranceClosed(self._start, stop, "limit")
        return None

    @property
    def turn(self) -> Turn | None:
        """The last pause, if just now enough was said before and behind it to compare voices."""
        if self._speech is None or self._ended is not None or not self._pauses:
            return None
        pause, length = self._pauses[-1]
        said = self._position - pause - length
        if pause - self._speech < _TURN or not 0 <= said - _TURN < WINDOW:
            return None
        return Turn(self._speech, pause, pause + length, self._position)

    def split(self, turn: Turn) -> list[SpeechChange]:
        """Behind this turn, which is that of now, somebody else speaks; return what it changed."""
        last, pause = self._last_pause, self._pause
        self._finish(turn.pause, "speaker")
        self._begin(turn.resumed)
        self._pause = pause
        self._last_pause = last if last and last[0] > turn.pause else None
        self._pad_ended()
        return self._settled_changes()

    @property
    def _longest_pause(self) -> tuple[int, int]:
        """Where the current segment is split if it becomes too long: position and length."""
        return max(self._pauses, key=lambda pause: pause[1])

    def window(self, probability: float) -> list[SpeechChange]:
        """Take the speech probability of the next window; return what it changed, in order."""
        here = self._position
        self._position += WINDOW
        self._follow(here, probability)
        if self._ended is not None and self._padding_is_certain(here):
            self._pad_ended()
        return self._settled_changes()

    def end(self, length: int) -> list[SpeechChange]:
        """The source ended after `length` samples; the last window may have been part silence."""
        if self._speech is not None:
            if length - self._speech > self._min_speech:
                self._finish(length, "end")
            else:
                self._drop()
        if self._ended is not None:
            self._pad_ended(length)
        return self._settled_changes()

    def _follow(self, here: int, probability: float) -> None:
        """The state machine of get_speech_timestamps, one window further."""
        settings = self.settings
        if probability >= settings.threshold:
            if self._speech is None:
                self._begin(here)
                return
            if self._pause is not None:
                if here - self._pause > _SPLIT_SILENCE:
                    self._pauses.append((self._pause, here - self._pause))
                self._last_pause = (self._pause, here - self._pause)
                self._pause = None
                self._changes.append(SpeechResumed(here))
        if self._speech is None:
            return
        if here - self._speech > self._max_speech:
            if not self._pauses:
                self._finish(here, "limit")
                return
            position, length = self._longest_pause
            self._finish(position, "limit")
            self._begin(position + length)
        if probability < settings.neg_threshold:
            if self._pause is None:
                self._pause = here
                self._changes.append(SpeechPaused(here))
            if here - self._pause >= self._min_silence:
                assert self._speech is not None
                if self._pause - self._speech > self._min_speech:
                    self._finish(self._without_tail(self._pause), "silence")
                else:
                    self._drop()

    def _begin(self, speech: int) -> None:
        gap = None if self._last_end is None else speech - self._last_end
        self._speech = speech
        self._start = max(0, speech - self._pad)
        if gap is not None and gap < 2 * self._pad:
            self._start = speech - gap // 2
        self._changes.append(SpeechStarted(self._start))

    def _without_tail(self, end: int) -> int:
        """Where the current segment ends if `end` is where it falls silent.

        That is there, or before a short sound that stands alone at its end.
        """
        assert self._speech is not None
        if self._last_pause is None:
            return end
        position, length = self._last_pause
        alone = length >= _TAIL_SILENCE and end - (position + length) < self._min_tail
        return position if alone and position - self._speech > self._min_speech else end

    def _finish(self, end: int, reason: CloseReason) -> None:
        """The current segment counts and ends at `end`; an earlier one can now be padded."""
        if self._ended is not None:
            self._pad_ended()
        self._ended = _Ended(self._start, end, reason, order=len(self._changes))
        self._last_end = end
        self._forget_segment()

    def _drop(self) -> None:
        self._changes.append(SpeechDropped())
        self._forget_segment()

    def _forget_segment(self) -> None:
        self._speech = self._pause = self._last_pause = None
        self._pauses = []

    def _padding_is_certain(self, here: int) -> bool:
        """Whether the gap behind the ended segment is known, and shared or not."""
        assert self._ended is not None
        if self._speech is None:
            return self._position - self._ended.end >= 2 * self._pad
        shared = self._speech - self._ended.end < 2 * self._pad
        speech_end = here if self._pause is None else self._pause
        return not shared or speech_end - self._speech > self._min_speech

    def _pad_ended(self, length: int | None = None) -> None:
        """Close the ended segment; what was said of the next one comes after it."""
        assert self._ended is not None
        ended, self._ended = self._ended, None
        stop = ended.end + self._pad
        if self._speech is not None and self._speech - ended.end < 2 * self._pad:
            stop = ended.end + (self._speech - ended.end) // 2
        if length is not None:
            stop = min(length, stop)
        self._changes.insert(ended.order, UtteranceClosed(ended.start, stop, ended.reason))

    def _settled_changes(self) -> list[SpeechChange]:
        """Everything that may be told now: nothing while a padding is open."""
        if self._ended is not None:
            return []
        changes, self._changes = self._changes, []
        return changes
