"""A model in float64, in which the checks differentiate a few samples, without its weights in float64.

The weights of a large model stay as they are, and are cast where they are used, block by block where its blocks can
run again. Gradients are then taken in its smallest tensors alone: those of biases and gains pass through every
operation that gradients of weights do.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from landscape.network.blocks import find_repeated_blocks
from landscape.network.space import ParameterSpace
from landscape.objective.checks import check
from landscape.objective.model_function import ModelFunction

RESTRICTED = 1 << 20  # numbers in which a large model is differentiated: several vectors of them are in float64


def restrict(function: ModelFunction, theta: Tensor) -> tuple[ModelFunction, Tensor]:
    """A large model as a function of its smallest tensors, at most `RESTRICTED` numbers; others as they are."""
    if theta.numel() < check.LARGE_MODEL:
        return function, theta
    room, names = RESTRICTED, set[str]()
    for block in sorted(function.space.blocks, key=lambda block: block.size):
        if names and block.size > room:
            break
        names.add(block.name)
        room -= block.size
    space = ParameterSpace(tuple(block for block in function.space.blocks if block.name in names))
    named = function.space.unflatten(theta)
    rest = {name: tensor for name, tensor in named.items() if name not in names}
    return replace(function, space=space, fixed={**function.fixed, **rest}), space.flatten(named)


def in_float64(function: ModelFunction, theta: Tensor) -> tuple[ModelFunction, Tensor]:
    """The function, and theta, in float64; weights of a large model are cast where they are used.

    What is long then is the difference from weights that are stored: zeros, of which one lies in memory.
    """
    if theta.numel() + sum(tensor.numel() for tensor in function.fixed.values()) < check.LARGE_MODEL:
        return function.to(torch.float64), theta.double()
    stored, fixed = dict(function.stored), dict(function.fixed)
    for name, tensor in function.fixed.items():
        if name not in stored and tensor.is_floating_point() and name not in function.written:
            stored[name], fixed[name] = tensor, _zeros(tensor)
    if len(theta) >= check.LARGE_MODEL:
        stored = {**function.space.unflatten(theta), **stored}
        theta = _zeros(theta)
    wide = replace(function, fixed=fixed, stored=stored, blocks=_blocks_at_a_time(function))
    return wide.to(torch.float64), theta.double()


def float64_bytes(function: ModelFunction) -> int:
    """The bytes of the weights that are in float64 at once: those outside of blocks, and the largest block's."""
    every = function.space.size + sum(t.numel() for t in function.fixed.values() if t.is_floating_point())
    blocks = [sum(part.numel() for part in block.parameters()) for block in _blocks_at_a_time(function)]
    return (every - sum(blocks) + max(blocks, default=0)) * torch.float64.itemsize


def _blocks_at_a_time(function: ModelFunction) -> tuple[nn.Module, ...]:
    """The blocks that can run again, whose weights are then cast one block at a time."""
    return function.blocks or (find_repeated_blocks(function.module) if function.may_run_again else ())


def _zeros(like: Tensor) -> Tensor:
    return like.new_zeros(()).to(torch.float64).expand(like.shape)
