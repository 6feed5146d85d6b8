"""Moonshine (Jeffries et al. 2024), as transformers has it, from a folder in the hub's format.

In: an utterance. Out: its words, in English, with case and punctuation; greedy, so the same every
time. It listens as long as the utterance lasts, where Whisper always listens for 30 s.
https://github.com/moonshine-ai/moonshine
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.stt.whole import WholeUtteranceTranscriber, reading
from models.worker import STUCK_S

_TOKENS_PER_SECOND = 6.5  # its authors' limit: faster than anyone talks, but not endless


class MoonshineTranscriber(WholeUtteranceTranscriber):
    """One of the Moonshine networks.

    Args:
        name: the engine's name.
        folder: config.json, generation_config.json, preprocessor_config.json, tokenizer.json and
            the weights.
        stuck_s: see `load_transcriber`.

    Raises:
        UsageError: the folder does not hold a Moonshine network.
    """

    def __init__(self, name: str, folder: Path, stuck_s: float = STUCK_S) -> None:
        super().__init__(name, stuck_s)
        with reading(folder):
            from tokenizers import Tokenizer
            from transformers import MoonshineForConditionalGeneration, Wav2Vec2FeatureExtractor
            from transformers.utils.logging import disable_progress_bar

            disable_progress_bar()  # type: ignore[no-untyped-call]
            self._features = Wav2Vec2FeatureExtractor.from_pretrained(folder)
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._network: Any = MoonshineForConditionalGeneration.from_pretrained(
                folder, local_files_only=True
            )

    def recognise(self, samples: npt.NDArray[np.float32]) -> str:
        """See `WholeUtteranceTranscriber.recognise`."""
        features = self._features(samples, sampling_rate=16_000, return_tensors="pt")
        most = 1 + int(_TOKENS_PER_SECOND * len(samples) / 16_000)
        with torch.inference_mode():
            tokens = self._network.generate(
                input_values=features.input_values, max_new_tokens=most, do_sample=False
            )
        text: str = self._tokenizer.decode(tokens[0].tolist())
        return text
