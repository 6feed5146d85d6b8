"""Findings as captions: what was said, by whom, and what it expressed.

In: `Findings`. Out: WebVTT and SubRip (SRT), a caption at a time. Sounds are captions of their own:
``[laughter]``.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from html import escape
from typing import TypeAlias

from realtime.events import SoundHeard, UtteranceResult
from realtime.formats.findings import Findings


def to_vtt(
    people: Sequence[Findings], *, speakers: bool = True, emotions: bool = True
) -> Iterator[str]:
    """WebVTT: who says what, and what they express, in the order it was said.

    Of several people the time is that of the first session's beginning.
    """
    yield "WEBVTT\n"
    for number, (start, end, voice, event) in enumerate(_cues(people), 1):
        words = escape(_words(event), quote=False)
        name = escape(_one_line(voice), quote=False)
        said = f"<v {name}>{words}</v>" if voice and speakers else words
        mood = _mood(event) if emotions else ""
        yield f"\n{number}\n{_clock(start, '.')} --> {_clock(end, '.')}\n{said}{mood}\n"


def to_srt(
    people: Sequence[Findings], *, speakers: bool = True, emotions: bool = True
) -> Iterator[str]:
    """SubRip: the same, with the name before the words."""
    for number, (start, end, voice, event) in enumerate(_cues(people), 1):
        said = _words(event)
        if voice and speakers:
            said = f"{_one_line(voice)}: {said}"
        said = said.replace("-->", "\N{RIGHTWARDS ARROW}")  # there is no way to escape it
        mood = _mood(event) if emotions else ""
        yield f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{said}{mood}\n\n"


_Cue: TypeAlias = tuple[float, float, str, UtteranceResult | SoundHeard]
"""Beginning, end, voice and what is captioned."""


def _cues(people: Sequence[Findings]) -> Iterator[_Cue]:
    """Each caption, of all people in order."""

    def said(found: Findings) -> Iterator[_Cue]:
        for event in found.results():
            start, end = found.began_s + event.start, found.began_s + event.end
            yield start, end, found.voice_of(event), event

    def heard(found: Findings) -> Iterator[_Cue]:
        # Told when they are over: one that began earlier may come later. They are few.
        for event in sorted(found.sounds(), key=lambda event: event.start):
            yield found.began_s + event.start, found.began_s + event.end, found.person, event

    return heapq.merge(*map(said, people), *map(heard, people), key=lambda cue: cue[:2])


def _words(event: UtteranceResult | SoundHeard) -> str:
    return f"[{event.kind}]" if isinstance(event, SoundHeard) else _one_line(event.transcript.shown)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _mood(event: UtteranceResult | SoundHeard) -> str:
    if isinstance(event, SoundHeard) or not event.expressed:
        return ""
    return f"\n({', '.join(event.expressed)})"


def _clock(seconds: float, point: str) -> str:
    minutes, ms = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d}{point}{ms % 1000:03d}"
