"""The multimodal emotion recognition model of Lee and Kim (2023), for one utterance.

In: up to 5 faces, 10 s of sound, 100 tokens of text, any of them missing. Out: six probabilities.
Three backbones -> Conv1d over time -> mean over time -> concatenation -> two linear layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from models.emotions import EMOTIONS, MODALITIES, EmotionScores
from models.errors import UsageError
from models.mer.acoustic import Samples
from models.mer.visual import Image

Prepared: TypeAlias = dict[str, Tensor]
"""One utterance as the backbones take it: modality to tensor, only those that are there."""


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
        thresholds: for each combination of modalities, named like ``visual+textual``, emotion to
            threshold: what a face alone tells is less sure than what all three tell, so a yes
            begins elsewhere. None while the model is untrained, when it refuses to predict.
    """

    def __init__(
        self,
        backbones: dict[str, Any],
        *,
        sequence_width: int = 128,
        hidden_width: int = 128,
        thresholds: dict[str, dict[str, float]] | None = None,
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
            nn.Linear(hidden_width, len(EMOTIONS)),
        )
        self.sequence_width = sequence_width
        self.hidden_width = hidden_width
        self.thresholds = thresholds

    @staticmethod
    def load(profile: str | Path) -> MERModel:
        """A trained model, ready to predict.

        Args:
            profile: ``"embedded"`` (shipped with this package), ``"paper"``, or the path of a
                checkpoint.

        Raises:
            MissingWeights: the profile's weights are not on this machine.
            UsageError: the path is not a checkpoint that this version can read.
        """
        from models.mer.checkpoint import load_model
        from models.registry import resolve

        if str(profile) in ("embedded", "paper"):
            return load_model(resolve(str(profile)))
        return load_model(Path(profile))

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
        if self.thresholds is None:
            raise UsageError("this model was never trained, so it has no answer: load a checkpoint")
        if not len(faces) == len(audio) == len(text):
            raise ValueError(
                "faces, audio and text must be equally many, "
                f"not {len(faces)}, {len(audio)} and {len(text)}"
            )
        if not faces:
            return []
        examples = [self.prepare(*one) for one in zip(faces, audio, text, strict=True)]
        with torch.inference_mode():
            probabilities = torch.sigmoid(self(examples)).cpu().double().tolist()
        present = [tuple(name for name in MODALITIES if name in example) for example in examples]
        return [
            EmotionScores(
                probabilities=dict(zip(EMOTIONS, row, strict=True)),
                thresholds=dict(self.thresholds["+".join(modalities)]),
                modalities=modalities,
            )
            for row, modalities in zip(probabilities, present, strict=True)
        ]

    def prepare(
        self, faces: Sequence[Image] | None, audio: Samples | None, text: str | None
    ) -> Prepared:
        """What `predict` takes, checked, as tensors; see there."""
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
        if not example:
            raise ValueError("faces, audio and text are all missing: there is nothing to analyse")
        return example

    def forward(self, examples: Sequence[Prepared]) -> Tensor:
        """Logits float32 (utterances, 6), in the order of `EMOTIONS`."""
        return self.fuse(self.embed(examples))

    def embed(self, examples: Sequence[Prepared]) -> Tensor:
        """One vector a modality: float32 (utterances, 3, sequence_width); 0 where it is missing."""
        return torch.stack([self._pooled(name, examples) for name in MODALITIES], dim=1)

    def fuse(self, vectors: Tensor) -> Tensor:
        """Logits float32 (utterances, 6) of what `embed` returned."""
        logits: Tensor = self.fusion(vectors.flatten(1))
        return logits

    def _pooled(self, name: str, examples: Sequence[Prepared]) -> Tensor:
        """Backbone, Conv1d over time and mean over time: float32 (utterances, sequence_width)."""
        present = [index for index, example in enumerate(examples) if name in example]
        like = next(self.fusion.parameters())
        pooled = like.new_zeros(len(examples), self.sequence_width)
        if not present:
            return pooled
        inputs = [examples[index][name].to(like.device) for index in present]
        sequence, mask = self._backbone(name)(inputs)
        weight = mask.unsqueeze(1).to(sequence.dtype)
        over_time: Tensor = self.over_time[name](sequence.transpose(1, 2) * weight)
        mean = (over_time * weight).sum(dim=2) / weight.sum(dim=2)
        return pooled.index_copy(
            0, torch.tensor(present, device=like.device), mean.to(pooled.dtype)
        )

    def _backbone(self, name: str) -> Backbone:
        backbone: Any = self.backbones[name]
        return backbone  # type: ignore[no-any-return]
