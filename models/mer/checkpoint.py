"""A trained MER model in one safetensors file, with all it takes to rebuild it in the metadata.

In: a `Checkpoint`, or a path. Out: the file, or the `Checkpoint`. Weights are stored reduced, see
`write_checkpoint`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from models.emotions import COMBINATIONS, EMOTIONS, OUTPUTS
from models.errors import UsageError
from models.registry import resolve

FORMAT = "live-emotion-mer"
VERSION = 4

_TRANSFORMERS = ("backbones.textual.", "backbones.acoustic.")
_SCALE = "|scale"  # safetensors names are free; no parameter's name has this character


Calibration: TypeAlias = dict[str, dict[str, tuple[float, float]]]
"""Combination of modalities to output to the scale a > 0 and the offset b of its logit."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is stored of a model.

    Attributes:
        architecture: modality to its backbone's `architecture`, ``sequence_width``,
            ``hidden_width`` and, where there are any, ``classifiers``.
        tokenizer: the contents of the textual backbone's ``tokenizer.json``.
        thresholds, resting, calibration: see `models.mer.model.MERModel`.
        training: how it was trained, on what data, under which licences; any JSON.
        state: the state dict, float32.
    """

    architecture: Mapping[str, Any]
    tokenizer: str
    thresholds: dict[str, dict[str, float]]
    resting: dict[str, dict[str, float]] | None
    calibration: Calibration | None
    training: Mapping[str, Any]
    state: Mapping[str, Tensor]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; it appears complete or not at all.

    The matrices of the language and voice networks, nine tenths of the weights, become int8 with
    one scale a row; other matrices and kernels float16; vectors (biases, normalisation) stay
    float32. What that costs in accuracy is measured by `models.training.evaluation` and told in
    the model card.
    """
    description = {
        "version": VERSION,
        "architecture": checkpoint.architecture,
        "thresholds": checkpoint.thresholds,
        "resting": checkpoint.resting,
        "calibration": checkpoint.calibration,
        "tokenizer": checkpoint.tokenizer,
        "training": checkpoint.training,
    }
    tensors: dict[str, Tensor] = {}
    for name, tensor in checkpoint.state.items():
        if name.startswith(_TRANSFORMERS) and tensor.ndim == 2:
            tensors[name], tensors[name + _SCALE] = _quantise(tensor)
        elif tensor.is_floating_point() and tensor.ndim > 1:
            tensors[name] = tensor.half().contiguous()
        else:
            tensors[name] = tensor.contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    # One key, because several would be written in a random order: same model, same bytes.
    # Not save_file: it would make a file that nobody else may read.
    partial.write_bytes(save(tensors, {FORMAT: json.dumps(description)}))
    partial.replace(path)


def read_checkpoint(path: Path) -> Checkpoint:
    """What `write_checkpoint` has written.

    Raises:
        UsageError: the file is missing, damaged, not a checkpoint, or of another version.
    """
    description, tensors = _read(path)
    try:
        resting = description.get("resting")
        return Checkpoint(
            architecture=description["architecture"],
            tokenizer=description["tokenizer"],
            thresholds=_by_combination(description["thresholds"]),
            resting=None if resting is None else _by_combination(resting),
            calibration=_calibration(description.get("calibration")),
            training=description["training"],
            state=_restored(tensors),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> UsageError:
    """What is said of a checkpoint from which no model can be made."""
    return UsageError(f"{path} is a damaged checkpoint: {_first_line(error)}")


def is_checkpoint(path: Path) -> bool:
    """Whether `write_checkpoint` has written the file, of whatever version."""
    try:
        with safe_open(path, framework="pt") as file:
            return FORMAT in (file.metadata() or {})
    except (SafetensorError, OSError, ValueError):
        return False


def checkpoint_file(profile: str | Path) -> Path:
    """Where the checkpoint lies that `MERModel.load` would take.

    Raises:
        MissingWeights: the profile's weights are not on this machine.
    """
    if str(profile) in ("embedded", "paper"):
        return resolve(str(profile))
    return Path(profile)


def read_training(path: Path) -> dict[str, Any]:
    """How the model of a checkpoint was trained."""
    description, _ = _read(path)
    training: dict[str, Any] = description["training"]
    return training


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `write_checkpoint` wrote: the description, and the tensors as they are stored."""
    if not path.is_file():
        raise UsageError(
            f"{path} is not a file: give a checkpoint's path, or the profile embedded or paper"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if FORMAT not in metadata:
                raise UsageError(
                    f"{path} is not a checkpoint of this program: make one with live-emotion train"
                )
            description = json.loads(metadata[FORMAT])
            if description["version"] != VERSION:
                raise UsageError(
                    f"{path} has checkpoint format {description['version']}, this program reads "
                    f"{VERSION}: train it anew or use the version it came from"
                )
            return description, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is not a readable checkpoint (a .safetensors file): {_first_line(error)}"
        ) from error


def _by_combination(stored: Any) -> dict[str, dict[str, float]]:
    """Combination of modalities to emotion to a probability, as JSON has kept it, checked."""
    rows = {
        combination: {emotion: float(row[emotion]) for emotion in EMOTIONS}
        for combination, row in stored.items()
    }
    if rows.keys() != set(COMBINATIONS):
        raise ValueError("a combination of modalities is missing")
    return rows


def _calibration(stored: Any) -> Calibration | None:
    """The calibration as JSON has kept it, checked."""
    if stored is None:
        return None
    pairs = {
        combination: {output: (float(row[output][0]), float(row[output][1])) for output in OUTPUTS}
        for combination, row in stored.items()
    }
    if pairs.keys() != set(COMBINATIONS):
        raise ValueError("a part of the calibration is missing")
    if not all(a > 0 for row in pairs.values() for a, _ in row.values()):
        raise ValueError("the calibration turns an emotion into its opposite")
    return pairs


def _quantise(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix (rows, columns) as int8 and the float32 (rows, 1) that multiplies it back."""
    scale = tensor.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
    return (tensor / scale).round().to(torch.int8), scale


def _restored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict in float32 of what `write_checkpoint` wrote."""
    state = {}
    for name, tensor in tensors.items():
        if name.endswith(_SCALE):
            continue
        if tensor.dtype == torch.int8:
            state[name] = tensor.float() * tensors[name + _SCALE]
        else:
            state[name] = tensor.float() if tensor.is_floating_point() else tensor
    return state


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
