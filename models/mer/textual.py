"""The textual backbone: a pre-trained language model of the BERT family and its tokenizer.

In: text. Out: one embedding a token, as a sequence. `embedded` uses MiniLM-L6, `paper` ALBERT.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from models.mer.bert import BertEncoder


class TextualBackbone(nn.Module):
    """A BERT or ALBERT encoder, built from its configuration, with its tokenizer.

    Args:
        config: the model's configuration as its ``config.json`` has it; ``model_type`` is
            ``bert`` or ``albert``.
        tokenizer: the contents of the matching ``tokenizer.json``.
    """

    max_tokens = 100

    def __init__(self, config: dict[str, Any], tokenizer: str) -> None:
        super().__init__()
        self.encoder: Any
        if config["model_type"] == "albert":
            from transformers import AlbertConfig, AlbertModel

            self.encoder = AlbertModel(AlbertConfig(**config), add_pooling_layer=False)
        else:
            self.encoder = BertEncoder(config)
        self.architecture = config
        self.width = int(config["hidden_size"])
        self.tokenizer = Tokenizer.from_str(tokenizer)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.max_tokens)

    def prepare(self, text: str) -> Tensor:
        """The first `max_tokens` tokens of a text, start and end mark included: int64 (n,)."""
        return torch.tensor(self.tokenizer.encode(text).ids)

    def forward(self, examples: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings of what `prepare` returned.

        Args:
            examples: one int64 (tokens,) an utterance.

        Returns:
            float32 (utterances, longest, width), and bool (utterances, longest), True where
            there is a token.
        """
        ids = pad_sequence(list(examples), batch_first=True)
        mask = pad_sequence(
            [torch.ones(len(e), dtype=torch.bool, device=e.device) for e in examples],
            batch_first=True,
        )
        if isinstance(self.encoder, BertEncoder):
            return self.encoder(ids, mask), mask
        return self.encoder(ids, mask.long()).last_hidden_state, mask
