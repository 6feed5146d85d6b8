"""The paper's own backbones: InceptionResnetV1 for faces, DistilHuBERT for the voice.

In: face crops; 16 kHz samples. Out: embedding sequences. (ALBERT is `mer/textual.py`'s.) Their
pre-trained weights come from public hubs; `models.registry` knows where.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from models.mer.acoustic import Samples
from models.mer.visual import Image


class InceptionBackbone(nn.Module):
    """InceptionResnetV1 as facenet-pytorch has it (VGGFace2): 160x160 RGB in, 512 out."""

    architecture = "inception_resnet_v1"
    width = 512
    max_faces = 5
    side = 160

    def __init__(self) -> None:
        super().__init__()
        from facenet_pytorch import InceptionResnetV1

        self.network = InceptionResnetV1(pretrained=None)

    def prepare(self, faces: Sequence[Image]) -> Tensor:
        """Up to `max_faces` crops as float32 (faces, 3, 160, 160), (pixel - 127.5) / 128."""
        return torch.cat([self._picture(face) for face in faces[: self.max_faces]])

    def forward(self, examples: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """One embedding a face: float32 (utterances, longest, 512), bool (utterances, longest)."""
        counts = [len(example) for example in examples]
        embeddings = self.network(torch.cat(list(examples)))
        mask = [torch.ones(count, dtype=torch.bool, device=embeddings.device) for count in counts]
        return (
            pad_sequence(list(embeddings.split(counts)), batch_first=True),
            pad_sequence(mask, batch_first=True),
        )

    def train(self, mode: bool = True) -> InceptionBackbone:
        """Learn, but with the statistics of the normalisation layers as they were pre-trained.

        Those of a batch would be of a few faces, most of them of the same people, or of just one.
        """
        super().train(mode)
        for layer in self.modules():
            if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                layer.eval()
        return self

    def _picture(self, face: Image) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(face)).permute(2, 0, 1)[None].float()
        size = (self.side, self.side)
        x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        return (x - 127.5) / 128


class HubertBackbone(nn.Module):
    """A HuBERT encoder, built from its configuration; DistilHuBERT has two layers of 768.

    Args:
        config: the model's configuration as its ``config.json`` has it.
    """

    max_samples = 160_000

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        from transformers import HubertConfig, HubertModel

        self.encoder = HubertModel(HubertConfig(**config))
        # Masking parts of a clip is for pre-training. It would fail on clips shorter than a mask,
        # and draw from a random state of its own.
        self.encoder.config.apply_spec_augment = False
        self.architecture = config
        self.width = int(config["hidden_size"])
        # Shorter than one step of the convolutions there is nothing to embed.
        self._min_samples = 1
        for kernel, stride in zip(
            reversed(self.encoder.config.conv_kernel),
            reversed(self.encoder.config.conv_stride),
            strict=True,
        ):
            self._min_samples = (self._min_samples - 1) * stride + kernel

    def prepare(self, audio: Samples) -> Tensor:
        """Up to 10 s of samples at mean 0 and deviation 1: float32 (n,)."""
        x = torch.from_numpy(np.ascontiguousarray(audio[: self.max_samples]))
        x = F.pad(x, (0, max(0, self._min_samples - len(x))))
        return (x - x.mean()) / (x.var(correction=0) + 1e-7).sqrt()

    def forward(self, examples: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """One embedding every 20 ms; see `models.mer.model.Backbone`.

        One clip at a time: the first group normalisation of HuBERT runs over the whole length,
        padding included, so in a padded batch a clip would not give what it gives alone.
        """
        sequences = [self.encoder(x[None]).last_hidden_state[0] for x in examples]
        mask = [torch.ones(len(x), dtype=torch.bool, device=x.device) for x in sequences]
        return pad_sequence(sequences, batch_first=True), pad_sequence(mask, batch_first=True)
