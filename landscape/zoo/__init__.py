"""Models and data sets by name, of which the sample checkpoints, the tests and the benchmarks are made."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from landscape.zoo.digits import digits
from landscape.zoo.grammar import grammar
from landscape.zoo.mlp import mlp
from landscape.zoo.resnet import resnet
from landscape.zoo.transformer import char_transformer

MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "resnet": resnet,
    "char-transformer": char_transformer,
}

DATA: dict[str, Callable[..., list[tuple[Tensor, Tensor]]]] = {
    "digits": digits,
    "grammar": grammar,
}

__all__ = ["DATA", "MODELS", "char_transformer", "digits", "grammar", "mlp", "resnet"]
