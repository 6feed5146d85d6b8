"""One closed utterance in, its transcript, faces and emotions out.

The contract that a session speaks to, and the analyzer that runs in this process. The weights are
loaded once and shared by all sessions; inference runs off the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from models.emotions import EmotionScores
from models.errors import AnalysisError
from models.stt import Transcriber, Transcript, TranscriptionStream
from realtime.endpointing import CloseReason
from realtime.media import SAMPLE_RATE, Samples, VideoFrame

if TYPE_CHECKING:
    from models.faces import Face, FaceFinder
    from models.mer import MERModel

T = TypeVar("T")

logger = logging.getLogger(__name__)

FACES = 5
"""Frames of an utterance in which a face is looked for: what the model takes."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A closed utterance with all that was heard and seen of it.

    Attributes:
        number: 1 for the first of its session.
        start, stop: samples [start, stop) of the session's audio.
        closed_at: media time at which it was known to be over, seconds.
        samples: float32 (stop - start,), 16 kHz mono; empty without a microphone.
        frames: at most `FACES` frames spread over it.
        transcription: the stream that has heard all its samples; None without a microphone.
    """

    number: int
    start: int
    stop: int
    reason: CloseReason
    closed_at: float
    samples: Samples
    frames: list[VideoFrame]
    transcription: TranscriptionStream | None

    @property
    def start_s(self) -> float:
        """Where it begins, in seconds of media time."""
        return self.start / SAMPLE_RATE

    @property
    def stop_s(self) -> float:
        """Where it ends, in seconds of media time."""
        return self.stop / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class SeenFace:
    """A face and the frame it was found in."""

    frame: VideoFrame
    face: Face


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was found in one utterance.

    Attributes:
        stages: wall seconds each stage took: ``stt`` (from the close), ``faces``, ``mer``.
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
    """

    def __init__(
        self, *, transcriber: Transcriber, faces: FaceFinder, mer: MERModel, profile: str
    ) -> None:
        self.transcriber = transcriber
        self.profile = profile
        self._faces = faces
        self._mer = mer
        # One thread, and in it one core: see `load`.
        self._inference = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")

    @classmethod
    def load(cls, profile: str = "embedded", stt: str = "auto") -> UtteranceAnalyzer:
        """Load all models; takes seconds.

        Raises:
            UsageError: an unknown engine or profile, a checkpoint that cannot be read, or
                weights that are not on this machine.
        """
        import torch

        from models.faces import FaceFinder
        from models.mer import MERModel
        from models.stt import load_transcriber

        # The networks are small: a second core brings them little and, with the decoders at work
        # on the same cores, makes them wait for each other (seen: 0.15 s became 3.8 s). And the
        # digits do not depend on how many cores there are.
        torch.set_num_threads(1)
        mer = MERModel.load(profile)
        finder = FaceFinder()
        # The first inference is several times slower; no utterance should have to wait for it.
        finder.find([np.zeros((288, 360, 3), np.uint8)])
        mer.predict([np.zeros((160, 160, 3), np.uint8)], np.zeros(SAMPLE_RATE, np.float32), "hello")
        return cls(transcriber=load_transcriber(stt), faces=finder, mer=mer, profile=profile)

    async def analyze(self, utterance: Utterance) -> Analysis:
        """Transcript, faces and emotions of an utterance; one at a time, for any session.

        Raises:
            AnalysisError: a stage failed; it names the stage.
        """
        (transcript, stt_s), (faces, faces_s) = await asyncio.gather(
            self._transcript(utterance), self.find_faces(utterance.frames)
        )
        scoring = time.perf_counter()
        scores = await self.score(faces, utterance.samples, transcript.text)
        mer_s = time.perf_counter() - scoring
        stages = {"stt": stt_s, "faces": faces_s, "mer": mer_s}
        return Analysis(transcript, faces, scores, stages)

    async def find_faces(self, frames: list[VideoFrame]) -> tuple[list[SeenFace], float]:
        """The speaker's face in each frame that shows it, and the wall seconds that took."""

        def find() -> tuple[list[SeenFace], float]:
            began = time.perf_counter()
            found = self._faces.find([frame.image for frame in frames])
            seen = [
                SeenFace(frame, face)
                for frame, face in zip(frames, found, strict=True)
                if face is not None
            ]
            return seen, time.perf_counter() - began

        return await self._infer("faces", find)

    async def score(self, faces: list[SeenFace], samples: Samples, text: str) -> EmotionScores:
        """The emotions of what was seen, heard and said; each may be empty, but not all.

        Raises:
            AnalysisError: the model failed, or there was nothing to score.
        """
        if not faces and not len(samples) and not text:
            raise AnalysisError("mer", "neither face nor sound: there is nothing to score")
        crops = [seen.face.image for seen in faces]
        return await self._infer("mer", lambda: self._mer.predict(crops, samples, text))

    def close(self) -> None:
        """Release threads and processes."""
        self._inference.shutdown(wait=False, cancel_futures=True)
        self.transcriber.close()

    async def _transcript(self, utterance: Utterance) -> tuple[Transcript, float]:
        """What was said, and the wall seconds it took from here."""
        began = time.perf_counter()
        if utterance.transcription is None:
            return Transcript("", (), self.transcriber.name), 0.0
        try:
            transcript = await asyncio.wrap_future(utterance.transcription.finish())
        except AnalysisError:
            # The decoder's process may have died of something else: once more, from the start.
            logger.warning("utterance %d: transcribing once more", utterance.number)
            again = self.transcriber.stream()
            again.accept(utterance.samples)
            transcript = await asyncio.wrap_future(again.finish())
        return transcript, time.perf_counter() - began

    async def _infer(self, stage: str, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._inference, call)
        except Exception as error:
            # Whatever a network trips over, the session must go on and tell of it.
            logger.exception("stage %s failed", stage)
            raise AnalysisError(stage, f"{type(error).__name__}: {error}") from error
