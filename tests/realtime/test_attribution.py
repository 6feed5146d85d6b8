"""Whose each utterance is, whatever was told of the speakers and in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models.emotions import EMOTIONS
from realtime.attribution import Attribution, averages_of, share_of_talk
from realtime.events import Event, SpeakerChanged, UtteranceResult
from realtime.wire import Latency, WireSpeaker
from realtime.wire import WireTranscript as Words


def said(utterance: int, speaker: int | None) -> UtteranceResult:
    by = speaker and WireSpeaker(id=speaker, name=f"Speaker {speaker}", by="face", confidence=0.9)
    return UtteranceResult(
        session="s",
        time=float(utterance),
        utterance=utterance,
        start=utterance - 0.5,
        end=float(utterance),
        reason="silence",
        transcript=Words(text="so", engine="none"),
        speaker=by or None,
        faces=(),
        emotions=dict.fromkeys(EMOTIONS, utterance / 100),
        neutral=0.5,
        thresholds=dict.fromkeys(EMOTIONS, 0.5),
        expressed=(),
        modalities=("acoustic",),
        contributions={},
        latency=Latency(close_to_result=0.1, end_to_result=None, stages={}),
    )


@given(
    speakers=st.lists(st.integers(1, 6), min_size=1, max_size=12),
    pairs=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), max_size=10),
)
def test_merging_in_any_order_loses_nobodys_words(
    speakers: list[int], pairs: list[tuple[int, int]]
) -> None:
    results = [said(number, speaker) for number, speaker in enumerate(speakers, 1)]
    known = Attribution(results)
    owners = {result.utterance: speaker for result, speaker in zip(results, speakers, strict=True)}
    for gone, into in pairs:
        if gone != into and {gone, into} <= known.names.keys():
            name = known.names[into]
            event: Event = SpeakerChanged(session="s", time=99, speaker=into, name=name, gone=gone)
            known.take(event)
            owners = {n: into if owner == gone else owner for n, owner in owners.items()}
    now = [known.of(result) for result in results]
    assert {r.utterance: r.speaker.id for r in now if r.speaker} == owners
    assert known.names.keys() == set(owners.values())
    average = averages_of(now)
    assert average.utterances == sum(one.utterances for one in average.speakers) == len(results)
    assert [one.id for one in average.speakers] == sorted(set(owners.values()))


def test_what_has_no_speaker_is_in_the_whole_alone() -> None:
    average = averages_of([said(1, None), said(2, 2)])
    assert average.utterances == 2
    (speaker,) = average.speakers
    assert (speaker.id, speaker.utterances, speaker.spoken) == (2, 1, 0.5)
    assert share_of_talk(speaker, average) == "100 %"
    assert averages_of([]).speakers == ()
