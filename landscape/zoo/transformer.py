"""A small causal transformer over characters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.zoo.limits import MAX_LAYERS, require_at_most


class TransformerLayer(nn.Module):
    """Pre-norm causal self-attention and a GELU network, each with its residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def attend(self, x: Tensor) -> Tensor:
        """Causal self-attention of `(N, T, width)`."""
        batch, length, width = x.shape
        query, key, value = (
            part.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        projected: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return projected

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, width)` to `(N, T, width)`."""
        x = x + self.attend(self.norm1(x))
        widened: Tensor = self.up(self.norm2(x))
        narrowed: Tensor = self.down(functional.gelu(widened))
        return x + narrowed


class CharTransformer(nn.Module):
    """Token and position tables, `layers` layers, a final norm and an untied head."""

    def __init__(self, *, vocabulary: int, length: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        self.layers = nn.Sequential(*(TransformerLayer(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids `(N, T)` to logits `(N, T, vocabulary)`."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        hidden = self.layers(self.tokens(ids) + self.positions(positions))
        logits: Tensor = self.head(self.norm(hidden))
        return logits


def char_transformer(
    vocabulary: int = 29, length: int = 64, width: int = 128, heads: int = 4, layers: int = 2
) -> CharTransformer:
    """A causal transformer: ids `(N, T)` with T <= `length` in, logits `(N, T, vocabulary)` out."""
    require_at_most(MAX_LAYERS, layers, "layers")
    return CharTransformer(vocabulary=vocabulary, length=length, width=width, heads=heads, layers=layers)
