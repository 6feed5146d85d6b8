"""Analysis with the models of this process, off the event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from models.emotions import EmotionScores
from models.errors import AnalysisError
from models.prosody import Prosody, prosody
from models.stt import Hypothesis, Transcriber, Transcript, load_transcriber
from models.worker import STUCK_S
from realtime.analysis import FACES, WAITING_FRAMES, Analysis, SeenPerson, Utterance
from realtime.analyzers.following import Following
from realtime.casting import may_speak
from realtime.inference import Inference, Lane, Rank
from realtime.media import SAMPLE_RATE, Samples, Vector, VideoFrame
from realtime.metrics import FRAMES_DROPPED

if TYPE_CHECKING:
    from models.faces import FaceFinder, Image
    from models.mer import MERModel
    from models.mer.model import Encoded
    from models.sounds.tagger import SoundTagger
    from realtime.analyzers.people import People

T = TypeVar("T")

logger = logging.getLogger(__name__)

_STREAM_COST = 0.22
_WORK_COST = 0.8
"""Cores that a live stream needs: the first to decode and follow it, and the second for each second
that it takes to recognise and to score two seconds of sound. Two cores on which that takes 0.11 s
have held 6 streams (`live-emotion bench`), and those on which it took 0.32 s held 4."""

_BEHIND = 2
"""So many results may wait for each thread while every frame is looked at. With one more it is
every second frame, with two more every fourth, and so on."""

_LEAST = 8
"""However many results wait, one of so many frames is looked at."""


class LocalAnalyzer:
    """Analyses utterances with the models of this process.

    Args:
        transcriber: the speech-to-text engine.
        faces: the face detector.
        people: tells people apart, and who of them speaks.
        sounds: hears laughter, crying, applause and the like.
        mer: the emotion model.
        profile: how `mer` was asked for; for display.
        stuck_s: seconds after which a network that gives no answer is given up.
    """

    def __init__(
        self,
        *,
        transcriber: Transcriber,
        faces: FaceFinder,
        people: People,
        sounds: SoundTagger,
        mer: MERModel,
        profile: str,
        stuck_s: float = STUCK_S,
    ) -> None:
        self.transcriber = transcriber
        self.profile = profile
        self.engine = transcriber.name
        self.faces = faces
        self.people = people
        self.sounds = sounds
        self.mer = mer
        self.inference = Inference(stuck_s, threads=max(1, (os.cpu_count() or 1) // 2))

    @classmethod
    def load(
        cls, profile: str = "embedded", stt: str = "auto", *, stuck_s: float = STUCK_S
    ) -> LocalAnalyzer:
        """Load all models; takes seconds. See `realtime.analyzers.load_analyzer`."""
        mer = load_mer(profile)
        return cls(
            transcriber=load_transcriber(stt, stuck_s),
            faces=load_faces(),
            people=load_people(),
            sounds=load_sounds(),
            mer=mer,
            profile=profile,
            stuck_s=stuck_s,
        )

    @property
    def stuck(self) -> bool:
        """Whether a network gives no answer."""
        return self.inference.stuck or self.transcriber.stuck

    @property
    def waiting(self) -> int:
        """How many calls wait for the networks."""
        return self.inference.waiting + self.transcriber.waiting

    @property
    def busy(self) -> bool:
        """See `Analyzer.busy`."""
        return self.waiting > 0

    def capacity(self) -> int:
        """How many live streams this machine can hold, judged by how fast it is just now."""
        cores = os.cpu_count() or 1
        took = statistics.median(
            _prediction_s(self.mer) + self.transcriber.work_s() for _ in range(3)
        )
        return max(1, int(cores / (_STREAM_COST + _WORK_COST * took)))

    def stream(self, *, live: bool = False, alone: bool = False) -> LocalStream:
        """A stream for one new utterance, see `realtime.analysis.Analyzer.stream`."""
        return LocalStream(self, live=live, alone=alone)

    async def hear(self, samples: Samples) -> list[dict[str, float]]:
        """See `realtime.analysis.Analyzer.hear`."""
        return await inferred(
            self.inference.lane(), Rank.SOUND, "sounds", lambda: self.sounds.hear(samples)
        )

    async def another_voice(self, before: Samples, after: Samples) -> bool:
        """See `realtime.analysis.Analyzer.another_voice`."""
        people = self.people
        return await inferred(
            self.inference.lane(), Rank.RESULT, "mer", lambda: people.differ(before, after)
        )

    def close(self) -> None:
        """Release threads."""
        self.inference.close()
        self.transcriber.close()


def load_mer(profile: str, device: str = "cpu") -> MERModel:
    """The emotion model, as quick as it gets on a device. See `MERModel.load` for the errors."""
    from models.acceleration import accelerate, share_cores
    from models.mer import MERModel

    share_cores()
    mer = MERModel.load(profile).to(device)
    if device == "cpu":
        # Faces alone: sound and pictures come in too many sizes.
        accelerate(mer.backbones["visual"])
    # The first inference is several times slower; no utterance should have to wait for it.
    _prediction_s(mer)
    return mer


def load_faces(device: str = "cpu") -> FaceFinder:
    """The face detector, warm; of a processor it takes one core."""
    from models.acceleration import share_cores
    from models.faces import FaceFinder

    share_cores()
    finder = FaceFinder(device)
    finder.find([np.zeros((288, 360, 3), np.uint8)])
    return finder


def load_people() -> People:
    """The networks that tell people apart, warm."""
    from realtime.analyzers.people import People

    people = People()
    people.warm_up()
    return people


def load_sounds() -> SoundTagger:
    """The network that hears laughter, crying, applause and the like, warm."""
    from models.sounds.runs import PIECE_S
    from models.sounds.tagger import SoundTagger

    tagger = SoundTagger()
    noise = np.random.default_rng(0).normal(0, 0.1, round(PIECE_S * SAMPLE_RATE))
    tagger.hear(noise.astype(np.float32))
    return tagger


def _prediction_s(mer: MERModel) -> float:
    """Wall seconds that one prediction takes, from five faces and two seconds of sound."""
    began = time.perf_counter()
    faces = [np.zeros((160, 160, 3), np.uint8)] * FACES
    mer.predict(faces, np.zeros(2 * SAMPLE_RATE, np.float32), "hello")
    return time.perf_counter() - began


class LocalStream:
    """See `realtime.analysis.UtteranceStream`."""

    def __init__(self, analyzer: LocalAnalyzer, *, live: bool, alone: bool) -> None:
        self._analyzer = analyzer
        self._live = live
        self._alone = alone
        self._hypothesis: Hypothesis | None = None
        self._lane = analyzer.inference.lane()
        self._following = Following(analyzer.faces, lips=not alone)
        self._offered = 0  # frames, taken or not
        self._times: list[float] = []  # of the frames taken
        self._tracking: list[Future[None]] = []

    def see(self, frame: VideoFrame, *, held: bool = False) -> bool:
        """See `realtime.analysis.UtteranceStream.see`."""
        self._offered += 1
        if self._live and not held and not self._room():
            FRAMES_DROPPED.labels("analysis").inc()
            return False
        self._times.append(frame.time)
        self._tracking.append(self._lane.submit(Rank.FACES, lambda: self._following.add(frame)))
        return True

    def _room(self) -> bool:
        """Whether the networks have the time to look at one more frame.

        While results wait, they look at every second one, or fewer: of what can be given up, faces
        take longest, and the model takes only five of an utterance.
        """
        every = min(2 ** max(0, self._analyzer.inference.behind - _BEHIND), _LEAST)
        return self._offered % every == 0 and len(self._lane.calls) < WAITING_FRAMES

    def seen(self, stop_s: float) -> int:
        """How many frames from before `stop_s`, in seconds of media time, were taken."""
        return sum(time < stop_s for time in self._times)

    async def text_so_far(self, samples: Samples) -> str:
        """See `realtime.analysis.UtteranceStream.text_so_far`."""
        transcriber = self._analyzer.transcriber
        self._hypothesis = await _recognised(
            transcriber.transcribe_so_far(samples, self._hypothesis)
        )
        return self._hypothesis.text

    async def provisional(self, samples: Samples, text: str, stop_s: float) -> EmotionScores:
        """See `realtime.analysis.UtteranceStream.provisional`."""
        mer = self._analyzer.mer
        frames = self.seen(stop_s)

        def score() -> EmotionScores:
            people = self._people(frames, stop_s - len(samples) / SAMPLE_RATE, samples)
            return mer.decide(mer.encode(crops_of(people, may_speak(people)[0]), samples, text))

        return await self._infer(Rank.PROVISIONAL, "mer", score)

    async def result(self, utterance: Utterance) -> Analysis:
        """See `realtime.analysis.UtteranceStream.result`."""
        (transcript, stt_s), (people, voice, encoded, faces_s, mer_s) = await asyncio.gather(
            self._transcript(utterance), self._seen_and_heard(utterance)
        )
        mer = self._analyzer.mer

        def decide() -> tuple[dict[int | None, EmotionScores], Prosody | None, float]:
            began = time.perf_counter()
            words = mer.encode(text=transcript.text)
            scores = {place: mer.decide(one | words) for place, one in encoded.items()}
            said = prosody(utterance.samples, transcript.text)
            return scores, said, time.perf_counter() - began

        if not any(encoded.values()) and not transcript.text:
            raise AnalysisError("mer", "neither face nor sound: there is nothing to score")
        scores, said, decide_s = await self._infer(Rank.RESULT, "mer", decide)
        stages = {"stt": stt_s, "faces": faces_s, "mer": mer_s + decide_s}
        likeliest = next(iter(encoded))
        return Analysis(transcript, people, likeliest, voice, said, scores, stages)

    def cancel(self) -> None:
        """Nobody waits for the result any more. Harmless after it."""
        for tracking in self._tracking:
            tracking.cancel()

    async def _transcript(self, utterance: Utterance) -> tuple[Transcript, float]:
        """What was said, and the wall seconds it took."""
        began = time.perf_counter()
        transcriber = self._analyzer.transcriber
        if not len(utterance.samples):
            return Transcript("", (), transcriber.name), 0.0
        transcript = await _recognised(transcriber.transcribe(utterance.samples))
        return transcript, time.perf_counter() - began

    async def _seen_and_heard(
        self, utterance: Utterance
    ) -> tuple[list[SeenPerson], Vector | None, dict[int | None, Encoded], float, float]:
        """Who was in view, the voice, and what the model makes of the sound and the face of each
        who may speak, the likeliest first; the seconds of the first and of the others."""

        frames = self.seen(utterance.stop_s)

        def look() -> tuple[list[SeenPerson], float]:
            began = time.perf_counter()
            people = self._people(frames, utterance.start_s, utterance.samples)
            return people, time.perf_counter() - began

        people, faces_s = await self._infer(Rank.RESULT, "faces", look)

        def listen() -> tuple[dict[int | None, Encoded], Vector | None, float]:
            began = time.perf_counter()
            mer = self._analyzer.mer
            sound = mer.encode(audio=utterance.samples)
            encoded = {
                place: mer.encode(crops_of(people, place)) | sound for place in may_speak(people)
            }
            voice = None if self._alone else self._analyzer.people.voice(utterance.samples)
            return encoded, voice, time.perf_counter() - began

        encoded, voice, mer_s = await self._infer(Rank.RESULT, "mer", listen)
        return people, voice, encoded, faces_s, mer_s

    def _people(self, count: int, start_s: float, samples: Samples) -> list[SeenPerson]:
        """Who was in view in the first `count` frames.

        Called in the lane: the frames that had been taken when the call was made are tracked, but a
        later one may wait behind it.
        """
        for tracking in self._tracking[:count]:
            tracking.result()  # is done; what went wrong is raised
        if self._alone:
            return self._following.main(count)
        return self._analyzer.people.seen(self._following, count, start_s, samples)

    async def _infer(self, rank: Rank, stage: str, call: Callable[[], T]) -> T:
        return await inferred(self._lane, rank, stage, call)


def crops_of(people: Sequence[SeenPerson], place: int | None) -> list[Image]:
    """The pictures of the face of one of them; none of nobody's."""
    return [] if place is None else [face.image for face in people[place].faces]


async def inferred(lane: Lane, rank: Rank, stage: str, call: Callable[[], T]) -> T:
    """What a network answers in its turn; `AnalysisError` if it fails."""
    try:
        return await asyncio.wrap_future(lane.submit(rank, call))
    except TimeoutError as error:
        raise AnalysisError(stage, f"the network was given up: {error}") from error
    except Exception as error:
        # Whatever a network trips over, the session must go on and tell of it.
        logger.exception("stage %s failed", stage, extra={"told": {"stage": stage}})
        raise AnalysisError(stage, f"{type(error).__name__}: {error}") from error


async def _recognised(answer: Future[T]) -> T:
    try:
        return await asyncio.wrap_future(answer)
    except TimeoutError as error:
        raise AnalysisError("stt", f"the speech recogniser was given up: {error}") from error
