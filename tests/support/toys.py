"""Tiny emotion models, and utterances for them."""

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from models.emotions import COMBINATIONS, EMOTIONS
from models.mer.model import MERModel

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(60))]


HALF = dict.fromkeys(EMOTIONS, 0.5)


HALVES = {combination: dict(HALF) for combination in COMBINATIONS}


TINY_BERT = {
    "model_type": "bert",
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
}


TINY_ALBERT = {**TINY_BERT, "model_type": "albert", "embedding_size": 8}


TINY_HUBERT = {
    "model_type": "hubert",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8, 8, 8],
    "conv_stride": [5, 4, 4],
    "conv_kernel": [10, 8, 4],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


def tokenizer():
    words = {word: number for number, word in enumerate(WORDS)}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made.to_str()


FACES = "resnet18-half"


SPEECH = {"network": "whisper-base", "layers": 1}


def tiny(*, visual=FACES, acoustic=SPEECH, textual=TINY_BERT, classifiers=None):
    torch.manual_seed(0)
    architecture = {
        "visual": visual,
        "acoustic": acoustic,
        "textual": textual,
        "sequence_width": 8,
        "hidden_width": 8,
        "classifiers": classifiers or {},
    }
    model = MERModel.build(architecture, tokenizer()).eval().requires_grad_(False)
    model.thresholds = HALVES
    return model


def utterance(seed, *, faces=3, seconds=1.0, words=5):
    rng = np.random.default_rng(seed)
    return (
        [rng.integers(0, 256, (40 + 9 * n, 50, 3), dtype=np.uint8) for n in range(faces)],
        rng.standard_normal(int(seconds * 16_000)).astype(np.float32) * 0.1,
        " ".join(rng.choice(WORDS[4:], words)),
    )
