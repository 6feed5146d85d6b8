"""Captions are read back by programs that did not write them, whatever people say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import av
import pytest
import srt
import webvtt
from found import conversation, people, result, session

from realtime.formats.captions import to_srt, to_vtt
from realtime.formats.findings import gather
from realtime.storage.store import SessionStore


def test_captions_are_read_by_ffmpeg(tmp_path: Path, store: SessionStore) -> None:
    path = tmp_path / "captions.vtt"
    path.write_text("".join(to_vtt(people(store))), encoding="utf-8")
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux() if packet.size]
    cues = [
        (float(p.pts * p.time_base), float(p.duration * p.time_base), bytes(p).decode())
        for p in packets
        if p.pts is not None and p.duration is not None
    ]
    assert [(start, length) for start, length, _ in cues] == [
        (0.5, 1.25),
        (1.75, 1.25),
        (4.5, 1.25),
    ]
    assert cues[1][2] == "<v @Bob>good morning</v>\n(happiness)"
    assert cues[2][2] == "<v Ada &lt;b&gt;>(no words)</v>"
    words = cues[0][2].partition(">")[2].partition("</v>")[0].removeprefix("Ada &lt;b&gt;>")
    assert "-->" not in words
    assert "\n" not in words
    assert "<" not in words


def test_captions_have_the_form_of_webvtt(store: SessionStore) -> None:
    head, *blocks = "".join(to_vtt(people(store))).rstrip("\n").split("\n\n")
    assert head == "WEBVTT"
    time = r"\d\d:[0-5]\d:[0-5]\d\.\d{3}"
    assert len(blocks) == 3
    for number, block in enumerate(blocks, 1):
        assert re.fullmatch(
            rf"{number}\n{time} --> {time}\n<v [^\n<>]+>[^\n<>]+</v>(\n\([a-z, ]+\))?", block
        )


def test_a_file_has_no_voices_and_late_captions_have_hours(store: SessionStore) -> None:
    late = result(1, "late", 0.1, start=3599.9996, end=7322.5)
    found = gather([session(store, "film.mp4", late, kind="upload")], {})
    text = "".join(to_vtt(found))
    assert text == "WEBVTT\n\n1\n01:00:00.000 --> 02:02:02.500\nlate\n"
    assert [*to_vtt([])] == ["WEBVTT\n"]


def test_webvtt_py_reads_the_captions(store: SessionStore) -> None:
    found = conversation(store)
    captions = webvtt.from_string("".join(to_vtt(found)))
    results = [*found[0].results()]
    for caption, event in zip(captions, results, strict=True):
        assert caption.start_in_seconds == int(event.start)
        assert caption.start.endswith(f"{event.start % 1:.3f}"[1:])
        assert event.speaker
        assert caption.voice == event.speaker.name
        assert caption.text.endswith("(happiness)") == bool(event.expressed)


def test_srt_is_read_as_what_was_told(store: SessionStore) -> None:
    found = conversation(store)
    subtitles = [*srt.parse("".join(to_srt(found)), ignore_errors=False)]
    results = [*found[0].results()]
    assert [one.index for one in subtitles] == [1, 2, 3]
    for subtitle, event in zip(subtitles, results, strict=True):
        assert subtitle.start.total_seconds() == event.start
        assert subtitle.end.total_seconds() == event.end
    assert [one.content for one in subtitles] == [
        '=Ann: =it is "so" <b>&\n(happiness)',
        "Bea: @well",
        "=Ann: \N{RIGHTWARDS ARROW} no\n(happiness)",
    ]


@pytest.mark.parametrize("write", [to_vtt, to_srt])
def test_captions_can_do_without_speakers_and_emotions(
    store: SessionStore, write: Callable[..., Iterable[str]]
) -> None:
    found = conversation(store)
    without = "".join(write(found, speakers=False))
    assert "Ann" not in without
    assert without.count("(happiness)") == 2
    assert "happiness" not in "".join(write(found, emotions=False))
    assert "Bea" in "".join(write(found, emotions=False))
