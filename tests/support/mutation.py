"""Damage for fuzzing: hypothesis strategies that change real inputs a little.

In: real texts or bytes. Out: strategies of what is left of them. How many examples are tried is
told by the environment variable FUZZ_EXAMPLES.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))

NUMBERS = (
    *map(str, (0, -1, 1, 99, 127, 128, 255, 256, 65535, 65536, 4294967296)),
    *("9" * 30, "1e999", "0x10", "", "\u0663"),
)


def times(examples: int) -> settings:
    """So many examples, the same ones each time."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


_Step = tuple[int, int, int]  # what, where, and with what
_STEPS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9999), st.integers(0, 9999)), max_size=5
)


def texts(originals: Sequence[str], words: Sequence[str], *, split: str) -> st.SearchStrategy[str]:
    """Texts of parts between `split`, with parts lost, doubled, moved, changed; with `words`."""

    def change(original: str, steps: list[_Step]) -> str:
        parts = original.split(split)
        for what, where, which in steps:
            at = where % (len(parts) + 1)
            part = parts[at] if at < len(parts) else ""
            match what:
                case 0 | 1:
                    del parts[at : at + 1 + (which % 3 if what else 0)]
                case 2:
                    parts.insert(which % (len(parts) + 1), part)
                case 3 | 4:
                    parts.insert(at, words[which % len(words)])
                case 5 | 6:
                    numbers = [*re.finditer(r"\d+", part)]
                    if numbers:
                        start, stop = numbers[which % len(numbers)].span()
                        part = part[:start] + NUMBERS[which % len(NUMBERS)] + part[stop:]
                    parts[at : at + 1] = [part]
                case 7:
                    cut = which % (len(part) + 1)
                    parts[at : at + 1] = [part[:cut]]
                case 8:
                    cut = which % (len(part) + 1)
                    parts[at : at + 1] = [part[:cut] + chr(which * 7 % 0xD800) + part[cut + 1 :]]
                case _:
                    parts[at : at + 1] = [part] * (2 + which % 40)
        return split.join(parts)

    return st.builds(change, st.sampled_from(originals), _STEPS)


def pieces(originals: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Bytes with some changed, lost, doubled; the whole cut, or of nothing known."""

    def change(original: bytes, steps: list[_Step]) -> bytes:
        data = bytearray(original)
        for what, where, which in steps:
            at = where * 31 % (len(data) + 1)
            match what:
                case 0 | 1 | 2 | 3:
                    data[at : at + 1] = bytes([which % 256])
                case 4:
                    data[at : at + 1] = b"\xff"
                case 5:
                    del data[at : at + which % 64]
                case 6:
                    data[at:at] = data[at : at + which % 64]
                case 7:
                    data[at:at] = bytes(which % 64)
                case 8:
                    # In the first bytes, where headers are, a change does most.
                    data[where % 24 : where % 24 + 1] = bytes([which % 256])
                case _:
                    del data[at:]
        return bytes(data)

    return st.one_of(st.builds(change, st.sampled_from(originals), _STEPS), st.binary(max_size=60))
