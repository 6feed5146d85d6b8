"""Results by Lab Streaming Layer, as a real inlet receives them."""

from __future__ import annotations

import json
import sys
import uuid

import pylsl
import pytest
from found import FAILED, result

from models.emotions import OUTPUTS
from models.errors import UsageError
from realtime.live_clock import LiveClock
from realtime.outlets.lsl import MARKERS, SCORES, LslOutlet

SOON_S = 60  # generous: other work may keep the machine busy


def inlet(session: str, kind: str) -> pylsl.StreamInlet:
    (found,) = pylsl.resolve_byprop("source_id", f"{session}-{kind}", timeout=SOON_S)
    inlet = pylsl.StreamInlet(found)
    inlet.open_stream(SOON_S)
    return inlet


def test_a_result_is_a_marker_and_a_sample() -> None:
    session, clock = uuid.uuid4().hex, LiveClock()
    clock.arrived(9.0)  # media time, seconds
    now = pylsl.local_clock()
    outlet = LslOutlet(session, clock)
    markers, scores = (inlet(session, kind) for kind in ("markers", "scores"))
    assert (markers.info().name(), markers.info().type()) == (MARKERS, "Markers")
    assert (scores.info().name(), scores.info().type()) == (SCORES, "Emotion")
    assert scores.info().get_channel_labels() == list(OUTPUTS)

    outlet.send(FAILED)  # which has no scores to send
    said = result(3, "good news", 0.9123456789012345)  # begun at 4.5 s
    outlet.send(said)
    (text,), marked = markers.pull_sample(SOON_S)
    told = json.loads(text)
    assert (told["utterance"], told["start"], told["end"]) == (3, 4.5, 5.75)
    assert (told["text"], told["expressed"]) == ("good news", ["happiness"])
    assert (told["emotions"], told["neutral"]) == (said.emotions, 0.25)
    values, sampled = scores.pull_sample(SOON_S)
    assert values == [*said.emotions.values(), 0.25]
    assert marked == sampled == pytest.approx(now - 4.5, abs=0.5)
    assert told["clock_offset"] == pytest.approx(marked - 4.5, abs=1e-9)
    outlet.close()
    assert pylsl.resolve_byprop("source_id", f"{session}-markers", timeout=0.5) == []


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pylsl", None)
    with pytest.raises(UsageError, match=r"pip install pylsl"):
        LslOutlet("s", LiveClock())
