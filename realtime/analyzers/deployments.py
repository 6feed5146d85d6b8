"""What runs on a Ray cluster: a Serve application of three deployments.

In: sound, pictures and words of single utterances, from any number of gateways. Out: transcripts,
faces and scores. Each deployment has replicas of its own, as many as Serve is told or finds needed;
a replica is one process with its own copy of one model. The README shows a configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pydantic
import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from models.emotions import EmotionScores
from models.libraries import opencv
from models.stt import Hypothesis, Transcript, load_transcriber
from models.worker import STUCK_S
from realtime.analyzers.local import load_faces, load_mer
from realtime.inference import Inference, Rank
from realtime.media import Image, Samples

if TYPE_CHECKING:
    from models.faces import DetectedFace

T = TypeVar("T")

APPLICATION = "live-emotion"
"""Name of the Serve application."""


class Models(pydantic.BaseModel):
    """Which models the application has; see `realtime.analyzers.load_analyzer`.

    Attributes:
        replicas: of each deployment, as long as a configuration says nothing else.
    """

    profile: str = "embedded"
    stt: str = "auto"
    stuck_s: float = STUCK_S
    replicas: int = pydantic.Field(default=1, ge=1)


class Batching(pydantic.BaseModel):
    """The ``user_config`` of `Faces` and `Emotions`: what waits is worked through together.

    Attributes:
        max_batch_size: at most so many at once. A batch saves a tenth of the time at most, where
            networks run on a processor, and may change the last bits of the scores.
        batch_wait_timeout_s: how long to wait for a batch to fill.
    """

    max_batch_size: int = pydantic.Field(default=1, ge=1)
    batch_wait_timeout_s: float = pydantic.Field(default=0.0, ge=0)


def application(models: Models | dict[str, Any]) -> serve.Application:
    """All of it; also the ``import_path`` of a Serve configuration, whose ``args`` are `Models`."""
    models = Models.model_validate(models)

    def deployment(kind: type, **options: Any) -> Any:
        return serve.deployment(
            kind, num_replicas=models.replicas, logging_config={"log_level": "WARNING"}, **options
        )

    recognition = deployment(
        Recognition,
        ray_actor_options={"num_cpus": 0.5},
        max_ongoing_requests=100,
    ).bind(models.stt, models.stuck_s)
    networks = {
        "ray_actor_options": {"num_cpus": 0.25},
        "max_ongoing_requests": 50,
        "user_config": Batching().model_dump(),
    }
    faces = deployment(Faces, **networks).bind(models.stuck_s)
    emotions: serve.Application = deployment(Emotions, **networks).bind(
        models.profile, models.stuck_s, recognition, faces
    )
    return emotions


# --- speech-to-text -------------------------------------------------------------------------------


class Recognition:
    """Speech-to-text. Nothing is kept of an utterance, so any replica can go on with it."""

    def __init__(self, stt: str, stuck_s: float) -> None:
        self._transcriber = load_transcriber(stt, stuck_s)

    async def engine(self) -> str:
        """The name of the engine."""
        return self._transcriber.name

    async def transcribe(self, samples: Samples) -> Transcript:
        """See `Transcriber.transcribe`."""
        return await asyncio.wrap_future(self._transcriber.transcribe(samples))

    async def transcribe_so_far(self, samples: Samples, last: Hypothesis | None) -> Hypothesis:
        """See `Transcriber.transcribe_so_far`."""
        return await asyncio.wrap_future(self._transcriber.transcribe_so_far(samples, last))

    async def nothing(self, samples: Samples) -> None:
        """Do nothing with it: that is how `bench` measures the way here."""


# --- faces and emotions ---------------------------------------------------------------------------


class _Network:
    """Lets a network work beside the event loop, by which Serve knows that the replica lives."""

    def __init__(self, stuck_s: float) -> None:
        self._inference = Inference(stuck_s)

    async def _infer(self, call: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._inference.lane().submit(Rank.RESULT, call))


class Faces(_Network):
    """Searches whole pictures for faces. Where they are a moment later, the gateway follows."""

    def __init__(self, stuck_s: float) -> None:
        super().__init__(stuck_s)
        self._finder = load_faces(_device())

    def reconfigure(self, config: dict[str, Any]) -> None:
        """Take a `Batching`."""
        _set_batching(self.detect, config)

    @serve.batch
    async def detect(self, pictures: list[bytes]) -> list[list[DetectedFace]]:
        """Every face in a picture, which `packed` has made smaller; the largest first."""
        return await self._infer(lambda: self._finder.detect([unpacked(one) for one in pictures]))


@dataclass(frozen=True, slots=True)
class Question:
    """What `MERModel.predict` takes, on its way through the network.

    Attributes:
        faces: crops, each `packed`.
        samples: float32 (n,), 16 kHz mono.
        text: what was said.
    """

    faces: tuple[bytes, ...]
    samples: Samples
    text: str

    @property
    def size(self) -> int:
        """In bytes, but for what is around it."""
        return sum(map(len, self.faces)) + self.samples.nbytes + len(self.text.encode())


class Emotions(_Network):
    """The emotion model. It is the application's ingress, and knows the other two."""

    def __init__(
        self,
        profile: str,
        stuck_s: float,
        recognition: DeploymentHandle[Any],
        faces: DeploymentHandle[Any],
    ) -> None:
        super().__init__(stuck_s)
        self._profile = profile
        self._recognition = recognition
        self._faces = faces
        self._mer = load_mer(profile, _device())

    def reconfigure(self, config: dict[str, Any]) -> None:
        """Take a `Batching`."""
        _set_batching(self.score, config)

    async def about(self) -> tuple[str, str]:
        """The profile, and the name of the speech-to-text engine."""
        return self._profile, await self._recognition.engine.remote()

    @serve.batch
    async def score(self, questions: list[Question]) -> list[EmotionScores]:
        """What an utterance expresses."""
        return await self._infer(
            lambda: self._mer.predict_batch(
                [[unpacked(face) for face in one.faces] for one in questions],
                [one.samples for one in questions],
                [one.text for one in questions],
            )
        )


def _device() -> str:
    """Where the network of this replica works: on the GPU that Ray has given it, if any."""
    return "cuda" if ray.get_gpu_ids() else "cpu"


def _set_batching(batched: Any, config: dict[str, Any]) -> None:
    batching = Batching.model_validate(config)
    batched.set_max_batch_size(batching.max_batch_size)
    batched.set_batch_wait_timeout_s(batching.batch_wait_timeout_s)


# --- pictures -------------------------------------------------------------------------------------


def packed(image: Image) -> bytes:
    """uint8 (height, width, 3) as PNG: nothing may be lost, or the digits would differ."""
    cv2 = opencv()
    _, png = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    data: bytes = png.tobytes()
    return data


def unpacked(png: bytes) -> Image:
    """The picture of which `packed` made this."""
    cv2 = opencv()
    image: Image | None = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{len(png)} bytes that are no picture")
    # The order of the colours is kept, whatever OpenCV takes them for.
    return image.astype(np.uint8, copy=False)
