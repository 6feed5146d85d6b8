"""Two who speak in turn with hardly a pause between them: an utterance ends where a voice does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import networks
import numpy as np
import pytest
import talks
from clips import readers_in_turn
from playing import by_kind, events_of, lasting, results
from recordings import Sound, read, sound_of, write

from realtime.analyzers.local import LocalAnalyzer
from realtime.media import SAMPLE_RATE

pytestmark = pytest.mark.slow

GAP_S = 0.3
ANOTHER = "en-us+klatt"
"""A synthetic voice that is unlike the others."""
LONG = 2, 6, 8
"""Sentences that take two seconds, said without a pause."""


@pytest.fixture(scope="module")
def analyzer() -> Iterator[LocalAnalyzer]:
    analyzer = networks.load()
    yield analyzer
    analyzer.close()


def strung(path: Path, pieces: list[Sound]) -> list[float]:
    """Record pieces with short pauses between them; when each begins."""
    gap = np.zeros(round(GAP_S * SAMPLE_RATE), np.float32)
    begin, parts, begins = len(gap), [gap], []
    for piece in pieces:
        begins.append(begin / SAMPLE_RATE)
        parts += [piece, gap]
        begin += len(piece) + len(gap)
    write(path, [(0, np.concatenate(parts)[None])])
    return begins


async def said(path: Path, text: str, voice: str) -> Sound:
    """A sentence, without what is around it."""
    talk = talks.record(path, [text], voice=voice)
    (sentence,) = talk.sentences
    sound = sound_of(await read(path))
    return sound[round(sentence.start * SAMPLE_RATE) : round(sentence.end * SAMPLE_RATE)]


async def test_another_voice_begins_another_utterance(
    tmp_path: Path, analyzer: LocalAnalyzer
) -> None:
    voices = talks.WOMAN, ANOTHER, talks.WOMAN
    pieces = [
        await said(tmp_path / f"{place}.flac", talks.SENTENCES[place], voice)
        for place, voice in zip(LONG, voices, strict=True)
    ]
    clip = tmp_path / "turns.wav"
    begins = strung(clip, pieces)
    fast, live = [await events_of(clip, analyzer, pace=pace) for pace in ("fast", "live")]
    told = results(fast)
    assert [one.reason for one in told] == ["speaker", "speaker", "end"]
    assert [one.start for one in told] == pytest.approx(begins, abs=0.25)
    assert by_kind(lasting(live)) == by_kind(lasting(fast))


async def test_one_voice_goes_on_behind_a_short_pause(
    tmp_path: Path, analyzer: LocalAnalyzer
) -> None:
    pieces = [
        await said(tmp_path / f"{place}.flac", talks.SENTENCES[place], talks.WOMAN)
        for place in LONG
    ]
    strung(tmp_path / "one.wav", pieces)
    (told,) = results(await events_of(tmp_path / "one.wav", analyzer))
    assert told.reason == "end"


async def test_who_read_in_turn_without_a_pause(
    shared: Path, tmp_path: Path, analyzer: LocalAnalyzer
) -> None:
    """LibriSpeech, three speakers, 3.5 s each: nobody is cut in two."""
    order = readers_in_turn(shared / "media/speech/librispeech", turns=4)
    pieces = [sound_of(await read(clip))[8_000:64_000] for _, clip in order]
    begins = strung(tmp_path / "turns.wav", pieces)
    told = results(await events_of(tmp_path / "turns.wav", analyzer))
    split = [one.end for one in told if one.reason == "speaker"]
    assert len(split) >= 3  # of 11 turns; others have a longer pause, or too little speech around
    for end in split:
        assert min(abs(end - begin) for begin in begins) < 0.35, (split, begins)
