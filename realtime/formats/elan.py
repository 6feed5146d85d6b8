"""Findings as an annotation document of ELAN (``.eaf``, format 3.0).

In: `Findings`. Out: XML, an annotation at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import count
from xml.sax.saxutils import escape, quoteattr

from realtime.formats.findings import Findings
from realtime.formats.tiers import tiers_of

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"


def to_eaf(people: Sequence[Findings]) -> Iterator[str]:
    """The tiers of `tiers_of`, in milliseconds. The recording is to be linked in ELAN."""
    date = next((found.session["started"] for found in people), None) or "1970-01-01T00:00:00Z"
    yield f"""<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="live-emotion" DATE={quoteattr(date)} FORMAT="3.0" VERSION="3.0"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="{_SCHEMA}">
<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds"></HEADER>
<TIME_ORDER>
"""
    tiers = tiers_of(people)
    slots = count(1)
    for tier in tiers:
        for start, end, _ in tier.annotations():
            for time_s in (start, end):
                slot = f'TIME_SLOT_ID="ts{next(slots)}" TIME_VALUE="{round(time_s * 1000)}"'
                yield f"<TIME_SLOT {slot}/>\n"
    yield "</TIME_ORDER>\n"
    number = 0
    for tier in tiers:
        yield f'<TIER LINGUISTIC_TYPE_REF="estimates" TIER_ID={quoteattr(_text(tier.name))}>\n'
        for _, _, label in tier.annotations():
            number += 1
            yield f"""<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}"
 TIME_SLOT_REF1="ts{2 * number - 1}" TIME_SLOT_REF2="ts{2 * number}">
<ANNOTATION_VALUE>{escape(_text(label))}</ANNOTATION_VALUE>
</ALIGNABLE_ANNOTATION></ANNOTATION>
"""
        yield "</TIER>\n"
    yield """<LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="estimates"
 TIME_ALIGNABLE="true"/>
</ANNOTATION_DOCUMENT>
"""


def _text(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _NOT_XML.sub(" ", text)


_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
