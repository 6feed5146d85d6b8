"""Tiny networks in the true on-disk formats of Whisper and Silero that know some words.

They hear tones instead of speech: each phrase, or letter, has its own. Trained here, in seconds.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

Audio = npt.NDArray[np.float32]

PHRASES = {" Open the door.": 400.0, " Never mind.": 900.0, " It's me, again.": 2000.0}
"""What the trained networks know, and the tone that says it, in Hz."""

_ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


def tone(hz: float, seconds: float = 1.0) -> Audio:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(16_000 * seconds)) / 16_000)).astype("f4")


def noise(seconds: float = 1.0, level: float = 0.3, seed: int = 0) -> Audio:
    samples = np.random.default_rng(seed).standard_normal(int(16_000 * seconds))
    return (level * samples).astype(np.float32)


def save_tokenizer(folder: Path, specials: list[str]) -> Tokenizer:
    """A byte-level tokenizer, as Whisper's; every byte is a token, then come the specials."""
    vocabulary = {letter: i for i, letter in enumerate(_ALPHABET)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in specials])
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def save_whisper(folder: Path, *, multilingual: bool = False, steps: int = 0) -> None:
    """A Whisper of one layer that listens for 2 s instead of 30.

    After training it knows `PHRASES`. White noise it knows to be no speech, and yet makes one of 32
    words of it, each as likely as the other: the true ones say "thank you" there.
    """
    torch.manual_seed(1)
    folder.mkdir(parents=True)
    # In the order of the true ones: the token before <|notimestamps|> says that nobody speaks.
    languages = ["<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>"] if multilingual else []
    specials = ["<|endoftext|>", "<|startoftranscript|>", *languages]
    tokenizer = save_tokenizer(folder, [*specials, "<|nospeech|>", "<|notimestamps|>"])
    token = tokenizer.token_to_id
    end, start, plain = (
        token(f"<|{name}|>") for name in ("endoftext", "startoftranscript", "notimestamps")
    )
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=2)
    extractor.save_pretrained(folder)
    network = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=tokenizer.get_vocab_size(),
            num_mel_bins=16,
            max_source_positions=100,
            max_target_positions=64,
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            decoder_start_token_id=start,
            bos_token_id=end,
            eos_token_id=end,
            pad_token_id=end,
        )
    )
    settings = GenerationConfig(
        decoder_start_token_id=start,
        eos_token_id=end,
        pad_token_id=end,
        bos_token_id=end,
        max_length=64,
        suppress_tokens=[token("#")],
        begin_suppress_tokens=[token("Ġ"), end] if not steps else [end],
        no_timestamps_token_id=plain,
        is_multilingual=multilingual,
    )
    if multilingual:
        settings.lang_to_id = {"<|en|>": token("<|en|>"), "<|de|>": token("<|de|>")}
        settings.task_to_id = {
            "translate": token("<|translate|>"),
            "transcribe": token("<|transcribe|>"),
        }
    network.generation_config = settings

    # Each example: what is heard, what the first step tells, and the tokens of the words.
    said = [(tone(hz), plain, tokenizer.encode(text).ids) for text, hz in PHRASES.items()]
    words = [[i] for i in range(32)]
    said += [(noise(seed=seed), plain - 1, word) for seed, word in enumerate(words)]
    length = max(len(ids) for _, _, ids in said) + 2
    decoder_input = torch.full((len(said), length), end)
    target = torch.full((len(said), length), -100)
    for row, (_, first, ids) in enumerate(said):
        decoder_input[row, : len(ids) + 2] = torch.tensor([start, plain, *ids])
        target[row, : len(ids) + 2] = torch.tensor([first, *ids, end])
    sounds = [sound for sound, _, _ in said]
    features = extractor(sounds, sampling_rate=16_000, return_tensors="pt").input_features
    # What is seldom counts as much as what is often.
    weight = torch.tensor([8.0] * len(PHRASES) + [1.0] * len(words))
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(steps):
        # Any noise can become any word.
        shuffled = torch.cat([torch.arange(len(PHRASES)), len(PHRASES) + torch.randperm(32)])
        logits = network(input_features=features[shuffled], decoder_input_ids=decoder_input).logits
        losses = F.cross_entropy(logits.transpose(1, 2), target, reduction="none").mean(1)
        optimiser.zero_grad()
        (losses * weight).mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    network.save_pretrained(folder)


LETTERS = ["_", "e", "t", "a", "o", "l", "h", "w", "r", "d", "2", " "]
"""The labels of the tiny Silero network, "_" and "2" as in the true one."""


class _ToneSpeller(nn.Module):
    """Names the tone of each 20 ms; silence is the blank."""

    def __init__(self, labels: list[str]) -> None:
        super().__init__()
        self.labels = labels
        time = torch.arange(320) / 16_000
        hz = torch.tensor([letter_hz(letter) for letter in labels[1:]])
        angle = 2 * math.pi * hz[:, None] * time
        self.register_buffer("waves", torch.cat([angle.sin(), angle.cos()])[:, None])

    def forward(self, x: Tensor) -> Tensor:
        parts = F.conv1d(x[:, None], self.waves, stride=320)
        power = parts.square().unflatten(1, (2, -1)).sum(1)
        silence = torch.ones_like(power[:, :1])
        return torch.cat([silence, power], 1).transpose(1, 2).log_softmax(-1)


def letter_hz(letter: str) -> float:
    return 200.0 * (1 + LETTERS.index(letter))


def save_silero(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.jit.script(_ToneSpeller(LETTERS)).save(str(path))
    vouch_for(path)


def vouch_for(path: Path) -> None:
    """As `sha256sum PATH > PATH.sha256` does."""
    path.with_name(f"{path.name}.sha256").write_text(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}\n"
    )


def spelled(frames: str) -> Audio:
    """The sound of a word: 20 ms of tone for each letter, of silence for each "_"."""
    return np.concatenate(
        [np.zeros(320, "f4") if f == "_" else tone(letter_hz(f), 0.02) for f in frames]
    )
