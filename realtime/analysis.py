"""An utterance in, as it is heard and seen; its transcript, faces and emotions out.

The contract that a session speaks to, and the analyzer that runs in this process. The weights are
loaded once and shared by all sessions; inference runs off the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from models.emotions import EmotionScores
from models.errors import AnalysisError
from models.stt import Transcriber, Transcript
from models.worker import STUCK_S
from realtime.endpointing import CloseReason
from realtime.inference import Inference, Rank
from realtime.media import SAMPLE_RATE, Samples, VideoFrame
from realtime.metrics import FRAMES_DROPPED
from realtime.rings import spread

if TYPE_CHECKING:
    from models.faces import Box, DetectedFace, FaceFinder, Image
    from models.mer import MERModel
    from models.mer.model import Encoded

T = TypeVar("T")

logger = logging.getLogger(__name__)

FACES = 5
"""Faces of an utterance that the model takes."""

WAITING_FRAMES = 15
"""Frames of an utterance, 3 s, that may wait for the networks; of a live source, more are given
up."""

_STREAM_COST = 5.0
"""Cores that a live stream needs, in times the seconds that one prediction takes: 2 cores on which
it takes 0.034 s have held 12 streams (`run_live.py bench`)."""


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
    """A face of the main person, cut out of a frame of the source.

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


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was found in one utterance.

    Attributes:
        stages: wall seconds each stage took: ``stt`` (from the last sample on), ``faces`` (from
            the last frame on), ``mer``.
    """

    transcript: Transcript
    faces: list[SeenFace]
    scores: EmotionScores
    stages: dict[str, float]


class UtteranceAnalyzer:
    """Analyses utterances with the models of this process.

    Args:
        transcriber: the speech-to-text engine.
        faces: the face detector.
        mer: the emotion model.
        profile: how `mer` was asked for; for display.
        stuck_s: seconds after which a network that gives no answer is given up.
    """

    def __init__(
        self,
        *,
        transcriber: Transcriber,
        faces: FaceFinder,
        mer: MERModel,
        profile: str,
        stuck_s: float = STUCK_S,
    ) -> None:
        self.transcriber = transcriber
        self.profile = profile
        self.faces = faces
        self.mer = mer
        self.inference = Inference(stuck_s)
        self._live_sources = 0

    @classmethod
    def load(
        cls, profile: str = "embedded", stt: str = "auto", *, stuck_s: float = STUCK_S
    ) -> UtteranceAnalyzer:
        """Load all models; takes seconds.

        Args:
            stuck_s: seconds after which a network or a decoder that gives no answer is given up:
                the utterance fails, and all else goes on.

        Raises:
            UsageError: an unknown engine or profile, a checkpoint that cannot be read, or
                weights that are not on this machine.
        """
        import torch

        from models.acceleration import accelerate
        from models.faces import FaceFinder
        from models.mer import MERModel
        from models.stt import load_transcriber

        # The networks are small: a second core brings them little and, with the decoders at work
        # on the same cores, makes them wait for each other (seen: 0.15 s became 3.8 s). And the
        # digits do not depend on how many cores there are.
        torch.set_num_threads(1)
        mer = MERModel.load(profile)
        # Faces alone: sound and pictures come in too many sizes.
        accelerate(mer.backbones["visual"])
        finder = FaceFinder()
        # The first inference is several times slower; no utterance should have to wait for it.
        finder.find([np.zeros((288, 360, 3), np.uint8)])
        _prediction_s(mer)
        return cls(
            transcriber=load_transcriber(stt, stuck_s),
            faces=finder,
            mer=mer,
            profile=profile,
            stuck_s=stuck_s,
        )

    def capacity(self) -> int:
        """How many live streams this machine can hold, judged by how fast it predicts just now."""
        cores = os.cpu_count() or 1
        took = statistics.median(_prediction_s(self.mer) for _ in range(5))
        return max(1, int(cores / (_STREAM_COST * took)))

    @contextlib.contextmanager
    def live_source(self) -> Iterator[None]:
        """While it lasts, one more live source may bring somebody who speaks."""
        self._live_sources += 1
        self.transcriber.expect(self._live_sources)
        try:
            yield
        finally:
            self._live_sources -= 1

    def stream(self, *, heard: bool = True, live: bool = False) -> UtteranceStream:
        """A stream for one new utterance.

        Args:
            heard: whether there is a microphone.
            live: whether frames may be given up where they come too fast.
        """
        return UtteranceStream(self, heard=heard, live=live)

    async def analyze(self, utterance: Utterance, frames: Sequence[VideoFrame]) -> Analysis:
        """Transcript, faces and emotions of an utterance that is over.

        Args:
            frames: all that were seen while it lasted.

        Raises:
            AnalysisError: a stage failed; it names the stage.
        """
        stream = self.stream(heard=len(utterance.samples) > 0)
        try:
            stream.hear(utterance.samples)
            for frame in frames:
                stream.see(frame)
            return await stream.result(utterance)
        finally:
            stream.cancel()

    def close(self) -> None:
        """Release threads and processes."""
        self.inference.close()
        self.transcriber.close()


def _prediction_s(mer: MERModel) -> float:
    """Wall seconds that one prediction takes, from five faces and two seconds of sound."""
    began = time.perf_counter()
    faces = [np.zeros((160, 160, 3), np.uint8)] * FACES
    mer.predict(faces, np.zeros(2 * SAMPLE_RATE, np.float32), "hello")
    return time.perf_counter() - began


class UtteranceStream:
    """One utterance on its way through the models, while it is spoken.

    Speech is recognised and faces are followed as they come, so that little is left to do at the
    end. The result depends on the samples and frames alone, not on when they came. No call blocks.
    """

    def __init__(self, analyzer: UtteranceAnalyzer, *, heard: bool, live: bool) -> None:
        from models.faces import FaceTracker

        self._analyzer = analyzer
        self._live = live
        self._transcription = analyzer.transcriber.stream() if heard else None
        self._lane = analyzer.inference.lane()
        self._tracker = FaceTracker(analyzer.faces)
        self._times: list[float] = []  # of the frames taken
        self._tracking: list[Future[None]] = []
        self._faces: dict[DetectedFace, SeenFace] = {}  # of everybody; the frames are not kept

    @property
    def busy(self) -> bool:
        """Whether something waits for the networks."""
        return len(self._lane.calls) > 0

    def hear(self, samples: Samples) -> Future[str]:
        """Take the next samples, float32 (n,), 16 kHz mono; resolves to the text so far."""
        if self._transcription is None:
            nothing: Future[str] = Future()
            nothing.set_result("")
            return nothing
        return self._transcription.accept(samples)

    def see(self, frame: VideoFrame) -> bool:
        """Take the next frame; False if it was given up, because too many wait already."""
        if self._live and len(self._lane.calls) >= WAITING_FRAMES:
            FRAMES_DROPPED.labels("analysis").inc()
            return False
        self._times.append(frame.time)
        self._tracking.append(self._lane.submit(Rank.FACES, lambda: self._find_faces(frame)))
        return True

    def seen(self, stop_s: float) -> int:
        """How many frames from before `stop_s`, in seconds of media time, were taken."""
        return sum(time < stop_s for time in self._times)

    async def provisional(self, samples: Samples, text: str, stop_s: float) -> EmotionScores:
        """The emotions so far, of what was heard, understood and seen until `stop_s`.

        Raises:
            AnalysisError: a stage failed; it names the stage.
        """
        mer = self._analyzer.mer
        frames = self.seen(stop_s)

        def score() -> EmotionScores:
            crops = [face.image for face in self._main_faces(frames)]
            return mer.decide(mer.encode(crops, samples, text))

        return await self._infer(Rank.PROVISIONAL, "mer", score)

    async def result(self, utterance: Utterance) -> Analysis:
        """Transcript, faces and emotions of the utterance, all of which has been heard and seen.

        May be cancelled, if it was asked for too early; then `hear_again` must follow.

        Raises:
            AnalysisError: a stage failed; it names the stage.
        """
        (transcript, stt_s), (faces, encoded, faces_s, mer_s) = await asyncio.gather(
            self._transcript(utterance), self._seen_and_heard(utterance)
        )
        mer = self._analyzer.mer

        def decide() -> tuple[EmotionScores, float]:
            began = time.perf_counter()
            scores = mer.decide(encoded | mer.encode(text=transcript.text))
            return scores, time.perf_counter() - began

        if not encoded and not transcript.text:
            raise AnalysisError("mer", "neither face nor sound: there is nothing to score")
        scores, decide_s = await self._infer(Rank.RESULT, "mer", decide)
        stages = {"stt": stt_s, "faces": faces_s, "mer": mer_s + decide_s}
        return Analysis(transcript, faces, scores, stages)

    def hear_again(self) -> None:
        """Forget what was heard, because the utterance ends elsewhere; all is to be heard anew."""
        assert self._transcription is not None
        self._transcription.cancel()
        self._transcription = self._analyzer.transcriber.stream()

    def cancel(self) -> None:
        """Nobody waits for the result any more. Harmless after it."""
        if self._transcription is not None:
            self._transcription.cancel()
        for tracking in self._tracking:
            tracking.cancel()

    async def _transcript(self, utterance: Utterance) -> tuple[Transcript, float]:
        """What was said, and the wall seconds it took from here."""
        began = time.perf_counter()
        transcriber = self._analyzer.transcriber
        if self._transcription is None:
            return Transcript("", (), transcriber.name), 0.0
        try:
            transcript = await asyncio.wrap_future(self._transcription.finish())
        except AnalysisError:
            # The decoder's process may have died of something else: once more, from the start.
            logger.warning("utterance %d: transcribing once more", utterance.number)
            self.hear_again()
            self._transcription.accept(utterance.samples)
            transcript = await asyncio.wrap_future(self._transcription.finish())
        return transcript, time.perf_counter() - began

    async def _seen_and_heard(
        self, utterance: Utterance
    ) -> tuple[list[SeenFace], Encoded, float, float]:
        """The faces, and what the model makes of them and of the sound; the seconds of each."""

        frames = self.seen(utterance.stop_s)

        def choose() -> tuple[list[SeenFace], float]:
            began = time.perf_counter()
            return self._main_faces(frames), time.perf_counter() - began

        faces, faces_s = await self._infer(Rank.RESULT, "faces", choose)

        def listen() -> tuple[Encoded, float]:
            began = time.perf_counter()
            crops = [face.image for face in faces]
            encoded = self._analyzer.mer.encode(crops, utterance.samples)
            return encoded, time.perf_counter() - began

        encoded, mer_s = await self._infer(Rank.RESULT, "mer", listen)
        return faces, encoded, faces_s, mer_s

    def _find_faces(self, frame: VideoFrame) -> None:
        """Cut out every face of the next frame: who is the main person is known at the end."""
        from models.faces import align

        height, width, _ = frame.image.shape
        size = round(width * frame.scale), round(height * frame.scale)
        for face in self._tracker.add(frame.time, frame.image):
            x, y, w, h = (value * frame.scale for value in face.box)
            image = align(frame.image, face.landmarks)
            self._faces[face] = SeenFace(frame.time, size, (x, y, w, h), face.confidence, image)

    def _main_faces(self, count: int) -> list[SeenFace]:
        """The main person's face in up to `FACES` of the first `count` frames that show it.

        Called in the lane: the frames that had been taken when the call was made are tracked, but a
        later one may wait behind it.
        """
        from models.faces import main_track

        for tracking in self._tracking[:count]:
            tracking.result()  # is done; what went wrong is raised
        main = main_track(self._tracker.pictures[:count])
        return spread([self._faces[face] for face in main if face is not None], FACES)

    async def _infer(self, rank: Rank, stage: str, call: Callable[[], T]) -> T:
        try:
            return await asyncio.wrap_future(self._lane.submit(rank, call))
        except TimeoutError as error:
            raise AnalysisError(stage, f"the network was given up: {error}") from error
        except Exception as error:
            # Whatever a network trips over, the session must go on and tell of it.
            logger.exception("stage %s failed", stage)
            raise AnalysisError(stage, f"{type(error).__name__}: {error}") from error
