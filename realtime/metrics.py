"""What Prometheus is told of the analysis: counts, durations, what was given up.

In: what happens in `realtime`. Out: metrics in prometheus_client's own registry.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from realtime.events import Event, SourceWarning, UtteranceFailed, UtteranceResult

STREAMS = Gauge("live_emotion_streams", "Sources being analysed.", ["pace"])

UTTERANCES = Counter(
    "live_emotion_utterances",
    "Closed utterances, and for those that failed the stage that did.",
    ["outcome", "stage"],
)

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

CLOSE_TO_RESULT = Histogram(
    "live_emotion_close_to_result_seconds",
    "From the decision that an utterance is over to its result.",
    buckets=_BUCKETS,
)

STAGES = Histogram(
    "live_emotion_stage_seconds",
    "What each stage took for one utterance: stt and faces from its end on. Stages overlap.",
    ["stage"],
    buckets=_BUCKETS,
)

VAD_WINDOW = Histogram(
    "live_emotion_vad_window_seconds",
    "Voice activity detection in one window of 32 ms.",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.032),
)

FRAMES_DROPPED = Counter(
    "live_emotion_frames_dropped",
    "Frames given up because too many waited: for the networks, or for the session.",
    ["where"],
)

CROSSED_BYTES = Counter(
    "live_emotion_crossed_bytes", "Sent to replicas of a cluster, for each stage.", ["stage"]
)

CROSSED_SECONDS = Histogram(
    "live_emotion_crossed_seconds",
    "From the question to a replica of a cluster to its answer, for each stage.",
    ["stage"],
    buckets=_BUCKETS,
)

WARNINGS = Counter("live_emotion_warnings", "Warnings told, such as overload.", ["code"])


def observe(event: Event) -> None:
    """Count what a session tells."""
    match event:
        case UtteranceResult(latency=latency):
            UTTERANCES.labels("result", "").inc()
            CLOSE_TO_RESULT.observe(latency.close_to_result)
            for stage, took_s in latency.stages.items():
                STAGES.labels(stage).observe(took_s)
        case UtteranceFailed(stage=stage):
            UTTERANCES.labels("failed", stage).inc()
        case SourceWarning(code=code):
            WARNINGS.labels(code).inc()
