"""BERT's encoder (Devlin et al. 2018, https://arxiv.org/abs/1810.04805), of PyTorch alone.

In: numbers of tokens. Out: one embedding a token. transformers has it, too, but to import that took
a third of all that is imported before analysis begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_DEFAULTS = {
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}


class BertEncoder(nn.Module):
    """A BERT without its pooler, with the module names of its public state dicts.

    Args:
        config: as the model's ``config.json`` has it; what it leaves out is as in BERT-base. Its
            activation is taken to be GELU, its positions to be absolute, as in all BERT models.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        config = {**_DEFAULTS, **config}
        self.embeddings = _Embeddings(config)
        layers = nn.ModuleList(_Layer(config) for _ in range(config["num_hidden_layers"]))
        self.encoder = nn.ModuleDict({"layer": layers})

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Embeddings float32 (texts, longest, hidden_size).

        Args:
            ids: int64 (texts, longest).
            mask: bool (texts, longest), True where there is a token.
        """
        x: Tensor = self.embeddings(ids)
        layers: Any = self.encoder["layer"]
        for layer in layers:
            x = layer(x, mask[:, None, None])
        return x


class _Embeddings(nn.Module):
    """What a token is and where it stands; all are of the first of two kinds of sentence.

    In: int64 (texts, longest). Out: float32 (texts, longest, width).
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = nn.Embedding(config["vocab_size"], width)
        self.position_embeddings = nn.Embedding(config["max_position_embeddings"], width)
        self.token_type_embeddings = nn.Embedding(config["type_vocab_size"], width)
        self.LayerNorm = nn.LayerNorm(width, config["layer_norm_eps"])
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.word_embeddings(ids) + self.token_type_embeddings.weight[0]
        embedded: Tensor = self.dropout(self.LayerNorm(x + self.position_embeddings(places)))
        return embedded


class _Layer(nn.Module):
    """Attention of every token to all, then two linear layers, each added to what came in.

    In and out: float32 (texts, longest, width); `mask` is bool (texts, 1, 1, longest).
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        self.attention = _Attention(config)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = _Residual(config, inner)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention(x, mask)
        y: Tensor = self.output(F.gelu(self.intermediate["dense"](x)), x)
        return y


class _Attention(nn.Module):
    """Self-attention; `mask` is bool (texts, 1, 1, longest)."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.self = nn.ModuleDict(
            {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        )
        self.output = _Residual(config, width)
        self._heads = config["num_attention_heads"]
        self._dropout = config["attention_probs_dropout_prob"]

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (
            layer(x).unflatten(2, (self._heads, -1)).transpose(1, 2) for layer in self.self.values()
        )
        dropout = self._dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(query, key, value, mask, dropout)
        y: Tensor = self.output(seen.transpose(1, 2).flatten(2), x)
        return y


class _Residual(nn.Module):
    """A linear layer whose result is added to what came before, and normalised."""

    def __init__(self, config: Mapping[str, Any], inputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config["hidden_size"])
        self.LayerNorm = nn.LayerNorm(config["hidden_size"], config["layer_norm_eps"])
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        y: Tensor = self.LayerNorm(self.dropout(self.dense(x)) + before)
        return y
