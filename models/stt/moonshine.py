"""Moonshine (Jeffries et al. 2024) on ONNX Runtime, from a folder in its publisher's layout.

In: an utterance, whole or so far. Out: its words, in English, with case and punctuation, the same
every time. It listens as long as the utterance lasts, where Whisper always listens for 30 s.
https://github.com/moonshine-ai/moonshine
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

# So much silence comes before and after what is said: words at the edges come out better. What it
# says hangs by little, the network being small, so it is listened to in two placings at once, and
# each token is as likely as both find it on average.
_PLACED = (
    (2 * SAMPLE_RATE // 10, 4 * SAMPLE_RATE // 10),
    (4 * SAMPLE_RATE // 10, 2 * SAMPLE_RATE // 10),
)

# So many sentences are followed at once (beam search), of which the likeliest is taken in the end.
# With the likeliest token after each other, heard once, 40 instead of 34 % of the words are wrong
# for people who learn English (speechocean762), 5.4 instead of 3.8 % of what actors say (RAVDESS).
_BEAMS = 4

# Whatever is longer takes too long that way: it is heard in both placings, but one sentence is
# followed, and of what is longer still in one placing.
_SEARCHED, _PLACED_TWICE = 4 * SAMPLE_RATE, 8 * SAMPLE_RATE

_LONGEST = 30 * SAMPLE_RATE  # samples: with more it loses its way
_TOKENS_PER_SECOND, _TOKENS_AT_LEAST = 8, 4  # faster than anyone talks, but not endless

_LOG_PROBABILITY = -0.87
"""For each token of an utterance; with less, its words are not worth reading."""

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
        beams = _BEAMS if len(samples) <= _SEARCHED else 1
        placed = _PLACED if len(samples) <= _PLACED_TWICE else _PLACED[:1]
        decoded = self._search(samples, beams, placed)
        return Recognised(self._words(decoded), math.exp(decoded.log_probability))

    def _words(self, decoded: _Decoded) -> str:
        """What the tokens spell; "" if that is nonsense."""
        text = self._spell(decoded.tokens)
        # The end counts, but not as a token: what is heard in noise is short.
        each = decoded.log_probability * (1 + 1 / max(1, len(decoded.tokens)))
        nonsense = (
            not decoded.ended
            or each < _LOG_PROBABILITY
            or "\N{EIGHTH NOTE}" in text
            or _repeats(decoded.tokens)
        )
        return "" if nonsense else text

    def _heard(
        self, samples: npt.NDArray[np.float32], placed: tuple[tuple[int, int], ...]
    ) -> tuple[dict[str, Any], int]:
        """What the decoder is given at first, and how many tokens there can be.

        Args:
            samples: what was said, float32 (n,), 16 kHz mono.
            placed: how many samples of silence come before and after it, in each of several
                placings, all of one length.
        """
        sounds = np.stack([np.pad(samples, silence) for silence in placed])
        mask = np.ones(sounds.shape, np.int64)
        (heard,) = self._encoder.run(None, {"input_values": sounds, "attention_mask": mask})
        given = {
            "encoder_attention_mask": mask,
            "encoder_hidden_states": heard,
            "use_cache_branch": np.array([False]),
            **{name: np.repeat(none, len(placed), axis=0) for name, none in self._nothing.items()},
        }
        return given, _TOKENS_PER_SECOND * sounds.shape[1] // SAMPLE_RATE + _TOKENS_AT_LEAST

    def _decode(self, samples: npt.NDArray[np.float32], guess: tuple[int, ...] = ()) -> _Decoded:
        """The likeliest token after each other.

        Args:
            samples: what was said.
            guess: how the tokens are likely to begin. One call checks them all, and decoding goes
                on behind those that are right. The last digits of the probabilities then differ:
                int8 scales are those of all tokens of a call.
        """
        given, most = self._heard(samples, _PLACED[:1])
        tokens: list[int] = []
        total = 0.0
        asked, remembered = [_START, *guess[:most]], list(self._nothing)
        while True:
            given["input_ids"] = np.array([asked])
            logits = self._ask(given, remembered)
            for row, expected in zip(logits[0], [*asked[1:], None], strict=True):
                token = int(row.argmax())
                total -= float(np.log(np.exp(row - row[token]).sum()))
                if token == _END or len(tokens) == most:
                    mean = total / (len(tokens) + 1)
                    return _Decoded(tuple(tokens), mean, ended=token == _END)
                tokens.append(token)
                if token != expected:
                    break
            if len(tokens) < len(asked):  # the rest of the guess was wrong
                for name in self._of_tokens:
                    given[name] = given[name][:, :, : len(tokens)]
            asked, remembered = tokens[-1:], self._of_tokens

    def _search(
        self,
        samples: npt.NDArray[np.float32],
        beams: int,
        placed: tuple[tuple[int, int], ...],
    ) -> _Decoded:
        """The likeliest of several sentences, by the mean over their tokens and the end.

        They share the decoder's calls and thus their int8 scales, but with nobody else's.

        Args:
            samples: what was said, float32 (n,), 16 kHz mono.
            beams: how many sentences are followed.
            placed: see `_heard`.
        """
        given, most = self._heard(samples, placed)
        followed: list[tuple[int, ...]] = [()]
        totals = np.zeros(1)
        done: list[_Decoded] = []
        given["input_ids"], remembered = np.array([[_START]] * len(placed)), list(self._nothing)
        while True:
            logits = self._ask(given, remembered)[:, -1]
            logits -= logits.max(axis=1, keepdims=True)
            chances = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            chances = chances.reshape(len(placed), len(followed), -1).mean(axis=0)
            scores = totals[:, None] + chances
            likeliest = _highest(scores, 2 * beams)  # enough, whichever of them end
            for row, token in likeliest[:beams]:
                if token == _END:
                    mean = float(scores[row, token]) / (len(followed[row]) + 1)
                    done.append(_Decoded(followed[row], mean, ended=True))
            longer = [(row, token) for row, token in likeliest if token != _END][:beams]
            followed = [(*followed[row], token) for row, token in longer]
            totals = np.array([scores[place] for place in longer])
            if len(followed[0]) == most:
                done.append(_Decoded(followed[0], float(totals[0]) / most, ended=False))
                break
            ended = max(
                (one.log_probability * (len(one.tokens) + 1) for one in done), default=-math.inf
            )
            if len(done) >= beams or ended > totals[0]:
                break
            self._keep(given, [row for row, _ in longer], len(placed))
            given["input_ids"] = np.array([tokens[-1:] for tokens in followed] * len(placed))
            remembered = self._of_tokens
        return max(done, key=lambda one: one.log_probability)

    def _ask(self, given: dict[str, Any], remembered: list[str]) -> npt.NDArray[np.float32]:
        """Logits of the next tokens (sentences, positions, tokens); `given` then remembers them."""
        logits: npt.NDArray[np.float32]
        logits, *memory = self._decoder.run(
            ["logits", *(name.replace("past_key_values", "present") for name in remembered)], given
        )
        given.update(zip(remembered, memory, strict=True))
        given["use_cache_branch"] = np.array([True])
        return logits

    def _keep(self, given: dict[str, Any], rows: list[int], placings: int) -> None:
        """Have `given` remember these sentences, in this order, of each placing of the sound."""
        before = len(given["input_ids"]) // placings
        chosen = [place * before + row for place in range(placings) for row in rows]
        for name in self._of_tokens:
            given[name] = given[name][chosen]
        if len(rows) != before:  # what was heard is the same for all sentences
            for name in given.keys() - {"input_ids", "use_cache_branch", *self._of_tokens}:
                given[name] = given[name][chosen]

    def _spell(self, tokens: tuple[int, ...]) -> str:
        written = b"".join(self._vocabulary[token] for token in tokens)
        text = written.replace("\N{LOWER ONE EIGHTH BLOCK}".encode(), b" ")
        return " ".join(text.decode(errors="replace").split())


def _highest(scores: npt.NDArray[np.float64], count: int) -> list[tuple[int, int]]:
    """Row and column of so many of the highest scores, the highest first."""
    flat = scores.ravel()
    best = np.argpartition(-flat, count)[:count]
    best = best[np.argsort(-flat[best], kind="stable")]
    return [divmod(int(place), scores.shape[1]) for place in best]


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
