"""Attention: encoders with and without padding masks, decoders, caches, and causal masks in buffers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from strangers.stranger import Problem, bring, cross_entropy_terms, integers, numbers, ragged

TOKENS = 7


def sequences(samples: int = 14, length: int = 4) -> Tensor:
    """Token ids from 1; 0 pads the ends of some rows."""
    ids = 1 + integers(TOKENS - 1, samples, length, seed=5)
    ends = 2 + integers(length - 1, samples, seed=6)
    return ids * (torch.arange(length) < ends[:, None])


class Encoder(nn.Module):
    """A classifier of padded token sequences."""

    def __init__(self, pool: str, layers: int = 1, **about: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        nested = about.pop("nested", True)
        self.embed = nn.Embedding(TOKENS, 4)
        layer = nn.TransformerEncoderLayer(4, 2, 2, batch_first=True, **about)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=nested and not about.get("norm_first"))
        self.head = nn.Linear(4, 3)
        self.pool = pool
        with torch.no_grad():  # layers are copies of one another, and norms begin at 1
            for parameter in self.parameters():
                parameter.add_(0.1 * numbers(*parameter.shape, seed=parameter.numel()))

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.body(self.embed(ids), src_key_padding_mask=ids == 0)
        if self.pool == "first":
            pooled = hidden[:, 0]
        elif self.pool == "all":  # of the padding, too, as a careless mean does
            pooled = hidden.mean(1)
        else:
            kept = (ids != 0)[..., None]
            pooled = (hidden * kept).sum(1) / kept.sum(1)
        logits: Tensor = self.head(pooled)
        return logits


def encoded(model: nn.Module) -> Problem:
    """The sequences in three classes."""
    return model, ragged(sequences(), integers(3, 14), sizes=(6, 6, 2)), "cross_entropy"


@bring("encoder, mean over tokens", "text classifiers with torch's own encoder", clause="C3", terms=cross_entropy_terms)
def _() -> Problem:
    return encoded(Encoder("kept"))


@bring("encoder, mean over padding", "the same with a careless mean", clause="C3", terms=cross_entropy_terms)
def _() -> Problem:
    return encoded(Encoder("all"))


@bring("encoder, first token, GELU", "BERT-like classifiers", clause="C3", terms=cross_entropy_terms)
def _() -> Problem:
    return encoded(Encoder("first", activation="gelu"))


@bring("encoder, norm first", "pre-norm encoders of two layers", clause="C3", terms=cross_entropy_terms)
def _() -> Problem:
    return encoded(Encoder("all", layers=2, norm_first=True))


class Pooling(nn.Module):
    """MultiheadAttention alone, with a learned query over padded keys."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embed = nn.Embedding(TOKENS, 4, padding_idx=0)
        self.query = nn.Parameter(torch.randn(1, 1, 4))
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        keys = self.embed(ids)
        mixed, _ = self.attention(self.query.expand(len(ids), 1, 4), keys, keys, key_padding_mask=ids == 0)
        logits: Tensor = self.head(mixed[:, 0])
        return logits


@bring("attention pooling", "MultiheadAttention with a key padding mask", clause="C3", terms=cross_entropy_terms)
def _() -> Problem:
    return encoded(Pooling())


class Causal(nn.Module):
    """A causal language model with its mask of -inf in a buffer; it returns its keys if asked for a cache."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.embed = nn.Embedding(TOKENS, 4)
        self.mix = nn.Linear(4, 12)
        self.register_buffer("mask", torch.full((8, 8), -torch.inf).triu(1))

    def forward(self, ids: Tensor, use_cache: bool = True) -> Any:
        hidden = self.embed(ids)
        query, key, value = self.mix(hidden).chunk(3, dim=-1)
        scores = query @ key.transpose(1, 2) / 2 + self.mask[: ids.shape[1], : ids.shape[1]]
        logits = (hidden + scores.softmax(-1) @ value) @ self.embed.weight.T
        return {"logits": logits, "cache": (key.detach(), value.detach())} if use_cache else logits


def next_token_terms(output: Any, target: Tensor) -> tuple[Tensor, float]:
    """The sum of cross-entropies of the logits in a dictionary."""
    return cross_entropy_terms(output["logits"], target)


def next_token_loss(output: Any, target: Tensor) -> Tensor:
    """Mean cross-entropy of the logits in a dictionary, one for each sample."""
    return functional.cross_entropy(output["logits"].transpose(1, 2), target, reduction="none").mean(1)


@bring("decoder with a cache", "own GPTs that return a cache, tied, with a mask of -inf")
def _() -> Problem:
    ids = integers(TOKENS, 12, 5, seed=3)
    return Causal(), ragged(ids[:, :-1], ids[:, 1:], sizes=(5, 5, 2)), next_token_loss


class Flash(nn.Module):
    """Scaled dot-product attention by torch's function, and another branch where no gradient is wanted."""

    def __init__(self, shortcut: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.mix, self.head, self.shortcut = nn.Linear(3, 12), nn.Linear(4, 1), shortcut

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.mix(x).chunk(3, dim=-1)
        if self.shortcut and not torch.is_grad_enabled():
            mixed = (query @ key.transpose(1, 2)).clamp(-1, 1) @ value  # "fast at inference"
        else:
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        out: Tensor = self.head(mixed[:, -1])
        return out


def mean_squared(output: Tensor, target: Tensor) -> Tensor:
    """The mean squared error."""
    return ((output - target) ** 2).mean()


@bring("scaled dot-product attention", "own transformers on torch's function")
def _() -> Problem:
    return Flash(shortcut=False), ragged(numbers(23, 4, 3), numbers(23, 1, seed=4)), mean_squared


@bring("another branch without gradients", "models with a fast path of their own at inference", clause="C3")
def _() -> Problem:
    return Flash(shortcut=True), ragged(numbers(23, 4, 3), numbers(23, 1, seed=4)), mean_squared


class Translator(nn.Module):
    """A decoder layer of torch over a memory, called with two inputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.embed = nn.Embedding(TOKENS, 4)
        self.layer = nn.TransformerDecoderLayer(4, 2, 2, batch_first=True)

    def forward(self, memory: Tensor, ids: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1], dtype=memory.dtype)
        hidden = self.layer(self.embed(ids), memory, tgt_mask=mask, tgt_is_causal=True)
        logits: Tensor = hidden @ self.embed.weight.T
        return logits


@bring("decoder over a memory", "translation with torch's decoder, inputs in a tuple", terms=cross_entropy_terms)
def _() -> Problem:
    ids, memory = integers(TOKENS, 12, 5, seed=3), numbers(12, 3, 4)
    batches = [((memory[part], ids[part, :-1]), ids[part, 1:]) for part in (slice(0, 5), slice(5, 10), slice(10, 12))]
    return Translator(), batches, "cross_entropy"
