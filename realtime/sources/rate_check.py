"""Whether the samples that a client sends have the rate that its times say.

In: the time and length of each piece of sound. Out: whether it can be right, or an error. Pure.
"""

from __future__ import annotations

import math

from models.errors import UsageError
from realtime.media import SAMPLE_RATE

ENOUGH = 4
"""Pieces in a row that all suggest the same other rate are no accident of the network."""

AGREES, ALIKE = 0.15, 0.1
"""How far a piece may be off the right rate, and off the other one that it suggests; times that
were taken by a wall clock are not exact."""

TELEPHONY_HZ = 4000
"""The bytes of a telephone's 8000 samples a second (µ-law), taken for samples of 16 bits."""

SHORT = SAMPLE_RATE // 10
"""Samples of a piece: so few that come exactly once a second, in a row, were numbered."""

_KNOWN_HZ = (
    *(TELEPHONY_HZ, 8000, 11025, 12000, 22050, 24000, 32000, 44100, 48000),
    *(64000, 88200, 96000, 176400, 192000),
)


_UNITS = {
    "milliseconds": 1e3,
    "microseconds": 1e6,
    "nanoseconds": 1e9,
    "numbers of samples": SAMPLE_RATE,
    "numbers of samples at 48 kHz": 48_000,
    "RTP's 90 000 a second": 90_000,
}
"""What clients send in place of seconds, and how many of them a second has."""


class RateCheck:
    """Looks at the pieces of sound until one agrees with its time.

    A client that sends another rate, stereo, or times in another unit, never has one; one that
    loses pieces, or is silent between words, soon has.
    """

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None
        self._rates: list[float] = []  # of the last pieces, at most `ENOUGH`
        self._pieces = self._counted = 0
        self._settled = False

    def follow(self, time_s: float, samples: int) -> bool:
        """Take note of a piece; whether it and those before can be passed on.

        Raises:
            UsageError: the samples are of another rate, or the times are no seconds.
        """
        if self._settled:
            return True
        last, self._last = self._last, (time_s, samples)
        if last is None:
            return True
        elapsed_s = time_s - last[0]
        rate = last[1] / elapsed_s if elapsed_s > 0 else math.inf
        self._rates = [*self._rates, rate][-ENOUGH:]
        self._counted = self._counted + 1 if elapsed_s == 1 and last[1] <= SHORT else 0
        if self._counted == ENOUGH:
            raise UsageError("samples and times do not agree: the times count pieces: send seconds")
        self._pieces += 1
        self._settled = _off(rate, SAMPLE_RATE) <= AGREES
        if not self._settled and len(self._rates) == ENOUGH:
            suggested = _suggested(self._rates)
            if suggested is not None:
                raise UsageError(f"samples and times do not agree: {suggested}")
        return self._settled or self._pieces >= ENOUGH


def _suggested(rates: list[float]) -> str | None:
    """What is wrong, and what to do, if all of these rates suggest the same."""
    if all(math.isinf(rate) for rate in rates):
        return "the times do not go on: send the second at which each piece begins"
    for unit, in_a_second in _UNITS.items():
        if all(_off(rate, SAMPLE_RATE / in_a_second) <= ALIKE for rate in rates):
            return f"the times look like {unit}: send seconds"
    other = min(_KNOWN_HZ, key=lambda known: _off(rates[-1], known))
    if not all(_off(rate, other) <= ALIKE for rate in rates):
        return None
    guess = f"{other / 1000:g} kHz mono"
    if other == TELEPHONY_HZ:
        guess = "8 kHz in 8 bits"
    elif other >= SAMPLE_RATE:
        guess += f" or {other / 2000:g} kHz stereo"
    return (
        f"{other} samples came for each second, which suggests {guess}: "
        f"send {SAMPLE_RATE // 1000} kHz mono in 16 bits"
    )


def _off(rate: float, known: float) -> float:
    return abs(rate / known - 1)
