"""The multimodal emotion recognition model of Lee and Kim (2023), for one utterance.

In: up to 5 faces, 10 s of sound, 100 tokens of text, any of them missing. Out: the probabilities of
six emotions, and of none of them.
Three backbones -> Conv1d over time -> mean over time -> concatenation -> two linear layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from models.emotions import EMOTIONS, MODALITIES, NEUTRAL, OUTPUTS, EmotionScores
from models.errors import UsageError
from models.mer.acoustic import Samples
from models.mer.checkpoint import (
    Calibration,
    Checkpoint,
    checkpoint_file,
    damaged,
    read_checkpoint,
    write_checkpoint,
)
from models.mer.visual import Image

Prepared: TypeAlias = dict[str, Tensor]
"""One utterance as the backbones take it: modality to tensor, only those that are there."""

Encoded: TypeAlias = dict[str, Tensor]
"""Modality to its vector, float32 (1, sequence_width), of one utterance; only those given."""

_NOTHING = "faces, audio and text are all missing: there is nothing to analyse"


class Backbone(Protocol):
    """A network that turns one modality into a sequence of embeddings.

    `architecture` is what it is rebuilt from, as JSON can hold it. `width` is that of an
    embedding. `prepare` makes the tensor of one utterance; `__call__` takes a list of them, of
    any lengths, and returns float32 (utterances, longest, width) and bool (utterances, longest),
    True where the sequence is not padding.
    """

    architecture: Any
    width: int

    def prepare(self, value: Any, /) -> Tensor:
        """One utterance's input as a tensor, shortened to what the model takes."""

    def __call__(self, examples: Sequence[Tensor], /) -> tuple[Tensor, Tensor]:
        """Embedding sequences of several utterances, and where they are not padding."""


class MERModel(nn.Module):
    """Three backbones and their fusion. Load one with `MERModel.load`; only that one predicts.

    Inference changes nothing in the model, so threads may share it.

    Args:
        backbones: modality to backbone, all three.
        sequence_width: channels of each Conv1d over time, and of each modality's vector.
        hidden_width: neurons between the two linear layers.
        classifiers: name of a labelling to its classes, exactly one of which is true of a face.
            Each is one linear layer on the visual vector, trained beside the six outputs and
            compared with the literature; `predict` does not use them.
        thresholds: for each combination of modalities, named like ``visual+textual``, emotion to
            threshold: what a face alone tells is less sure than what all three tell, so a yes
            begins elsewhere. None while the model is untrained, when it refuses to predict.
        resting: likewise, emotion to the median probability of those who express nothing. None
            where nobody has looked.
        calibration: for each combination of modalities, each of `OUTPUTS` to a and b: the
            probability is sigmoid(a * logit + b), with a > 0. None where it is the bare sigmoid.
    """

    def __init__(
        self,
        backbones: dict[str, Any],
        *,
        sequence_width: int = 128,
        hidden_width: int = 128,
        classifiers: Mapping[str, Sequence[str]] | None = None,
        thresholds: dict[str, dict[str, float]] | None = None,
        resting: dict[str, dict[str, float]] | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        super().__init__()
        self.backbones = nn.ModuleDict({name: backbones[name] for name in MODALITIES})
        convolutions = {
            name: nn.Conv1d(backbones[name].width, sequence_width, kernel_size=3, padding=1)
            for name in MODALITIES
        }
        with torch.no_grad():
            for convolution in convolutions.values():
                # Begin without neighbours: most training examples have a single face, which
                # would leave the weights of its neighbours as they were drawn.
                convolution.weight[:, :, ::2] = 0
        self.over_time = nn.ModuleDict(convolutions)
        self.fusion = nn.Sequential(
            nn.Linear(len(MODALITIES) * sequence_width, hidden_width),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(hidden_width, len(OUTPUTS)),
        )
        self.classes = {name: tuple(classes) for name, classes in (classifiers or {}).items()}
        self.classifiers = nn.ModuleDict(
            {name: nn.Linear(sequence_width, len(each)) for name, each in self.classes.items()}
        )
        self.sequence_width = sequence_width
        self.hidden_width = hidden_width
        self.thresholds = thresholds
        self.resting = resting
        self.calibration = calibration

    @classmethod
    def build(cls, architecture: Mapping[str, Any], tokenizer: str) -> MERModel:
        """An untrained model; see `Checkpoint` for the arguments."""
        from models.mer.architecture import build_backbones

        return cls(
            build_backbones(architecture, tokenizer),
            sequence_width=architecture["sequence_width"],
            hidden_width=architecture["hidden_width"],
            classifiers=architecture.get("classifiers"),
        )

    @classmethod
    def load(cls, profile: str | Path) -> MERModel:
        """A trained model in float32, ready to predict.

        Args:
            profile: ``"embedded"`` (shipped with this package), ``"paper"``, or the path of a
                checkpoint.

        Raises:
            MissingWeights: the profile's weights are not on this machine.
            UsageError: the path is not a checkpoint that this version can read.
        """
        path = checkpoint_file(profile)
        checkpoint = read_checkpoint(path)
        try:
            model = cls.build(checkpoint.architecture, checkpoint.tokenizer)
            model.load_state_dict(checkpoint.state)
        except ImportError:  # it is not the checkpoint that is damaged
            raise
        except Exception as error:  # the tokenizer's parser raises a bare Exception
            raise damaged(path, error) from error
        model.thresholds = checkpoint.thresholds
        model.resting = checkpoint.resting
        model.calibration = checkpoint.calibration
        return model.eval().requires_grad_(False)

    def save(self, path: Path, *, training: Mapping[str, Any]) -> None:
        """Write the checkpoint of a trained model; its weights are reduced, see `write_checkpoint`.

        Args:
            training: how it was trained, on what data, under which licences; any JSON.

        Raises:
            ValueError: it has no thresholds, so it was never trained.
        """
        if self.thresholds is None:
            raise ValueError("only a model with thresholds is a checkpoint")
        textual: Any = self.backbones["textual"]
        checkpoint = Checkpoint(
            architecture={
                **{name: self.backbones[name].architecture for name in MODALITIES},
                "sequence_width": self.sequence_width,
                "hidden_width": self.hidden_width,
                "classifiers": self.classes,
            },
            tokenizer=textual.tokenizer.to_str(),
            thresholds=self.thresholds,
            resting=self.resting,
            calibration=self.calibration,
            training=training,
            state=self.state_dict(),
        )
        write_checkpoint(path, checkpoint)

    def predict(
        self, faces: Sequence[Image] | None, audio: Samples | None, text: str | None
    ) -> EmotionScores:
        """What one utterance expresses.

        The same input gives the same digits, whatever was predicted before or elsewhere.

        Args:
            faces: crops of one person's face in the order of time, uint8 (height, width, 3) RGB.
            audio: float32 (n,), 16 kHz mono.
            text: what was said.
                Each may be None or empty; at least one must be there.

        Raises:
            ValueError: all three are missing, or one is not of its form.
            UsageError: the model was never trained.
        """
        return self.predict_batch([faces], [audio], [text])[0]

    def predict_batch(
        self,
        faces: Sequence[Sequence[Image] | None],
        audio: Sequence[Samples | None],
        text: Sequence[str | None],
    ) -> list[EmotionScores]:
        """`predict` for several utterances at once: one item of each list an utterance.

        The digits equal those of `predict` up to the last bits of float32.
        """
        self._require_trained()
        if not len(faces) == len(audio) == len(text):
            raise ValueError(
                "faces, audio and text must be equally many, "
                f"not {len(faces)}, {len(audio)} and {len(text)}"
            )
        if not faces:
            return []
        examples = [self.prepare(*one) for one in zip(faces, audio, text, strict=True)]
        present = [tuple(name for name in MODALITIES if name in example) for example in examples]
        with torch.inference_mode():
            return self._scores(self.embed(examples), present)

    def encode(
        self,
        faces: Sequence[Image] | None = None,
        audio: Samples | None = None,
        text: str | None = None,
    ) -> Encoded:
        """The vectors of those modalities that are given; see `predict` for their forms.

        What is known of an utterance early can be encoded early, and `decide` do the rest: the
        digits are those of `predict`.
        """
        self._require_trained()
        example = self.prepare(faces, audio, text, needed=False)
        with torch.inference_mode():
            return {name: self._pooled(name, [example]) for name in MODALITIES if name in example}

    def decide(self, encoded: Encoded) -> EmotionScores:
        """What an utterance of which `encode` made these vectors expresses.

        Raises:
            ValueError: there is none.
        """
        present = tuple(name for name in MODALITIES if name in encoded)
        if not present:
            raise ValueError(_NOTHING)
        with torch.inference_mode():
            missing = next(iter(encoded.values())).new_zeros(1, self.sequence_width)
            vectors = torch.stack([encoded.get(name, missing) for name in MODALITIES], dim=1)
            return self._scores(vectors, [present])[0]

    def _scores(self, vectors: Tensor, present: Sequence[tuple[str, ...]]) -> list[EmotionScores]:
        """What each utterance expresses, of which `embed` made these vectors of what is present."""
        assert self.thresholds is not None
        # Every utterance, and every utterance without one of its modalities.
        left_out = [(row, name) for row, names in enumerate(present) for name in names]
        rest = [tuple(name for name in present[row] if name != out) for row, out in left_out]
        without = vectors[[row for row, _ in left_out]]
        without[range(len(rest)), [MODALITIES.index(out) for _, out in left_out]] = 0
        probabilities = self._probabilities(self.fuse(vectors), present)
        remaining = self._probabilities(self.fuse(without), rest)
        moved = dict(zip(left_out, remaining, strict=True))
        neutral = OUTPUTS.index(NEUTRAL)
        return [
            EmotionScores(
                probabilities={emotion: whole[column] for column, emotion in enumerate(EMOTIONS)},
                neutral=whole[neutral],
                thresholds=dict(self.thresholds["+".join(present[row])]),
                modalities=present[row],
                contributions={
                    emotion: {
                        name: whole[column] - moved[row, name][column] for name in present[row]
                    }
                    for column, emotion in enumerate(EMOTIONS)
                },
                resting=dict(self.resting["+".join(present[row])]) if self.resting else {},
            )
            for row, whole in enumerate(probabilities)
        ]

    def _require_trained(self) -> None:
        if self.thresholds is None:
            raise UsageError("this model was never trained, so it has no answer: load a checkpoint")

    def prepare(
        self,
        faces: Sequence[Image] | None,
        audio: Samples | None,
        text: str | None,
        *,
        needed: bool = True,
    ) -> Prepared:
        """What `predict` takes, checked, as tensors; see there.

        Args:
            needed: whether it is an error if all three are missing.
        """
        example: Prepared = {}
        if faces is not None and len(faces) > 0:
            for face in faces:
                if face.dtype != np.uint8 or face.ndim != 3 or face.shape[2] != 3 or not face.size:
                    raise ValueError(
                        f"a face must be uint8 (height, width, 3), not {face.dtype} {face.shape}"
                    )
            example["visual"] = self._backbone("visual").prepare(faces)
        if audio is not None and len(audio) > 0:
            if audio.dtype != np.float32 or audio.ndim != 1 or not np.isfinite(audio).all():
                raise ValueError(
                    f"audio must be finite float32 (n,), not {audio.dtype} {audio.shape}"
                )
            example["acoustic"] = self._backbone("acoustic").prepare(audio)
        if text is not None and text.strip():
            example["textual"] = self._backbone("textual").prepare(text)
        if needed and not example:
            raise ValueError(_NOTHING)
        return example

    def forward(self, examples: Sequence[Prepared]) -> Tensor:
        """Logits float32 (utterances, 7), in the order of `OUTPUTS`."""
        return self.fuse(self.embed(examples))

    def embed(self, examples: Sequence[Prepared]) -> Tensor:
        """One vector a modality: float32 (utterances, 3, sequence_width); 0 where it is missing."""
        return torch.stack([self._pooled(name, examples) for name in MODALITIES], dim=1)

    def fuse(self, vectors: Tensor) -> Tensor:
        """Logits float32 (utterances, 7) of what `embed` returned."""
        logits: Tensor = self.fusion(vectors.flatten(1))
        return logits

    def classify(self, vectors: Tensor) -> dict[str, Tensor]:
        """What the classifiers make of the faces in what `embed` returned.

        Returns:
            Name of a labelling to logits float32 (utterances, classes); {} without classifiers.
        """
        faces = vectors[:, MODALITIES.index("visual")]
        return {name: layer(faces) for name, layer in self.classifiers.items()}

    def _pooled(self, name: str, examples: Sequence[Prepared]) -> Tensor:
        """Backbone, Conv1d over time and mean over time: float32 (utterances, sequence_width)."""
        present = [index for index, example in enumerate(examples) if name in example]
        like = next(self.fusion.parameters())
        pooled = like.new_zeros(len(examples), self.sequence_width)
        if not present:
            return pooled
        inputs = [examples[index][name].to(like.device) for index in present]
        mean = mean_over_time(self.over_time[name], *self._backbone(name)(inputs))
        return pooled.index_copy(
            0, torch.tensor(present, device=like.device), mean.to(pooled.dtype)
        )

    def _probabilities(self, logits: Tensor, given: Sequence[tuple[str, ...]]) -> list[list[float]]:
        """Probabilities (utterances, 7) of what `fuse` returned for these modalities each."""
        if self.calibration is not None:
            # Nothing given is no combination: the bare sigmoid, which tells the base rates.
            rows = [self.calibration.get("+".join(names)) for names in given]
            pairs = logits.new_tensor(
                [[row[output] if row else (1.0, 0.0) for output in OUTPUTS] for row in rows]
            )
            logits = logits * pairs[..., 0] + pairs[..., 1]
        probabilities: list[list[float]] = torch.sigmoid(logits).cpu().double().tolist()
        return probabilities

    def _backbone(self, name: str) -> Backbone:
        backbone: Any = self.backbones[name]
        return backbone  # type: ignore[no-any-return]


def mean_over_time(convolution: nn.Module, sequence: Tensor, mask: Tensor) -> Tensor:
    """Conv1d over time and mean over time, without what is padding.

    Args:
        convolution: a Conv1d that keeps the length.
        sequence: (utterances, longest, width).
        mask: bool (utterances, longest), True where the sequence is not padding.

    Returns:
        (utterances, the convolution's channels).
    """
    weight = mask.unsqueeze(1).to(sequence.dtype)
    over_time: Tensor = convolution(sequence.transpose(1, 2) * weight)
    return (over_time * weight).sum(dim=2) / weight.sum(dim=2)
