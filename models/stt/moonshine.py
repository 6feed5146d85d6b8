"""Moonshine (Jeffries et al. 2024) on ONNX Runtime, from a folder in its publisher's layout.

In: an utterance, whole or so far. Out: its words, in English, with case and punctuation; greedy, so
the same every time. It listens as long as the utterance lasts, where Whisper always listens for
30 s. https://github.com/moonshine-ai/moonshine
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.onnx_session import load_network
from models.stt.network import (
    SAMPLE_RATE,
    NetworkTranscriber,
    Recognised,
    joined,
    parts,
    reading,
)
from models.stt.transcriber import Hypothesis
from models.worker import STUCK_S

_START, _END = 1, 2  # tokens

# So much silence before and after what is said: words at the edges come out better. On GRID 36 %
# instead of 41 % of the words are wrong, on LibriSpeech it makes no difference.
_SILENCE = np.zeros(3 * SAMPLE_RATE // 10, np.float32)

# It is listened to again with more silence, which is as good, if the first time was not sure: the
# network is small, and what it hears hangs by little. Of the surer of the two, 36.9 % instead of
# 38.5 % of the words are wrong for 260 people who learn English (speechocean762), 4.6 % instead of
# 5.7 % for actors (RAVDESS). With less silence it gets worse on GRID.
_MORE_SILENCE = np.zeros(SAMPLE_RATE // 2, np.float32)
_UNSURE = -0.2  # mean log-probability of the tokens

_LONGEST = 30 * SAMPLE_RATE  # samples: with more it loses its way
_TOKENS_PER_SECOND, _TOKENS_AT_LEAST = 8, 4  # faster than anyone talks, but not endless

_LOG_PROBABILITY = -0.9
"""Mean of an utterance's tokens, below which its words are not worth reading."""

_TIMES = 4  # so often in a row nobody says the same


class _Decoded(NamedTuple):
    tokens: tuple[int, ...]
    log_probability: float  # mean of the tokens and of the end
    ended: bool  # by itself


class MoonshineTranscriber(NetworkTranscriber):
    """One of the Moonshine networks.

    Args:
        name: the engine's name.
        folder: encoder_model.ort, decoder_model_merged.ort and tokenizer.bin.
        stuck_s: see `load_transcriber`.

    Raises:
        UsageError: the folder does not hold a Moonshine network.
    """

    def __init__(self, name: str, folder: Path, stuck_s: float = STUCK_S) -> None:
        with reading(folder):
            self._encoder = load_network(folder / "encoder_model.ort")
            self._decoder = load_network(folder / "decoder_model_merged.ort")
            self._vocabulary = _read_vocabulary(folder / "tokenizer.bin")
            shapes = {given.name: given.shape for given in self._decoder.get_inputs()}
        # What the decoder remembers: (1, heads, positions, width) for each layer, of the tokens so
        # far and of the sound. The latter does not change after the first call.
        past = [name for name in shapes if name.startswith("past_key_values.")]
        self._nothing = {
            name: np.zeros((1, shapes[name][1], 0, shapes[name][3]), np.float32) for name in past
        }
        self._of_tokens = [name for name in past if ".decoder." in name]
        # One for every two cores: the others are needed for pictures and scores. On two cores 95 of
        # 100 results of six live streams came within 0.09 s with one thread, 0.31 s with two, in
        # one run each.
        super().__init__(name, stuck_s, threads=max(1, (os.cpu_count() or 1) // 2))

    def recognise(self, samples: npt.NDArray[np.float32]) -> Recognised:
        """See `NetworkTranscriber.recognise`."""
        return joined(self._recognise(part) for part in parts(samples, _LONGEST))

    def recognise_so_far(
        self, samples: npt.NDArray[np.float32], last: Hypothesis | None
    ) -> Hypothesis:
        """See `NetworkTranscriber.recognise_so_far`."""
        decoded = self._decode(samples[-_LONGEST:], last.tokens if last else ())
        return Hypothesis(self._words(decoded), decoded.tokens)

    def _recognise(self, samples: npt.NDArray[np.float32]) -> Recognised:
        decoded = self._decode(samples)
        if decoded.log_probability < _UNSURE and self._words(decoded):
            again = self._decode(samples, silence=_MORE_SILENCE)
            if again.log_probability > decoded.log_probability and self._words(again):
                decoded = again
        return Recognised(self._words(decoded), math.exp(decoded.log_probability))

    def _words(self, decoded: _Decoded) -> str:
        """What the tokens spell; "" if that is nonsense."""
        text = self._spell(decoded.tokens)
        nonsense = (
            not decoded.ended
            or decoded.log_probability < _LOG_PROBABILITY
            or "\N{EIGHTH NOTE}" in text
            or _repeats(decoded.tokens)
        )
        return "" if nonsense else text

    def _decode(
        self,
        samples: npt.NDArray[np.float32],
        guess: tuple[int, ...] = (),
        silence: npt.NDArray[np.float32] = _SILENCE,
    ) -> _Decoded:
        """The likeliest token after each other.

        Args:
            samples: what was said.
            guess: how the tokens are likely to begin. One call checks them all, and decoding goes
                on behind those that are right. The last digits of the probabilities then differ:
                int8 scales are those of all tokens of a call.
            silence: comes before and after it.
        """
        samples = np.concatenate([silence, samples, silence])
        mask = np.ones((1, len(samples)), np.int64)
        (heard,) = self._encoder.run(None, {"input_values": samples[None], "attention_mask": mask})
        given: dict[str, Any] = {
            "encoder_attention_mask": mask,
            "encoder_hidden_states": heard,
            "use_cache_branch": np.array([False]),
            **self._nothing,
        }
        most = _TOKENS_PER_SECOND * len(samples) // SAMPLE_RATE + _TOKENS_AT_LEAST
        tokens: list[int] = []
        total = 0.0
        asked, remembered = [_START, *guess[:most]], list(self._nothing)
        while True:
            given["input_ids"] = np.array([asked])
            logits, *memory = self._decoder.run(
                ["logits", *(name.replace("past_key_values", "present") for name in remembered)],
                given,
            )
            for row, expected in zip(logits[0], [*asked[1:], None], strict=True):
                token = int(row.argmax())
                total -= float(np.log(np.exp(row - row[token]).sum()))
                if token == _END or len(tokens) == most:
                    mean = total / (len(tokens) + 1)
                    return _Decoded(tuple(tokens), mean, ended=token == _END)
                tokens.append(token)
                if token != expected:
                    break
            given.update(zip(remembered, memory, strict=True))
            if len(tokens) < len(asked):  # the rest of the guess was wrong
                for name in self._of_tokens:
                    given[name] = given[name][:, :, : len(tokens)]
            given["use_cache_branch"] = np.array([True])
            asked, remembered = tokens[-1:], self._of_tokens

    def _spell(self, tokens: tuple[int, ...]) -> str:
        written = b"".join(self._vocabulary[token] for token in tokens)
        text = written.replace("\N{LOWER ONE EIGHTH BLOCK}".encode(), b" ")
        return " ".join(text.decode(errors="replace").split())


def _repeats(tokens: tuple[int, ...]) -> bool:
    """Whether some sequence of tokens is said over and over."""
    return any(
        tokens[start : start + length] * _TIMES == tokens[start : start + length * _TIMES]
        for length in range(1, len(tokens) // _TIMES + 1)
        for start in range(len(tokens) - length * _TIMES + 1)
    )


def _read_vocabulary(path: Path) -> list[bytes]:
    """The tokens' texts: each is told after its length, in one byte or, from 128 on, in two."""
    data = path.read_bytes()
    texts = []
    position = 0
    while position < len(data):
        length = data[position]
        position += 1
        if length >= 128:
            length += 128 * data[position] - 128
            position += 1
        texts.append(data[position : position + length])
        position += length
    return texts
