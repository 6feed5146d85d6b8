"""The result of an utterance, as it is told.

In: the utterance and its analysis. Out: `UtteranceResult`.
"""

from __future__ import annotations

from realtime.analysis import Analysis, SeenFace, Utterance
from realtime.baseline import Adjusted
from realtime.events import Latency, UtteranceResult, WireFace, WireTranscript, WireWord


def result_event(
    session: str,
    heard: float,
    utterance: Utterance,
    analysis: Analysis,
    adjusted: Adjusted | None,
    took: float,
    late: float | None,
) -> UtteranceResult:
    """What is told of an analysed utterance.

    Args:
        session: which one.
        heard: media time at which the utterance was known to be over, seconds.
        adjusted: the scores without the person's rest, where that is asked for.
        took: wall seconds from then to the result.
        late: wall seconds from the end of the utterance; None if not at live pace.
    """
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
        faces=tuple(_wire_face(face) for face in analysis.faces),
        emotions=scores.probabilities,
        neutral=scores.neutral,
        thresholds=scores.thresholds,
        expressed=scores.expressed,
        modalities=scores.modalities,
        contributions=scores.contributions,
        adjusted=adjusted,
        latency=Latency(close_to_result=took, end_to_result=late, stages=analysis.stages),
    )


def _wire_face(face: SeenFace) -> WireFace:
    x, y, width, height = (round(value, 1) for value in face.box)
    return WireFace(time=face.time, box=(x, y, width, height), confidence=face.confidence)
