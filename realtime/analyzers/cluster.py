"""Analysis on a Ray cluster. This process, the gateway, keeps what belongs to cameras.

Here: sources, endpointing, following the faces that a search has found, sounds. There, in replicas
of `realtime.analyzers.deployments`: recognition, the search for faces, and the emotion model. What
crosses the network of an utterance: its sound, twice, and at live pace what there is of it for each
partial text; every two seconds one reduced picture; five crops of a face.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import ray
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from models.emotions import EmotionScores
from models.errors import AnalysisError, UsageError
from models.faces import FaceFinder, Image
from models.prosody import prosody
from models.sounds.tagger import SoundTagger
from models.stt import Hypothesis, Transcript
from models.worker import STUCK_S
from realtime.analysis import WAITING_FRAMES, Analysis, SeenPerson, Utterance
from realtime.analyzers.deployments import APPLICATION, Models, Question, application, packed
from realtime.analyzers.following import Following
from realtime.analyzers.local import crops_of, inferred, load_faces, load_people, load_sounds
from realtime.analyzers.people import People
from realtime.casting import may_speak
from realtime.inference import Inference, Rank
from realtime.media import SAMPLE_RATE, Samples, Vector, VideoFrame
from realtime.metrics import CROSSED_BYTES, CROSSED_SECONDS, FRAMES_DROPPED

T = TypeVar("T")

logger = logging.getLogger(__name__)

_ATTEMPTS = 4  # an utterance that ends every replica it comes to must not go on to do so
_AGAIN_S = 0.2  # after a loss, twice as long with each

_START_S = 120  # for models to load, on a machine that loads others too

_STREAMS_PER_CORE = 7
"""Live streams that a core of a gateway decodes, listens to and follows: one takes 0.13 of a core
(`live-emotion bench --analyzer ray`)."""


class ClusterAnalyzer:
    """Analyses utterances with the models of a Ray cluster.

    Args:
        profile: how the emotion model was asked for; for display.
        engine: the name of the speech-to-text engine.
        faces: follows faces from frame to frame.
        people: tells people apart, and who of them speaks.
        sounds: hears laughter, crying, applause and the like.
        emotions: the application's ingress.
        stuck_s: seconds after which an answer is no longer waited for.
    """

    def __init__(
        self,
        *,
        profile: str,
        engine: str,
        faces: FaceFinder,
        people: People,
        sounds: SoundTagger,
        emotions: DeploymentHandle[Any],
        stuck_s: float = STUCK_S,
    ) -> None:
        self.profile = profile
        self.engine = engine
        self.faces = faces
        self.people = people
        self.sounds = sounds
        self.inference = Inference(stuck_s)
        self._handles = {
            "mer": emotions,
            "faces": serve.get_deployment_handle("Faces", APPLICATION),
            "stt": serve.get_deployment_handle("Recognition", APPLICATION),
        }
        self._stuck_s = stuck_s
        self._waiting = 0

    @classmethod
    def load(
        cls, address: str | None, profile: str, stt: str, *, stuck_s: float = STUCK_S
    ) -> ClusterAnalyzer:
        """Join a cluster, and start the application there if it does not run.

        See `realtime.analyzers.load_analyzer` for what is meant.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told of what is done here
        # Replicas answer while somebody waits; Ray lets its workers wait for all other programs.
        os.environ.setdefault("RAY_worker_niceness", "0")
        logging.getLogger("ray.serve").addFilter(lambda told: told.levelno >= logging.ERROR)
        named = address or os.environ.get("RAY_ADDRESS", "this machine")
        if address is not None:  # Ray itself would try for minutes
            host, _, port = address.rpartition(":")
            try:
                socket.create_connection((host, int(port)), timeout=5).close()
            except (OSError, ValueError) as error:
                raise UsageError(
                    f"no Ray cluster at {named} ({error}): start one there by `ray start --head`, "
                    "or leave out the address"
                ) from None
        try:
            ray.init(
                address=address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                ignore_reinit_error=True,
            )
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UsageError(
                f"the Ray cluster at {named} lets nobody in ({reason}): `ray status` there must "
                "work on this machine, too; if it has a token, set RAY_AUTH_MODE and RAY_AUTH_TOKEN"
            ) from None
        try:
            emotions = _the_application(Models(profile=profile, stt=stt, stuck_s=stuck_s))
            there = emotions.about.remote().result(timeout_s=_START_S)
            if there[0] != profile or stt not in ("auto", there[1]):
                raise UsageError(
                    f"the cluster runs {there[0]} and {there[1]}, not {profile} and {stt}: ask for "
                    "those, or give the application other args"
                )
        except (RayError, TimeoutError) as error:
            ray.shutdown()
            raise UsageError(
                f"the models on the cluster do not answer ({type(error).__name__}): "
                "look at `serve status`"
            ) from error
        except BaseException:
            ray.shutdown()
            raise
        return cls(
            profile=there[0],
            engine=there[1],
            faces=load_faces(),
            people=load_people(),
            sounds=load_sounds(),
            emotions=emotions,
            stuck_s=stuck_s,
        )

    @property
    def stuck(self) -> bool:
        """Whether faces can no longer be followed; replicas are looked after by Serve."""
        return self.inference.stuck

    @property
    def waiting(self) -> int:
        """How many calls wait for this process or for the cluster."""
        return self.inference.waiting + self._waiting

    @property
    def busy(self) -> bool:
        """See `Analyzer.busy`. Replicas are added as they are needed, so only for this process."""
        return self.inference.waiting > 0

    def capacity(self) -> int:
        """How many live streams this gateway can hold; the replicas must be as many as it takes."""
        return _STREAMS_PER_CORE * (os.cpu_count() or 1)

    def stream(self, *, live: bool = False, alone: bool = False) -> ClusterStream:
        """A stream for one new utterance, see `realtime.analysis.Analyzer.stream`."""
        return ClusterStream(self, live=live, alone=alone)

    async def hear(self, samples: Samples) -> list[dict[str, float]]:
        """See `realtime.analysis.Analyzer.hear`; it is done here."""
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
        """Leave the cluster; one that was started for this process alone ends."""
        self.inference.close()
        ray.shutdown()

    async def ask(self, stage: str, method: str, *given: Any, size: int) -> Any:
        """Have a replica answer, and another one if the first is lost.

        Args:
            stage: ``stt``, ``faces`` or ``mer``, for each of which there is a deployment.
            method: of the deployment.
            given: what it takes.
            size: of that, in bytes.

        Raises:
            AnalysisError: no answer came, or an error did.
        """
        began = time.perf_counter()
        self._waiting += 1
        try:
            return await asyncio.wait_for(
                self._ask(stage, method, given, size), timeout=self._stuck_s
            )
        except (TimeoutError, asyncio.TimeoutError):
            reason = f"the cluster gave no answer for {self._stuck_s:g} s"
            raise AnalysisError(stage, reason) from None
        finally:
            self._waiting -= 1
            CROSSED_SECONDS.labels(stage).observe(time.perf_counter() - began)

    async def _ask(self, stage: str, method: str, given: tuple[Any, ...], size: int) -> Any:
        handle = self._handles[stage].options(method_name=method)
        for attempt in range(1, _ATTEMPTS + 1):
            CROSSED_BYTES.labels(stage).inc(size)
            response = handle.remote(*given)
            try:
                return await response
            except asyncio.CancelledError:
                response.cancel()  # type: ignore[no-untyped-call]
                raise
            except (RayTaskError, RayServeException) as error:
                told = str(getattr(error, "cause", error)).strip() or type(error).__name__
                raise AnalysisError(stage, told.splitlines()[-1]) from error
            except RayError as error:  # its replica, or the way there
                lost = type(error).__name__
            logger.warning(
                "%s: a replica was lost (%s), attempt %d",
                *(stage, lost, attempt),
                extra={"told": {"stage": stage}},
            )
            await asyncio.sleep(_AGAIN_S * 2 ** (attempt - 1))
        raise AnalysisError(stage, f"lost {_ATTEMPTS} replicas of the cluster ({lost})")


class ClusterStream:
    """See `realtime.analysis.UtteranceStream`."""

    def __init__(self, analyzer: ClusterAnalyzer, *, live: bool, alone: bool) -> None:
        self._analyzer = analyzer
        self._live = live
        self._alone = alone
        self._hypothesis: Hypothesis | None = None
        self._lane = analyzer.inference.lane()
        self._following = Following(analyzer.faces, lips=not alone)
        self._times: list[float] = []  # of the frames taken
        self._tracking: list[asyncio.Task[None]] = []

    def see(self, frame: VideoFrame, *, held: bool = False) -> bool:
        """See `realtime.analysis.UtteranceStream.see`."""
        latest = self._tracking[-WAITING_FRAMES:]
        waiting = sum(not tracking.done() for tracking in latest)
        if self._live and not held and waiting >= WAITING_FRAMES:
            FRAMES_DROPPED.labels("analysis").inc()
            return False
        self._times.append(frame.time)
        before = self._tracking[-1] if self._tracking else None
        tracking = asyncio.create_task(self._track(frame, before))
        tracking.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._tracking.append(tracking)
        return True

    def seen(self, stop_s: float) -> int:
        """How many frames from before `stop_s`, in seconds of media time, were taken."""
        return sum(time < stop_s for time in self._times)

    async def text_so_far(self, samples: Samples) -> str:
        """See `realtime.analysis.UtteranceStream.text_so_far`."""
        given = samples, self._hypothesis
        self._hypothesis = await self._analyzer.ask(
            "stt", "transcribe_so_far", *given, size=samples.nbytes
        )
        return self._hypothesis.text

    async def provisional(self, samples: Samples, text: str, stop_s: float) -> EmotionScores:
        """The emotions so far, see `realtime.analysis.UtteranceStream.provisional`."""
        people = await self._people(self.seen(stop_s), stop_s - len(samples) / SAMPLE_RATE, samples)
        crops = crops_of(people, may_speak(people)[0])
        return await self._score(Rank.PROVISIONAL, crops, samples, text)

    async def result(self, utterance: Utterance) -> Analysis:
        """What was found in it, see `realtime.analysis.UtteranceStream.result`."""
        frames = self.seen(utterance.stop_s)
        samples = utterance.samples
        (transcript, stt_s), (people, faces_s), voice = await asyncio.gather(
            _timed(self._transcript(samples)),
            _timed(self._people(frames, utterance.start_s, samples)),
            self._voice(samples),
        )
        if not people and not len(samples) and not transcript.text:
            raise AnalysisError("mer", "neither face nor sound: there is nothing to score")
        places = may_speak(people)
        scoring = (
            self._score(Rank.RESULT, crops_of(people, place), samples, transcript.text)
            for place in places
        )
        (said, scores), mer_s = await _timed(
            asyncio.gather(
                self._infer(Rank.RESULT, "mer", lambda: prosody(samples, transcript.text)),
                asyncio.gather(*scoring),
            )
        )
        scores_if = dict(zip(places, scores, strict=True))
        stages = {"stt": stt_s, "faces": faces_s, "mer": mer_s}
        return Analysis(transcript, people, places[0], voice, said, scores_if, stages)

    def cancel(self) -> None:
        """Nobody waits for the result any more. Harmless after it."""
        for tracking in self._tracking:
            tracking.cancel()

    async def _track(self, frame: VideoFrame, before: asyncio.Task[None] | None) -> None:
        """Follow the faces into the next frame, when those before it are done."""
        if before is not None:
            await asyncio.wait([before])
            before.result()  # what went wrong is raised here, too
        if not await self._infer(Rank.FACES, "faces", lambda: self._following.follow(frame)):
            picture = await self._infer(Rank.FACES, "faces", lambda: packed(frame.image))
            faces = await self._analyzer.ask("faces", "detect", picture, size=len(picture))
            await self._infer(Rank.FACES, "faces", lambda: self._following.found(frame, faces))

    async def _people(self, count: int, start_s: float, samples: Samples) -> list[SeenPerson]:
        await asyncio.gather(*self._tracking[:count])
        following, people = self._following, self._analyzer.people

        def look() -> list[SeenPerson]:
            if self._alone:
                return following.main(count)
            return people.seen(following, count, start_s, samples)

        return await self._infer(Rank.RESULT, "faces", look)

    async def _voice(self, samples: Samples) -> Vector | None:
        if self._alone:
            return None
        people = self._analyzer.people
        return await self._infer(Rank.RESULT, "mer", lambda: people.voice(samples))

    async def _transcript(self, samples: Samples) -> Transcript:
        if not len(samples):
            return Transcript("", (), self._analyzer.engine)
        transcript: Transcript = await self._analyzer.ask(
            "stt", "transcribe", samples, size=samples.nbytes
        )
        return transcript

    async def _score(
        self, rank: Rank, crops: list[Image], samples: Samples, text: str
    ) -> EmotionScores:
        def ask() -> Question:
            return Question(tuple(packed(crop) for crop in crops), samples, text)

        question = await self._infer(rank, "mer", ask)
        scores: EmotionScores = await self._analyzer.ask(
            "mer", "score", question, size=question.size
        )
        return scores

    async def _infer(self, rank: Rank, stage: str, call: Callable[[], T]) -> T:
        return await inferred(self._lane, rank, stage, call)


async def _timed(work: Awaitable[T]) -> tuple[T, float]:
    began = time.perf_counter()
    return await work, time.perf_counter() - began


def _the_application(models: Models) -> DeploymentHandle[Any]:
    """A handle to the application, which is started if it does not run."""
    serve.start(proxy_location="Disabled")
    known = serve.status().applications.get(APPLICATION)
    if known is None or known.status in ("NOT_STARTED", "DEPLOY_FAILED", "DELETING"):
        try:
            serve.run(application(models), name=APPLICATION, route_prefix=None)
        except RuntimeError as error:
            serve.delete(APPLICATION)
            own = [line for line in str(error).splitlines() if line.startswith("models.errors.")]
            reason = own[-1].partition(": ")[2] if own else "look at `serve status`"
            raise UsageError(f"the models do not start on the cluster: {reason}") from error
    return serve.get_app_handle(APPLICATION)
