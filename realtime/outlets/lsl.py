"""Results sent by Lab Streaming Layer (LSL), to be recorded beside what other devices measure.

In: events. Out: two LSL streams, of markers and of scores, on the clock of LSL.
"""

from __future__ import annotations

import json
import math
from types import ModuleType

from models.emotions import EMOTIONS, OUTPUTS
from models.errors import UsageError
from realtime.events import Event, UtteranceResult
from realtime.live_clock import LiveClock

MARKERS, SCORES = "live-emotion markers", "live-emotion scores"
"""The names of the streams."""


class LslOutlet:
    """Sends each result as a marker, JSON, and as a sample of seven scores.

    Both have the time at which the utterance began.

    Args:
        session: the id of the session whose events are sent.
        clock: of that session.

    Attributes:
        problem: why nothing can be sent any more, in half a line; None as long as it can.

    Raises:
        UsageError: pylsl is not installed, or cannot be loaded.
    """

    def __init__(self, session: str, clock: LiveClock) -> None:
        lsl = pylsl()
        self.problem: str | None = None
        self._clock = clock
        self._now = lsl.local_clock
        rate = lsl.IRREGULAR_RATE
        markers = lsl.StreamInfo(MARKERS, "Markers", 1, rate, lsl.cf_string, f"{session}-markers")
        scores = lsl.StreamInfo(
            SCORES, "Emotion", len(OUTPUTS), rate, lsl.cf_double64, f"{session}-scores"
        )
        scores.set_channel_labels([*OUTPUTS])
        self._outlets = [lsl.StreamOutlet(markers), lsl.StreamOutlet(scores)]

    def send(self, event: Event) -> None:
        """Send an event, if it is a result."""
        if not isinstance(event, UtteranceResult) or not self._outlets:
            return
        began = self._now() - self._clock.since(event.start)
        told = {
            "utterance": event.utterance,
            "start": event.start,
            "end": event.end,
            "clock_offset": began - event.start,
            "speaker": event.speaker.name if event.speaker else None,
            "text": event.transcript.text,
            "emotions": event.emotions,
            "neutral": event.neutral,
            "expressed": event.expressed,
        }
        neutral = math.nan if event.neutral is None else event.neutral
        markers, scores = self._outlets
        markers.push_sample([json.dumps(told)], began)
        scores.push_sample([*(event.emotions[emotion] for emotion in EMOTIONS), neutral], began)

    def close(self) -> None:
        """Withdraw the streams. Idempotent."""
        self._outlets = []  # pylsl does so when nobody has them any more


def pylsl() -> ModuleType:
    """pylsl with its library; `UsageError` if it is not installed, or cannot be loaded."""
    try:
        import pylsl
    except (ImportError, OSError, RuntimeError) as error:  # what pylsl raises without its library
        raise UsageError(
            "--lsl needs pylsl with its library, which is not installed: pip install pylsl"
        ) from error
    module: ModuleType = pylsl
    return module
