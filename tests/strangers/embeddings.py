"""Tables: padded, sparse, bounded in norm, and bags."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from strangers.stranger import Problem, bring, cross_entropy_terms, integers, ragged


class Words(nn.Module):
    """The mean of the words' rows, classified."""

    def __init__(self, table: nn.Module, bag: bool = False) -> None:
        super().__init__()
        self.table, self.head, self.bag = table, nn.Linear(3, 3), bag

    def forward(self, ids: Tensor) -> Tensor:
        rows = self.table(ids)
        logits: Tensor = self.head(torch.tanh(rows if self.bag else rows.mean(1)))
        return logits


def words(kind: Any, bag: bool = False, **about: Any) -> Problem:
    """Three words a sample, in three classes."""
    torch.manual_seed(1)
    table = kind(8, 3, **about)
    return Words(table, bag), ragged(integers(8, 20, 3), integers(3, 20, seed=2), sizes=(8, 8, 4)), "cross_entropy"


@bring("padded embedding", "text models with a padding word", terms=cross_entropy_terms)
def _() -> Problem:
    return words(nn.Embedding, padding_idx=0)


@bring("sparse embedding", "recommenders that train with sparse gradients", terms=cross_entropy_terms)
def _() -> Problem:
    return words(nn.Embedding, sparse=True)


@bring("embedding with a largest norm", "rows are renormalized in place in forward", expect="refused", clause="C5")
def _() -> Problem:
    return words(nn.Embedding, max_norm=1.0)


@bring("bag of embeddings", "nn.EmbeddingBag", terms=cross_entropy_terms, expect="said", derivatives="gradients")
def _() -> Problem:
    return words(nn.EmbeddingBag, bag=True, mode="mean")


@bring(
    "largest of a bag", "EmbeddingBag(mode='max')", terms=cross_entropy_terms, expect="said", derivatives="gradients"
)
def _() -> Problem:
    return words(nn.EmbeddingBag, bag=True, mode="max")


@bring("sparse bag", "EmbeddingBag(sparse=True)", terms=cross_entropy_terms, expect="said", derivatives="gradients")
def _() -> Problem:
    return words(nn.EmbeddingBag, bag=True, mode="sum", sparse=True)


@bring("embedding scaled by frequency", "scale_grad_by_freq", expect="refused", clause="C1")
def _() -> Problem:
    return words(nn.Embedding, scale_grad_by_freq=True)
