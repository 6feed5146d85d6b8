"""Findings as a TextGrid of Praat.

In: `Findings`. Out: a text file of interval tiers, an interval at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from realtime.formats.findings import Findings
from realtime.formats.tiers import Annotation, Tier, tiers_of


def to_textgrid(people: Sequence[Findings]) -> Iterator[str]:
    """The tiers of `tiers_of`; between annotations lie intervals without text, as Praat asks."""
    tiers = tiers_of(people)
    end = max((found.began_s + found.session["time"] for found in people), default=0.0)
    for tier in tiers:
        for _, last, _ in tier.annotations():
            end = max(end, last)
    yield f"""File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = {end!r}
tiers? <exists>
size = {len(tiers)}
item []:
"""
    for number, tier in enumerate(tiers, 1):
        yield f"""    item [{number}]:
        class = "IntervalTier"
        name = {_quoted(tier.name)}
        xmin = 0
        xmax = {end!r}
        intervals: size = {sum(1 for _ in _filled(tier, end))}
"""
        for place, (start, stop, label) in enumerate(_filled(tier, end), 1):
            yield f"""        intervals [{place}]:
            xmin = {start!r}
            xmax = {stop!r}
            text = {_quoted(label)}
"""


def _filled(tier: Tier, end: float) -> Iterator[Annotation]:
    """The annotations of a tier, and what lies between them, up to the end."""
    last = 0.0
    for start, stop, label in tier.annotations():
        if start > last:
            yield last, start, ""
        yield start, stop, label
        last = stop
    if end > last or not last:
        yield last, end, ""


def _quoted(text: str) -> str:
    one_line = " ".join(text.split())
    return '"{}"'.format(one_line.replace('"', '""'))
