"""The wire schema: what a session tells, one pydantic class an event.

In: what the session found. Out: JSON objects, the same for files, sockets, store and Python.
Times and durations are in seconds of media time unless a line says otherwise; probabilities are
0 to 1. A reader must ignore fields it does not know.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from models.prosody import Prosody
from realtime.average import RunningAverage
from realtime.baseline import Adjusted
from realtime.endpointing import CloseReason
from realtime.wire import Latency, Wire, WireFace, WirePerson, WireSpeaker, WireTranscript

SCHEMA_VERSION = 9
"""Raised when a field changes its meaning, goes away, or is new and always there, or takes a value
it never had: since 2, every `utterance.result` has its `contributions`; since 3, a session may have
been `cut_off`; since 4, every transcript has its `confidence`; since 5, `neutral` and `adjusted`
stand beside the `emotions`; since 6, an utterance has its `speaker` and who was `in_view`, an
average its `speakers`, and there is `speaker.changed`; since 7, both have their `prosody`;
since 8, there is `sound.event`; since 9, `note.changed`."""


EndReason: TypeAlias = Literal["end", "stopped", "source_error", "cut_off"]
"""Why a session ended."""

Neutral: TypeAlias = Annotated[
    float | None,
    Field(
        description="Probability that none of the six emotions is expressed: an estimate of its "
        "own, so the seven need not add up to 1. It has no threshold and is never in `expressed`. "
        "Null in what a version of the schema before 5 told, and in the average of no utterances."
    ),
]
"""What stands beside the six emotions wherever they are told."""


class _Event(Wire):
    session: str
    """Which session tells this."""
    time: float
    """Media time at which this was known, in seconds since the session began."""


class SessionStarted(_Event):
    """The first event of every session, but for notes that were written before it began.

    Example:
        {"type": "session.started", "session": "9f2c", "time": 0.0, "source": "talk.mp4",
         "profile": "embedded", "stt": "moonshine-tiny", "schema_version": 9, "duration": 120.0}
    """

    type: Literal["session.started"] = "session.started"
    source: str
    profile: str
    """The MER model: ``embedded``, ``paper`` or the path of a checkpoint."""
    stt: str
    """The speech-to-text engine."""
    schema_version: int = SCHEMA_VERSION
    duration: float | None = None
    """Length of the source, where it is known in advance."""


class SpeechStarted(_Event):
    """Somebody began to speak.

    Example:
        {"type": "speech.started", "session": "9f2c", "time": 0.544}
    """

    type: Literal["speech.started"] = "speech.started"


class SpeechPaused(_Event):
    """The speaker fell silent; the utterance may go on, close, or prove too short to count.

    Example:
        {"type": "speech.paused", "session": "9f2c", "time": 1.888}
    """

    type: Literal["speech.paused"] = "speech.paused"


class SpeechResumed(_Event):
    """The pause was too short to end the utterance.

    Example:
        {"type": "speech.resumed", "session": "9f2c", "time": 2.112}
    """

    type: Literal["speech.resumed"] = "speech.resumed"


class TranscriptPartial(_Event):
    """The words so far of the utterance being spoken; later ones may correct them.

    Only while somebody follows a live session, and the machine is not late.

    Example:
        {"type": "transcript.partial", "session": "9f2c", "time": 1.2, "utterance": 1,
         "text": "set green"}
    """

    type: Literal["transcript.partial"] = "transcript.partial"
    utterance: int
    """Number of the utterance in its session, from 1."""
    text: str


class UtteranceProvisional(_Event):
    """A long utterance, scored while it goes on; its result will replace this.

    Only while somebody follows the session, and the machine is not late.

    Example:
        {"type": "utterance.provisional", "session": "9f2c", "time": 3.6, "utterance": 4,
         "emotions": {"happiness": 0.61, "sadness": 0.04, "anger": 0.02, "fear": 0.01, "disgust":
         0.03, "surprise": 0.2}, "neutral": 0.22, "thresholds": {"happiness": 0.5, "sadness": 0.35,
         "anger": 0.4, "fear": 0.3, "disgust": 0.3, "surprise": 0.45}, "expressed": ["happiness"]}
    """

    type: Literal["utterance.provisional"] = "utterance.provisional"
    utterance: int
    emotions: dict[str, float]
    neutral: Neutral = None
    thresholds: dict[str, float]
    expressed: tuple[str, ...]


class UtteranceResult(_Event):
    """One utterance, analysed. Every closed utterance ends in this or in `utterance.failed`.

    `neutral` is the probability that none of the six emotions is expressed: an estimate of its own,
    so the seven need not add up to 1.

    Example:
        {"type": "utterance.result", "session": "9f2c", "time": 2.4, "utterance": 1,
         "start": 0.444, "end": 1.988, "reason": "silence",
         "transcript": {"text": "Set green.", "engine": "moonshine-tiny", "confidence": 0.87,
         "words": [{"text": "Set", "start": 0.5, "end": 0.8},
         {"text": "green.", "start": 0.8, "end": 1.2}]},
         "speaker": {"id": 1, "name": "Speaker 1", "by": "both", "confidence": 0.98},
         "faces": [{"time": 0.6, "box": [120.0, 60.5, 96.0, 128.0], "confidence": 0.999}],
         "in_view": [{"speaks": true, "confidence": 0.97, "speaker": 1, "time": 1.8, "box":
         [121.0, 60.5, 96.0, 128.0]}],
         "emotions": {"happiness": 0.61, "sadness": 0.04, "anger": 0.02, "fear": 0.01,
         "disgust": 0.03, "surprise": 0.2}, "neutral": 0.22,
         "thresholds": {"happiness": 0.5, "sadness": 0.35, "anger": 0.4, "fear": 0.3,
         "disgust": 0.3, "surprise": 0.45},
         "expressed": ["happiness"], "modalities": ["visual", "acoustic", "textual"],
         "adjusted": {"resting": 3, "emotions": {"happiness": 0.42, "sadness": 0.04, "anger": 0.02,
         "fear": 0.01, "disgust": 0.03, "surprise": 0.2}, "expressed": []},
         "contributions": {
         "happiness": {"visual": 0.31, "acoustic": -0.02, "textual": 0.12},
         "sadness": {"visual": -0.05, "acoustic": 0.01, "textual": -0.01},
         "anger": {"visual": 0.0, "acoustic": 0.01, "textual": 0.0},
         "fear": {"visual": 0.0, "acoustic": -0.01, "textual": 0.0},
         "disgust": {"visual": -0.02, "acoustic": 0.0, "textual": 0.01},
         "surprise": {"visual": 0.14, "acoustic": 0.02, "textual": -0.03}},
         "prosody": {"pitch_hz": 182.4, "pitch_low_hz": 151.0, "pitch_high_hz": 240.2,
         "loudness_lufs": -23.1, "words_per_s": 2.9, "pauses": 0.0, "paused_s": 0.0},
         "latency": {"close_to_result": 0.31, "end_to_result": 0.74,
         "stages": {"stt": 0.12, "faces": 0.2, "mer": 0.09}}}
    """

    type: Literal["utterance.result"] = "utterance.result"
    utterance: int
    start: float
    end: float
    reason: CloseReason
    """What closed it: a pause, the longest duration, another voice, or the end of the source."""
    transcript: WireTranscript
    speaker: WireSpeaker | None = None
    """Who speaks; null where that is not looked for, or cannot be told."""
    faces: tuple[WireFace, ...]
    """Of who speaks; none if the speaker is not in view."""
    in_view: tuple[WirePerson, ...] = ()
    """Who was in view, the largest face first."""
    emotions: dict[str, float]
    neutral: Neutral = None
    thresholds: dict[str, float]
    expressed: tuple[str, ...]
    """The emotions above their thresholds."""
    modalities: tuple[str, ...]
    """What the model was given: of ``visual``, ``acoustic``, ``textual``."""
    contributions: dict[str, dict[str, float]]
    """Emotion to modality to the probability less what it would be without it, -1 to 1."""
    prosody: Prosody | None = None
    """How it was said: pitch, loudness, pace and pauses; null without sound."""
    adjusted: Adjusted | None = None
    """The same without what is usual for this person at rest; null where that was not asked for."""
    latency: Latency


class UtteranceFailed(_Event):
    """One utterance could not be analysed; the session goes on.

    Example:
        {"type": "utterance.failed", "session": "9f2c", "time": 2.4, "utterance": 1,
         "start": 0.444, "end": 1.988, "stage": "stt",
         "message": "the speech recogniser was given up: no answer for 30 s"}
    """

    type: Literal["utterance.failed"] = "utterance.failed"
    utterance: int
    start: float
    end: float
    stage: str
    message: str


class SpeakerChanged(_Event):
    """A speaker has a name, or what was given to another speaker is theirs.

    It may come after `session.ended`, from somebody who names the speakers of a recording.

    Example:
        {"type": "speaker.changed", "session": "9f2c", "time": 31.0, "speaker": 1,
         "name": "Ann", "gone": 3, "utterances": [4, 5]}
    """

    type: Literal["speaker.changed"] = "speaker.changed"
    speaker: int
    name: str
    gone: int | None = None
    """The speaker who is one with this one, and is no more; null if only the name is new."""
    utterances: tuple[int, ...] = ()
    """What was given to that speaker."""


class NoteChanged(_Event):
    """Somebody who watches the session wrote a note of their own, or deleted it.

    It may come after `session.ended`.

    Example:
        {"type": "note.changed", "session": "9f2c", "time": 31.0, "note": 1, "at": 12.4,
         "text": "said this when I showed the price"}
    """

    type: Literal["note.changed"] = "note.changed"
    note: int
    """Number of the note in its session, from 1."""
    at: float
    """Media time of what it is about."""
    text: str
    """Empty: it is deleted."""


class _Means(Wire):
    utterances: int
    emotions: dict[str, float]
    neutral: Neutral = None
    thresholds: dict[str, float]
    expressed: tuple[str, ...]
    adjusted: Adjusted | None = None
    """The mean of what was adjusted, and of the scores themselves before anything was; null if
    nothing was."""
    prosody: Prosody | None = None
    """The mean of each measure over the utterances that have it; null if none has."""


class WireSpeakerAverage(_Means):
    """One speaker's share of an average."""

    id: int
    name: str
    spoken: float
    """Seconds."""

    @classmethod
    def of(
        cls, number: int, name: str, spoken_s: float, average: RunningAverage
    ) -> WireSpeakerAverage:
        """The average of speaker `number` as it stands."""
        means = {field: getattr(average, field) for field in _Means.model_fields}
        return cls(id=number, name=name, spoken=round(spoken_s, 3), **means)


class SoundHeard(_Event):
    """A non-speech sound: laughter, crying, applause and the like.

    It is told when it is over: one event, however long it lasts. It is looked for in windows of 2 s
    that begin each second, so its times can be a second off.

    Example:
        {"type": "sound.event", "session": "9f2c", "time": 8.0, "kind": "laughter", "start": 4.0,
         "end": 7.0, "confidence": 0.87}
    """

    type: Literal["sound.event"] = "sound.event"
    kind: str
    """Of `models.sounds.runs.KINDS`; later versions may know more."""
    start: float
    end: float
    confidence: float
    """How clearly it was heard, where it was clearest: 0.5 is as much as it takes. It is not
    calibrated."""


class AverageUpdated(_Means, _Event):
    """The mean over all utterances so far; follows `utterance.result` and `speaker.changed`.

    Example:
        {"type": "average.updated", "session": "9f2c", "time": 2.4, "utterances": 1, "emotions":
         {"happiness": 0.61, "sadness": 0.04, "anger": 0.02, "fear": 0.01, "disgust": 0.03,
         "surprise": 0.2}, "neutral": 0.22, "thresholds": {"happiness": 0.5, "sadness": 0.35,
         "anger": 0.4, "fear": 0.3, "disgust": 0.3, "surprise": 0.45}, "expressed": ["happiness"],
         "adjusted": {"resting": 3, "emotions": {"happiness": 0.42, "sadness": 0.04, "anger": 0.02,
         "fear": 0.01, "disgust": 0.03, "surprise": 0.2}, "expressed": []}, "prosody": {"pitch_hz":
         182.4, "pitch_low_hz": 151.0, "pitch_high_hz": 240.2, "loudness_lufs": -23.1,
         "words_per_s": 2.9, "pauses": 0.0, "paused_s": 0.0}, "speakers": [{"id": 1, "name": "Ann",
         "utterances": 1, "spoken": 1.5, "neutral": 0.22, "emotions": {"happiness": 0.61, "sadness":
         0.04, "anger": 0.02, "fear": 0.01, "disgust": 0.03, "surprise": 0.2}, "thresholds":
         {"happiness": 0.5, "sadness": 0.35, "anger": 0.4, "fear": 0.3, "disgust": 0.3, "surprise":
         0.45}, "expressed": ["happiness"], "adjusted": null, "prosody": null}]}
    """

    type: Literal["average.updated"] = "average.updated"
    speakers: tuple[WireSpeakerAverage, ...] = ()
    """The same of each speaker, in the order of their numbers."""


class SourceWarning(_Event):
    """Something went wrong that does not end the session.

    Example:
        {"type": "warning", "session": "9f2c", "time": 41.2, "code": "camera.lost",
         "message": "the camera stopped; going on by ear"}
    """

    type: Literal["warning"] = "warning"
    code: str
    message: str


class WireAverage(_Means):
    """The running average as the session leaves it; no emotions if there was no utterance."""

    speakers: tuple[WireSpeakerAverage, ...] = ()

    @classmethod
    def of(cls, average: AverageUpdated | RunningAverage | None) -> WireAverage:
        """The average as it stands, or was last told; None: no utterance was analysed."""
        if average is None:
            return cls(utterances=0, emotions={}, thresholds={}, expressed=())
        return cls.model_validate(average, from_attributes=True)


class SessionEnded(_Event):
    """The session is over; only a `speaker.changed` with its average, or a `note.changed`, may
    follow.

    Example:
        {"type": "session.ended", "session": "9f2c", "time": 120.0, "reason": "end", "utterances":
         1, "average": {"utterances": 1, "emotions": {"happiness": 0.61, "sadness": 0.04, "anger":
         0.02, "fear": 0.01, "disgust": 0.03, "surprise": 0.2}, "neutral": 0.22, "thresholds":
         {"happiness": 0.5, "sadness": 0.35, "anger": 0.4, "fear": 0.3, "disgust": 0.3, "surprise":
         0.45}, "expressed": ["happiness"], "adjusted": {"resting": 3, "emotions": {"happiness":
         0.42, "sadness": 0.04, "anger": 0.02, "fear": 0.01, "disgust": 0.03, "surprise": 0.2},
         "expressed": []}, "prosody": {"pitch_hz": 182.4, "pitch_low_hz": 151.0, "pitch_high_hz":
         240.2, "loudness_lufs": -23.1, "words_per_s": 2.9, "pauses": 0.0, "paused_s": 0.0},
         "speakers": []}}
    """

    type: Literal["session.ended"] = "session.ended"
    reason: EndReason
    """The source ended, somebody stopped the session, the source broke, or the server was killed
    (told when it is back)."""
    utterances: int
    """How many utterances closed, the failed ones included."""
    average: WireAverage


Event: TypeAlias = (
    SessionStarted
    | SpeechStarted
    | SpeechPaused
    | SpeechResumed
    | TranscriptPartial
    | UtteranceProvisional
    | UtteranceResult
    | UtteranceFailed
    | SpeakerChanged
    | NoteChanged
    | SoundHeard
    | AverageUpdated
    | SourceWarning
    | SessionEnded
)

_ADAPTER: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def neutral_shown(neutral: float | None) -> str:
    """The probability of neutral for a person to read; a dash where it was not told."""
    return "\N{EN DASH}" if neutral is None else f"{neutral:.2f}"


def parse_event(line: str | bytes) -> Event:
    """One event from its JSON.

    Raises:
        pydantic.ValidationError: it is not an event of this schema.
    """
    return _ADAPTER.validate_json(line)


def event_schema() -> dict[str, Any]:
    """The JSON Schema of any event."""
    return _ADAPTER.json_schema(mode="serialization")
