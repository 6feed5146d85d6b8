"""Thresholds as whoever asks has moved them.

In: ``happiness:0.4,fear:0.25``. Out: the same by emotion.
"""

from __future__ import annotations

from models.emotions import EMOTIONS
from web.errors import ApiError


def parse_thresholds(text: str) -> dict[str, float]:
    """From ``happiness:0.4,fear:0.25``; `ApiError` if it is no such list."""
    thresholds: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        emotion, _, value = part.partition(":")
        try:
            thresholds[emotion] = float(value)
        except ValueError:
            emotion = ""
        if emotion not in EMOTIONS or not 0 <= thresholds[emotion] <= 1:
            raise ApiError(
                400,
                "bad_thresholds",
                f"{part!r} is no threshold: give EMOTION:VALUE with a value from 0 to 1, of "
                f"{', '.join(EMOTIONS)}",
            )
    return thresholds
