"""Whisper (Radford et al. 2022), as transformers has it, from a folder in the hub's format.

In: an utterance. Out: its words, in English, with case and punctuation; greedy, so the same every
time. https://github.com/openai/whisper
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.stt.network import NetworkTranscriber, Recognised, joined, parts, reading
from models.worker import STUCK_S

_NO_SPEECH = 0.6
_LOG_PROBABILITY = -1.0
"""Nothing was said if Whisper gives silence more than the first and its words, on average, less
than the second: its authors' own values."""


class WhisperTranscriber(NetworkTranscriber):
    """One of the Whisper networks.

    Args:
        name: the engine's name.
        folder: config.json, generation_config.json, preprocessor_config.json, tokenizer.json and
            the weights.
        stuck_s: see `load_transcriber`.

    Raises:
        UsageError: the folder does not hold a Whisper network.
    """

    def __init__(self, name: str, folder: Path, stuck_s: float = STUCK_S) -> None:
        with reading(folder):
            from tokenizers import Tokenizer
            from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration
            from transformers.utils.logging import disable_progress_bar

            disable_progress_bar()  # type: ignore[no-untyped-call]
            self._features = WhisperFeatureExtractor.from_pretrained(folder)
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._network = WhisperForConditionalGeneration.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
            settings: Any = self._network.generation_config
            self._prompt = [settings.decoder_start_token_id]
            if settings.is_multilingual:
                # Not the language it believes to hear: what follows reads English only.
                self._prompt += [settings.lang_to_id["<|en|>"], settings.task_to_id["transcribe"]]
            self._prompt.append(settings.no_timestamps_token_id)
            self._silence = settings.no_timestamps_token_id - 1  # the token for "nothing is said"
            self._end = settings.eos_token_id
            self._never = settings.suppress_tokens or []
            self._never_first = [*self._never, *(settings.begin_suppress_tokens or [])]
        super().__init__(name, stuck_s)

    def recognise(self, samples: npt.NDArray[np.float32]) -> Recognised:
        """See `NetworkTranscriber.recognise`."""
        return joined(self._recognise(part) for part in parts(samples, self._features.n_samples))

    def _recognise(self, samples: npt.NDArray[np.float32]) -> Recognised:
        tokens, log_probability, no_speech = self._decode(samples)
        confidence = math.exp(log_probability)
        if no_speech > _NO_SPEECH and log_probability < _LOG_PROBABILITY:
            return Recognised("", confidence)
        return Recognised(self._tokenizer.decode(tokens), confidence)

    @torch.inference_mode()
    def _decode(self, samples: npt.NDArray[np.float32]) -> tuple[list[int], float, float]:
        """The likeliest tokens, their mean log probability, and the probability of no speech."""
        network = self._network
        features = self._features(samples, sampling_rate=16_000, return_tensors="pt")
        heard = network.get_encoder()(features.input_features)
        answer = network(encoder_outputs=heard, decoder_input_ids=torch.tensor([self._prompt]))
        no_speech = float(answer.logits[0, 0].softmax(-1)[self._silence])
        tokens: list[int] = []
        total = 0.0
        # Half of what the decoder can take, as its authors do: the other half is for a prompt.
        for _ in range(network.config.max_target_positions // 2):
            logits: Tensor = answer.logits[0, -1]
            logits[self._never if tokens else self._never_first] = -torch.inf
            log_probabilities = logits.log_softmax(-1)
            token = int(log_probabilities.argmax())
            total += float(log_probabilities[token])
            if token == self._end:
                break
            tokens.append(token)
            answer = network(
                encoder_outputs=heard,
                decoder_input_ids=torch.tensor([[token]]),
                past_key_values=answer.past_key_values,
            )
        return tokens, total / (len(tokens) + 1), no_speech
