"""Findings as captions: what was said, by whom, and what it expressed.

In: `Findings`. Out: WebVTT and SubRip (SRT), a caption at a time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from html import escape

from realtime.events import UtteranceResult
from realtime.formats.findings import Findings


def to_vtt(
    people: Sequence[Findings], *, speakers: bool = True, emotions: bool = True
) -> Iterator[str]:
    """WebVTT: who says what, and what they express, in the order it was said.

    Of several people the time is that of the first session's beginning.
    """
    yield "WEBVTT\n"
    for number, (start, end, voice, event) in enumerate(_cues(people), 1):
        words = escape(_one_line(event.transcript.shown), quote=False)
        name = escape(_one_line(voice), quote=False)
        said = f"<v {name}>{words}</v>" if voice and speakers else words
        mood = _mood(event) if emotions else ""
        yield f"\n{number}\n{_clock(start, '.')} --> {_clock(end, '.')}\n{said}{mood}\n"


def to_srt(
    people: Sequence[Findings], *, speakers: bool = True, emotions: bool = True
) -> Iterator[str]:
    """SubRip: the same, with the name before the words."""
    for number, (start, end, voice, event) in enumerate(_cues(people), 1):
        said = _one_line(event.transcript.shown)
        if voice and speakers:
            said = f"{_one_line(voice)}: {said}"
        said = said.replace("-->", "\N{RIGHTWARDS ARROW}")  # there is no way to escape it
        mood = _mood(event) if emotions else ""
        yield f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{said}{mood}\n\n"


def _cues(people: Sequence[Findings]) -> Iterator[tuple[float, float, str, UtteranceResult]]:
    """Beginning, end, voice and utterance of each caption, of all people in order."""

    def of(found: Findings) -> Iterator[tuple[float, float, str, UtteranceResult]]:
        for event in found.results():
            start, end = found.began_s + event.start, found.began_s + event.end
            yield start, end, found.voice_of(event), event

    return heapq.merge(*map(of, people), key=lambda cue: cue[:2])


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _mood(event: UtteranceResult) -> str:
    return f"\n({', '.join(event.expressed)})" if event.expressed else ""


def _clock(seconds: float, point: str) -> str:
    minutes, ms = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d}{point}{ms % 1000:03d}"
