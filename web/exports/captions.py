"""Findings as captions: what was said, by whom, and what it expressed.

In: `Findings`. Out: WebVTT.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from web.exports.findings import Findings


def to_vtt(people: Iterable[Findings]) -> str:
    """Captions: who says what, and what they express, in the order it was said.

    Of several people the time is that of the first session's beginning.
    """
    cues = sorted(
        (
            (found.began_s + event.start, found.began_s + event.end, found.voice_of(event), event)
            for found in people
            for event in found.results
        ),
        key=lambda cue: cue[:2],
    )
    parts = ["WEBVTT\n"]
    for number, (start, end, voice, event) in enumerate(cues, 1):
        words = _caption(event.transcript.shown)
        said = f"<v {_caption(voice)}>{words}</v>" if voice else words
        mood = f"\n({', '.join(event.expressed)})" if event.expressed else ""
        parts.append(f"{number}\n{_vtt_time(start)} --> {_vtt_time(end)}\n{said}{mood}\n")
    return "\n".join(parts)


def _caption(text: str) -> str:
    """`text` on one line, with nothing in it that WebVTT would take for markup."""
    return escape(" ".join(text.split()), quote=False)


def _vtt_time(seconds: float) -> str:
    minutes, ms = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d}.{ms % 1000:03d}"
