"""What each parameter is to its module: a weight, a table of tokens or of places, a bias, or a norm's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

from torch import nn

ParameterKind = Literal["weight", "embedding", "position", "norm", "bias"]

# names under which transformers keep what stands for a place: BERT's, GPT-2's, T5's, Swin's, ViT's tokens of no input
PLACES = re.compile(
    r"(^|[._])(pos|posit\w*|wpe|relative_attention_bias|(cls|class|dist|mask|registers?)_?(tokens?|embeddings?))($|[._])"
)
GAINS = re.compile(r"(^|\.)(weight_g|parametrizations\.\w+\.original0)$")  # of weight_norm
WITH_WEIGHTS = (nn.Linear, nn.Bilinear, nn.RNNBase, nn.RNNCellBase, nn.modules.conv._ConvNd)


def parameter_kinds(model: nn.Module) -> Mapping[str, ParameterKind]:
    """The role of every parameter, under each of its names."""
    return dict(_parameter_kinds(model))


def _parameter_kinds(model: nn.Module) -> Iterator[tuple[str, ParameterKind]]:
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for path, module in model.named_modules(remove_duplicate=False):
        for own, parameter in module.named_parameters(recurse=False):
            name = f"{path}.{own}".removeprefix(".")
            yield name, _parameter_kind(name, module, parameter.ndim, names)


def _parameter_kind(name: str, module: nn.Module, dimensions: int, names: set[str]) -> ParameterKind:
    paired = not name.endswith("original0") or f"{name[:-1]}1" in names
    if "norm" in type(module).__name__.lower() or (GAINS.search(name) and paired):
        return "norm"
    if PLACES.search(name) and not isinstance(module, WITH_WEIGHTS):
        return "position"
    if dimensions < 2 or name.rpartition(".")[2].startswith("bias"):
        return "bias"
    return "embedding" if isinstance(module, nn.Embedding | nn.EmbeddingBag) else "weight"
