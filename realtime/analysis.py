"""An utterance in, as it is heard and seen; its transcript, faces and emotions out.

The contract that a session speaks to. It is met in this process and by a Ray cluster: see
`realtime.analyzers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from models.emotions import EmotionScores
from models.prosody import Prosody
from models.stt import Transcript
from realtime.endpointing import CloseReason
from realtime.media import SAMPLE_RATE, Samples, Vector, VideoFrame

if TYPE_CHECKING:
    from models.faces import Box, Image

FACES = 5
"""Faces of an utterance that the model takes."""

WAITING_FRAMES = 15
"""Frames of an utterance, 3 s, that may wait for the networks; of a live source, more are given
up."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A closed utterance.

    Attributes:
        number: 1 for the first of its session.
        start, stop: samples [start, stop) of the session's audio.
        samples: float32 (stop - start,), 16 kHz mono; empty without a microphone.
    """

    number: int
    start: int
    stop: int
    reason: CloseReason
    samples: Samples

    @property
    def start_s(self) -> float:
        """Where it begins, in seconds of media time."""
        return self.start / SAMPLE_RATE

    @property
    def stop_s(self) -> float:
        """Where it ends, in seconds of media time."""
        return self.stop / SAMPLE_RATE


@dataclass(frozen=True, slots=True, eq=False)
class SeenFace:
    """A face cut out of a frame of the source.

    Attributes:
        time: media seconds of the frame.
        frame: width and height of the frame, in pixels of the source.
        box: where the face is, in pixels of the source.
        confidence: in (0.9, 1].
        image: uint8 (160, 160, 3) RGB, turned upright and scaled, see `models.faces.align`.
    """

    time: float
    frame: tuple[int, int]
    box: Box
    confidence: float
    image: Image

    @property
    def told_box(self) -> Box:
        """`box` in tenths of a pixel."""
        x, y, width, height = (round(value, 1) for value in self.box)
        return x, y, width, height


@dataclass(frozen=True, slots=True, eq=False)
class SeenPerson:
    """Somebody who was in view during an utterance.

    Attributes:
        faces: up to `FACES` pictures of the face, at least one.
        identity: of the face, see `models.people.identity`; None where nobody asked for it.
        synchrony: how well the lips go with the sound, see `ActiveSpeakerDetector.synchrony`; None
            where they were not looked at.
    """

    faces: list[SeenFace]
    identity: Vector | None
    synchrony: float | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was found in one utterance.

    Who of several in view speaks shows only together with what was found before it: see
    `realtime.roster`. So the scores are told for each who may be it.

    Attributes:
        people: who was in view, the largest face first.
        speaking: the place among them of who speaks; None: nobody in view. As far as this
            utterance tells.
        voice: see `models.people.voices`; None without sound, or where nobody asked for it.
        prosody: how it was said; None without sound.
        scores_if: what is expressed if one of them speaks, by `speaking`.
        stages: wall seconds each stage took: ``stt``, ``faces`` (from the last frame on), ``mer``.
    """

    transcript: Transcript
    people: list[SeenPerson]
    speaking: int | None
    voice: Vector | None
    prosody: Prosody | None
    scores_if: Mapping[int | None, EmotionScores]
    stages: dict[str, float]

    @property
    def scores(self) -> EmotionScores:
        """What is expressed."""
        return self.scores_if[self.speaking]

    @property
    def speaker(self) -> SeenPerson | None:
        """Who speaks, if they are in view."""
        return None if self.speaking is None else self.people[self.speaking]

    @property
    def faces(self) -> list[SeenFace]:
        """Of who speaks: what the model was shown."""
        return self.speaker.faces if self.speaker else []


class Analyzer(Protocol):
    """The models, wherever they are: loaded once, shared by all sessions.

    Attributes:
        profile: how the emotion model was asked for; for display.
        engine: the name of the speech-to-text engine.
    """

    profile: str
    engine: str

    @property
    def stuck(self) -> bool:
        """Whether a network gives no answer."""

    @property
    def waiting(self) -> int:
        """How many calls wait for the networks."""

    @property
    def busy(self) -> bool:
        """Whether calls wait for the networks, so that none should be made that can be left out."""

    def capacity(self) -> int:
        """How many live streams can be served, as far as can be told just now."""

    def stream(self, *, live: bool = False, alone: bool = False) -> UtteranceStream:
        """A stream for one new utterance.

        Args:
            live: whether frames may be given up where they come too fast.
            alone: there is one speaker, and it is the largest face; nobody looks for others.
        """

    async def hear(self, samples: Samples) -> list[dict[str, float]]:
        """How clearly each kind of sound is heard, see `SoundTagger.hear`; the least urgent call.

        Args:
            samples: float32 (n,), 16 kHz mono: `models.sounds.runs.PIECE_S` seconds.

        Raises:
            AnalysisError: the network failed.
        """

    async def another_voice(self, before: Samples, after: Samples) -> bool:
        """Whether it is certain that two pieces of speech are not by the same voice.

        Args:
            before: float32 (n,), 16 kHz mono: at least 1.6 s.
            after: the same.

        Raises:
            AnalysisError: the network failed.
        """

    def close(self) -> None:
        """Release threads and connections."""


class UtteranceStream(Protocol):
    """One utterance on its way through the models, while it is spoken.

    Faces are followed as frames come, so that little is left to do at the end. The result depends
    on the samples and frames alone: not on when they came, nor on where the models are. No call
    blocks. All are made in one event loop.
    """

    def see(self, frame: VideoFrame, *, held: bool = False) -> bool:
        """Take the next frame; False if it was given up, because too many wait already.

        Args:
            held: it is one of many that were held until now, and is not given up.
        """

    def seen(self, stop_s: float) -> int:
        """How many frames from before `stop_s`, in seconds of media time, were taken."""

    async def text_so_far(self, samples: Samples) -> str:
        """What was said so far.

        Args:
            samples: float32 (n,), 16 kHz mono, from the beginning of the utterance.

        Raises:
            AnalysisError: the recogniser failed.
        """

    async def provisional(self, samples: Samples, text: str, stop_s: float) -> EmotionScores:
        """The emotions so far, of what was heard, understood and seen until `stop_s`.

        Raises:
            AnalysisError: a stage failed; it names the stage.
        """

    async def result(self, utterance: Utterance) -> Analysis:
        """Transcript, faces and emotions of the utterance, all of which has been seen.

        May be cancelled, if it was asked for too early.

        Raises:
            AnalysisError: a stage failed; it names the stage.
        """

    def cancel(self) -> None:
        """Nobody waits for the result any more. Harmless after it."""
