"""What is told of an utterance while it is spoken."""

from __future__ import annotations

import pytest
from playing import events_of, results
from talks import Talk

from realtime.analyzers.local import LocalAnalyzer
from realtime.endpointing import EndpointingSettings
from realtime.events import TranscriptPartial, UtteranceProvisional, UtteranceResult
from realtime.session import LiveSession
from realtime.sources import open_source

pytestmark = pytest.mark.slow


async def test_words_and_scores_so_far_are_worked_out_only_for_a_reader(
    monologue: Talk, analyzer: LocalAnalyzer
) -> None:
    """One comes after 4 s, in the midst of the first utterance."""
    settings = EndpointingSettings(min_silence_duration_ms=1500, max_speech_duration_s=20)
    source = await open_source(str(monologue.path), "live")
    session = LiveSession(source, analyzer, endpointing=settings, followed=lambda: session.now > 4)
    events = []
    async for event in session.events():
        events.append(event)
        if isinstance(event, UtteranceResult):
            session.stop()
    first = results(events)[0]
    assert first.end > 7
    so_far = [e for e in events if isinstance(e, TranscriptPartial | UtteranceProvisional)]
    assert so_far
    assert min(event.time for event in so_far) > 4
    undisturbed = results(await events_of(monologue.path, analyzer, endpointing=settings))[0]
    assert (first.transcript, first.emotions) == (undisturbed.transcript, undisturbed.emotions)
