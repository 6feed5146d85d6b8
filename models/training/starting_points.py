"""The models that training begins from: pre-trained backbones under a new fusion.

In: a profile and the data folder. Out: an untrained `MERModel`.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.errors import UsageError
from models.mer.model import MERModel
from models.mer.visual import VisualBackbone
from models.registry import resolve
from models.training.datasets import FACE_CLASSES

_SEQUENCE_WIDTH = 128
_HIDDEN_WIDTH = 128

_DAMAGED = (RuntimeError, ValueError, EOFError, pickle.UnpicklingError, SafetensorError)
"""What reading a file that is not what its name says may raise."""

_SPEECH_LAYERS = 3


def starting_model(profile: str, data: Path) -> MERModel:
    """A model with pre-trained backbones.

    Args:
        profile: ``embedded`` or ``paper``.
        data: the data folder; its `starting_points` serve ``embedded``.

    Raises:
        MissingWeights: a pre-trained backbone is not on this machine.
        UsageError: a file of a backbone is missing or damaged.
    """
    try:
        if profile == "paper":
            return _paper()
        if profile == "embedded":
            return _embedded(data / "starting_points")
    except FileNotFoundError as error:
        raise UsageError(f"{error.filename} is missing: training starts from it") from error
    raise UsageError(f"there is no profile {profile} to train: choose embedded or paper")


def _embedded(folder: Path) -> MERModel:
    language = resolve("minilm-l6")
    speech = _load_safetensors(folder / "whisper_base_encoder" / "encoder_first4.safetensors")
    return _assemble(
        {
            "visual": VisualBackbone.architecture,
            "acoustic": {"network": "whisper-base", "layers": _SPEECH_LAYERS},
            "classifiers": FACE_CLASSES,
        },
        language,
        acoustic=speech_state(speech),
    )


def _paper() -> MERModel:
    face, voice, language = (
        resolve(name) for name in ("inception-resnet-v1-vggface2", "distilhubert", "albert-base-v2")
    )
    return _assemble(
        {
            "visual": "inception_resnet_v1",
            "acoustic": json.loads((voice / "config.json").read_text(encoding="utf-8")),
        },
        language,
        visual={
            f"network.{name}": tensor
            for name, tensor in _load(face).items()
            if not name.startswith("logits")
        },
        acoustic=_encoder_state(voice),
    )


def _assemble(
    architecture: dict[str, Any],
    language: Path,
    *,
    acoustic: dict[str, Tensor],
    visual: dict[str, Tensor] | None = None,
) -> MERModel:
    """Build the model and load each backbone, every weight of it; without `visual`, that is new."""
    model = MERModel.build(
        {
            **architecture,
            "textual": json.loads((language / "config.json").read_text(encoding="utf-8")),
            "sequence_width": _SEQUENCE_WIDTH,
            "hidden_width": _HIDDEN_WIDTH,
        },
        (language / "tokenizer.json").read_text(encoding="utf-8"),
    )
    states = {"visual": visual, "acoustic": acoustic, "textual": _encoder_state(language)}
    for name, state in states.items():
        if state is None:
            continue
        try:
            missing, others = model.backbones[name].load_state_dict(state, strict=False)
            if others or set(missing) - {"centre", "spread"}:  # which training finds
                raise RuntimeError(f"it lacks {missing} and has {others}")
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"the {name} starting point does not fit: {reason}") from error
    return model


def _encoder_state(folder: Path) -> dict[str, Tensor]:
    """The weights of a transformers model folder, as the state of our `encoder`."""
    from transformers import AutoModel
    from transformers.utils import logging

    # That heads which we do not want are left out is no news.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        # transformers itself knows what older files call their weights. Those in PyTorch's own
        # format it reads with `weights_only`, so they run no code.
        model = AutoModel.from_pretrained(
            folder, local_files_only=True, weights_only=True, trust_remote_code=False
        )
    except (OSError, *_DAMAGED) as error:
        raise UsageError(f"{folder} cannot be read: {str(error).splitlines()[0]}") from error
    return {
        f"encoder.{name}": tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith("pooler")  # embeds whole texts; we take the tokens
    }


def speech_state(encoder: dict[str, Tensor]) -> dict[str, Tensor]:
    """The first layers of Whisper's encoder, as transformers names its weights, under our names."""
    state = {n: tensor.float() for n, tensor in encoder.items() if n.startswith("conv")}
    for number in range(_SPEECH_LAYERS):
        layer = f"layers.{number}."
        names = {"self_attn.out_proj": "self_attn.out_proj", "fc1": "linear1", "fc2": "linear2"}
        names |= {"self_attn_layer_norm": "norm1", "final_layer_norm": "norm2"}
        for theirs, ours in names.items():
            for part in ("weight", "bias"):
                state[f"{layer}{ours}.{part}"] = encoder[f"{layer}{theirs}.{part}"].float()
        query, key, value = (encoder[f"{layer}self_attn.{x}_proj.weight"].float() for x in "qkv")
        state[f"{layer}self_attn.in_proj_weight"] = torch.cat([query, key, value])
        query, value = (encoder[f"{layer}self_attn.{x}_proj.bias"].float() for x in "qv")
        # Whisper's keys have no bias.
        state[f"{layer}self_attn.in_proj_bias"] = torch.cat([query, torch.zeros_like(query), value])
    return state


def _load(path: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        reason = (str(error) or "it is cut off").splitlines()[0]
        raise UsageError(f"{path} cannot be read: {reason}") from error
    return state


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = load_file(path)
    except _DAMAGED as error:
        raise UsageError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    return state
