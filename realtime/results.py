"""What was found, as it is told.

In: utterances with their analyses, and speakers. Out: `UtteranceResult` and `SpeakerChanged`.
"""

from __future__ import annotations

from realtime.analysis import SeenFace, Utterance
from realtime.events import SpeakerChanged, UtteranceResult
from realtime.roster import Account
from realtime.speakers import Merged
from realtime.wire import Latency, WireFace, WireTranscript, WireWord


def result_event(
    session: str,
    heard: float,
    utterance: Utterance,
    account: Account,
    took: float,
    late: float | None,
) -> UtteranceResult:
    """What is told of an analysed utterance.

    Args:
        session: which one.
        heard: media time at which the utterance was known to be over, seconds.
        account: of what was found, and of the people in it.
        took: wall seconds from then to the result.
        late: wall seconds from the end of the utterance; None if not at live pace.
    """
    analysis = account.analysis
    transcript, scores = analysis.transcript, analysis.scores
    return UtteranceResult(
        session=session,
        time=heard,
        utterance=utterance.number,
        start=utterance.start_s,
        end=utterance.stop_s,
        reason=utterance.reason,
        transcript=WireTranscript(
            text=transcript.text,
            engine=transcript.engine,
            confidence=transcript.confidence,
            words=tuple(
                WireWord(
                    text=word.text,
                    start=round(utterance.start_s + word.start, 3),
                    end=round(utterance.start_s + word.end, 3),
                )
                for word in transcript.words
            ),
        ),
        speaker=account.speaker,
        faces=tuple(_wire_face(face) for face in analysis.faces),
        in_view=account.in_view,
        emotions=scores.probabilities,
        neutral=scores.neutral,
        thresholds=scores.thresholds,
        expressed=scores.expressed,
        modalities=scores.modalities,
        prosody=analysis.prosody,
        contributions=scores.contributions,
        adjusted=account.adjusted,
        latency=Latency(close_to_result=took, end_to_result=late, stages=analysis.stages),
    )


def change_event(
    session: str, time: float, speaker: int, name: str, merged: Merged | None = None
) -> SpeakerChanged:
    """What is told of a speaker who is called anew, or into whom another was merged."""
    return SpeakerChanged(
        session=session,
        time=time,
        speaker=speaker,
        name=name,
        gone=merged.gone if merged else None,
        utterances=merged.utterances if merged else (),
    )


def _wire_face(face: SeenFace) -> WireFace:
    return WireFace(time=face.time, box=face.told_box, confidence=face.confidence)
