"""What a person reads in a terminal."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

from rich.console import Console

from realtime import events
from realtime.attribution import Attribution, averages_of
from realtime.terminal import LiveView, PlainView, bar, clock, moved_by


def example(kind: type[events.Event]) -> events.Event:
    assert kind.__doc__
    return events.parse_event(json.dumps(json.loads(kind.__doc__.split("Example:")[1])))


@dataclass
class Quiet:
    level_db: float = -30.0


def test_bar_shows_probability_and_threshold() -> None:
    assert bar(0.0, 0.5) == "·" * 15 + "│" + "·" * 14
    assert bar(1.0, 0.5) == "█" * 15 + "┃" + "█" * 14
    assert len(bar(0.3, 1.0)) == 30
    assert bar(0.5) == "█" * 15 + "·" * 15


def test_clock_counts_minutes() -> None:
    assert clock(62.349) == "01:02.35"


def test_plain_lines_tell_the_words_the_emotions_and_the_average() -> None:
    out = io.StringIO()
    view = PlainView(Console(file=out, width=40))
    for kind in (events.SessionStarted, events.SpeechStarted, events.UtteranceResult):
        view.show(example(kind))
    view.show(example(events.SessionEnded))
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("source    talk.mp4")
    assert lines[1] == (
        '00:00.44-00:01.99  "Set green."  expressed: happiness 0.61 (face +0.31, words +0.12, '
        "voice -0.02)  neutral 0.22  less rest: none  [1 faces]  0.74 s after its end"
    )
    assert "surprise 0.20; neutral 0.22\n" in out.getvalue()
    assert "expressed on average: happiness 0.61\n          less rest: none\n" in out.getvalue()
    assert lines[-1] == "ended     the source ended"


def test_sounds_have_a_line_each_and_are_counted_at_the_end() -> None:
    out = io.StringIO()
    view = PlainView(Console(file=out, width=40))
    for _ in range(2):  # sessions, one after the other
        for kind in (events.SessionStarted, events.SoundHeard, events.SoundHeard):
            view.show(example(kind))
        view.show(example(events.SessionEnded))
        lines = out.getvalue().splitlines()
        assert "00:04.00-00:07.00  [laughter]" in lines
        assert lines[-2:] == ["sounds    laughter 2", "ended     the source ended"]


def test_live_view_shows_words_bars_marks_and_average() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=140, color_system=None)
    with LiveView(console, Quiet()) as view:
        view.show(example(events.SessionStarted))
        view.show(example(events.SpeechStarted))
        view.show(example(events.TranscriptPartial))
        console.print(view.screen())
        assert "● speech" in out.getvalue()
        assert "… set green" in out.getvalue()
        view.show(example(events.UtteranceResult))
        view.show(example(events.AverageUpdated))
        console.print(view.screen())
    text = out.getvalue()
    assert "* happiness" in text
    assert "  sadness" in text
    assert "average of 1" in text
    assert "0.74 s after the utterance" in text
    assert "│ happiness: face +0.31, words +0.12, voice -0.02" in text


def test_neutral_stands_apart_below_the_six_without_a_mark() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=140, color_system=None)
    with LiveView(console, Quiet()) as view:
        view.show(example(events.UtteranceResult))
        view.show(example(events.AverageUpdated))
        out.truncate(0)
        console.print(view.screen())
    row = "neutral   " + "█" * 7 + "·" * 23 + " 0.22"
    drawn = next(line for line in out.getvalue().splitlines() if row in line)
    assert drawn.count(row) == 2  # of the utterance and of the average
    before = out.getvalue().partition(row)[0].splitlines()
    assert "surprise" in before[-3]
    assert before[-2].strip("│ ") == ""


def test_neutral_that_was_not_told_is_a_dash() -> None:
    out = io.StringIO()
    result = example(events.UtteranceResult).model_copy(update={"neutral": None, "adjusted": None})
    PlainView(Console(file=out)).show(result)
    assert "neutral \N{EN DASH}  [" in out.getvalue()


def test_what_hardly_moved_anything_has_no_sign_of_its_own() -> None:
    assert moved_by({"visual": -0.004, "acoustic": -0.006}) == "voice -0.01, face +0.00"


def test_what_is_not_expressed_needs_no_reason_and_a_score_on_the_way_has_none_yet() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=140, color_system=None)
    result = example(events.UtteranceResult)
    assert isinstance(result, events.UtteranceResult)
    with LiveView(console, Quiet()) as view:
        view.show(result.model_copy(update={"expressed": ()}))
        console.print(view.screen())
        assert "expressed: none  neutral 0.22  less rest" in out.getvalue()
        assert "+0.31" not in out.getvalue()
    out.truncate(0)
    with LiveView(console, Quiet()) as view:
        view.show(result)
        view.show(example(events.UtteranceProvisional))
        out.truncate(0)
        console.print(view.screen())
    assert "(so far)" in out.getvalue()
    assert "+0.31" not in out.getvalue()


def by(speaker: int, utterance: int) -> events.UtteranceResult:
    result = example(events.UtteranceResult)
    assert isinstance(result, events.UtteranceResult)
    who = events.WireSpeaker(id=speaker, name=f"Speaker {speaker}", by="voice", confidence=0.9)
    return result.model_copy(update={"speaker": who, "utterance": utterance})


def test_speakers_are_named_as_soon_as_there_are_two() -> None:
    out = io.StringIO()
    view = PlainView(Console(file=out, width=40))
    told = [by(1, 1), by(2, 2), by(3, 3)]
    changes = [
        events.SpeakerChanged(session="s", time=3, speaker=1, name="Speaker 1", gone=3),
        events.SpeakerChanged(session="s", time=3, speaker=2, name="Ann"),
    ]
    known = Attribution([*told, *changes])
    average = averages_of(known.of(result) for result in told)
    ended = example(events.SessionEnded).model_copy(update={"average": average})
    again = [example(events.SessionStarted), by(2, 1)]  # another file
    for event in [*told, *changes, by(2, 4), ended, *again]:
        view.show(event)
    lines = out.getvalue().splitlines()
    assert '  "Set green."' in lines[0]
    assert '  Speaker 2: "Set green."' in lines[1]
    assert lines[3:5] == [
        "speaker   3 is the same as 1 (Speaker 1)",
        "speaker   2 is now called Ann",
    ]
    assert '  Ann: "Set green."' in lines[5]
    assert lines[-5:-2] == [
        "speaker   Speaker 1: 67 % of the talk, expressed on average: happiness 0.61",
        "speaker   Ann: 33 % of the talk, expressed on average: happiness 0.61",
        "ended     the source ended",
    ]
    assert '  "Set green."' in lines[-1]
