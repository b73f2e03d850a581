"""Rows of embeddings to which torch gives no gradient: those of the word that pads texts."""

from __future__ import annotations

from torch import nn


def padding_rows(model: nn.Module) -> dict[str, int]:
    """The row that `padding_idx` names, by the name of the embedding's weight."""
    return {
        f"{path}.weight".removeprefix("."): module.padding_idx
        for path, module in model.named_modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.padding_idx is not None
    }
