"""The kind of each parameter: a weight, an embedding of tokens or of positions, a bias, or part of a normalization."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

from torch import nn

ParameterKind = Literal["weight", "embedding", "position", "norm", "bias"]

# names of position embeddings in BERT, GPT-2, T5 and Swin, and of ViT's tokens that stand for no input
POSITIONS = re.compile(
    r"(^|[._])(pos|posit\w*|wpe|relative_attention_bias|(cls|class|dist|mask|registers?)_?(tokens?|embeddings?))($|[._])"
)
NORM_GAINS = re.compile(
    r"(^|\.)(weight_g|parametrizations\.\w+\.original0)$"
)  # the lengths that weight_norm multiplies by
LAYERS_WITH_WEIGHTS = (nn.Linear, nn.Bilinear, nn.RNNBase, nn.RNNCellBase, nn.modules.conv._ConvNd)


def parameter_kinds(model: nn.Module) -> Mapping[str, ParameterKind]:
    """The kind of every parameter, under each of its names: tied ones have several."""
    return dict(_parameter_kinds(model))


def _parameter_kinds(model: nn.Module) -> Iterator[tuple[str, ParameterKind]]:
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for path, module in model.named_modules(remove_duplicate=False):
        for own, parameter in module.named_parameters(recurse=False):
            name = f"{path}.{own}".removeprefix(".")
            yield name, _parameter_kind(name, module, parameter.ndim, names)


def _parameter_kind(name: str, module: nn.Module, dimensions: int, names: set[str]) -> ParameterKind:
    paired = not name.endswith("original0") or f"{name[:-1]}1" in names
    if "norm" in type(module).__name__.lower() or (NORM_GAINS.search(name) and paired):
        return "norm"
    if POSITIONS.search(name) and not isinstance(module, LAYERS_WITH_WEIGHTS):
        return "position"
    if dimensions < 2 or name.rpartition(".")[2].startswith("bias"):
        return "bias"
    return "embedding" if isinstance(module, nn.Embedding | nn.EmbeddingBag) else "weight"
