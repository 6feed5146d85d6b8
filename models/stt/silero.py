"""Silero Models' English recogniser, the one of the paper: TorchScript with its labels inside.

In: an utterance. Out: its words, in lower case, from letters chosen one by one (greedy CTC).
https://github.com/snakers4/silero-models
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from models.registry import require_vouched
from models.stt.network import NetworkTranscriber, Recognised, reading
from models.worker import STUCK_S

_SHORTEST = 12_800  # samples, 0.8 s: what the network needs at least; silence makes up for it
_BLANK = "_"  # a frame that adds nothing
_TWICE = "2"  # the letter before once more: "hel2o" is "hello"


class SileroTranscriber(NetworkTranscriber):
    """The network with its labels.

    Args:
        name: the engine's name.
        path: the TorchScript file.
        stuck_s: see `load_transcriber`.

    Raises:
        UsageError: the file does not hold such a network, or nobody has vouched for it.
    """

    def __init__(self, name: str, path: Path, stuck_s: float = STUCK_S) -> None:
        require_vouched(path)  # TorchScript runs what is in it
        with reading(path):
            self._network = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
            self._network.eval()
            self._labels: list[str] = self._network.labels
        super().__init__(name, stuck_s)

    def recognise(self, samples: npt.NDArray[np.float32]) -> Recognised:
        """See `NetworkTranscriber.recognise`."""
        heard = F.pad(torch.from_numpy(samples), (0, max(0, _SHORTEST - len(samples))))
        with torch.inference_mode():
            likely: Tensor = self._network(heard[None])[0]
        return Recognised(_spell([self._labels[i] for i in likely.argmax(-1).tolist()]))


def _spell(frames: list[str]) -> str:
    """The text that one label a frame spells.

    A letter may last for many frames, blanks among them: that a letter comes twice is always said.
    """
    letters: list[str] = []
    for label in frames:
        if label == _TWICE:
            letters += ["", *letters[-1:]]  # the empty one keeps the two apart
        elif label != _BLANK:
            letters.append(label)
    return "".join(letter for letter, _ in groupby(letters))
