"""Where a sound begins and ends, of windows that follow each other.

In: how clearly each kind is heard in each window. Out: `Sound`s. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

KINDS = (
    *("laughter", "crying", "sigh", "cough", "sneeze"),
    *("shout", "scream", "applause", "cheering"),
)
"""Of sounds."""

WINDOW_S, STEP_S = 2.0, 1.0
"""A window is so long, and one begins so often."""

WINDOWS = 2
"""So many are heard together, always the same: that takes a third more than one alone."""

PIECE_S = WINDOW_S + STEP_S
"""What they hold together."""

_EDGE_S = (WINDOW_S - STEP_S) / 2  # of a window, which its neighbours hear better
_BEGINS, _GOES_ON = 0.5, 1 / 3  # how clearly it must be heard: at half the odds it goes on
_GAP_S = 2.0  # one window that misses it ends no sound


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound that is over.

    Attributes:
        kind: of `KINDS`.
        start_s, stop_s: where it begins and ends, in seconds of the sound it was heard in.
        confidence: how clearly it is heard, in the window where it is clearest.
    """

    kind: str
    start_s: float
    stop_s: float
    confidence: float


class SoundRuns:
    """Joins windows in which a kind is heard to one sound. Pure."""

    def __init__(self) -> None:
        self._open: dict[str, Sound] = {}

    def take(self, start_s: float, heard: Mapping[str, float]) -> Iterator[Sound]:
        """Follow the next window, which begins at `start_s`; yields the sounds that are over.

        Args:
            heard: how clearly each kind is heard in it.
        """
        first_s = start_s + _EDGE_S if start_s else 0.0
        last_s = start_s + WINDOW_S - _EDGE_S
        for kind, clear in heard.items():
            sound = self._open.get(kind)
            if sound is not None and first_s - sound.stop_s >= _GAP_S:
                yield self._open.pop(kind)
                sound = None
            if sound is None and clear > _BEGINS:
                self._open[kind] = Sound(kind, first_s, last_s, clear)
            elif sound is not None and clear > _GOES_ON:
                best = max(sound.confidence, clear)
                self._open[kind] = Sound(kind, sound.start_s, last_s, best)

    def end(self) -> Iterator[Sound]:
        """There are no more windows; yields the sounds that last until now."""
        yield from self._open.values()
        self._open.clear()
