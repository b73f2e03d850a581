"""Fully connected networks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from landscape.zoo.limits import MAX_LAYERS, require_at_most

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU}


def mlp(sizes: Sequence[int] = (64, 32, 20, 10), activation: str = "tanh") -> nn.Sequential:
    """A fully connected network with `len(sizes) - 1` linear layers.

    Input `(N, sizes[0])`, output `(N, sizes[-1])`; `activation` is `tanh`, `relu` or `gelu`.
    """
    require_at_most(MAX_LAYERS, len(sizes), "layers")
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])
