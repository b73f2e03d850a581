"""A model in float64, in which the checks differentiate a few samples, without its weights in float64.

The weights of a large model stay as they are, and are cast where they are used, block by block where its blocks can
run again. Gradients are then taken in some of its tensors alone: the smallest, for gradients of biases and gains pass
through every operation on activations that gradients of weights do; and those of one module of each class, for a
module may compute with its weights in ways of its own.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from landscape.compute.inner_products import distance, norm
from landscape.data.batches import Batch
from landscape.losses.protocol import Loss
from landscape.network.blocks import find_repeated_blocks
from landscape.network.space import ParameterSpace
from landscape.network.stored_weights import in_dtype
from landscape.objective.batch_loss import BatchLoss
from landscape.objective.checks import check
from landscape.objective.model_function import ModelFunction

RESTRICTED = 1 << 20  # numbers in which a large model is differentiated: several vectors of them are in float64
OF_EACH_CLASS = 1 / 16  # of theta, and at least `RESTRICTED` numbers, that one module of each class may have besides
SAME_LOSS, SAME_GRADIENT = 1e-4, 1e-3  # relative: rounding between a pass with blocks that run again and one without


def restrict(function: ModelFunction, theta: Tensor) -> tuple[ModelFunction, Tensor]:
    """A large model as a function of its smallest tensors, at most `RESTRICTED` numbers, and of those of a few modules.

    Others as they are.
    """
    if theta.numel() < check.LARGE_MODEL:
        return function, theta
    room, names = RESTRICTED, set[str]()
    for block in sorted(function.space.blocks, key=lambda block: block.size):
        if names and block.size > room:
            break
        names.add(block.name)
        room -= block.size
    names |= _one_of_each_class(function, max(RESTRICTED, int(OF_EACH_CLASS * len(theta))))
    space = ParameterSpace(tuple(block for block in function.space.blocks if block.name in names))
    named = function.space.unflatten(theta)
    rest = {name: tensor for name, tensor in named.items() if name not in names}
    return replace(function, space=space, fixed={**function.fixed, **rest}), space.flatten(named)


def _one_of_each_class(function: ModelFunction, room: int) -> set[str]:
    """The names of the tensors of the smallest module of each class, as far as so many numbers hold them."""
    sizes = {block.name: block.size for block in function.space.blocks}
    smallest: dict[type[nn.Module], tuple[int, list[str]]] = {}
    for path, module in function.module.named_modules():
        own = [f"{path}.{key}" if path else key for key in module._parameters]
        own = [name for name in own if name in sizes]
        size = sum(sizes[name] for name in own)
        if own and size < smallest.get(type(module), (size + 1, own))[0]:
            smallest[type(module)] = size, own
    names = set[str]()
    for size, own in sorted(smallest.values(), key=lambda pair: pair[0]):
        if size <= room:
            names |= set(own)
            room -= size
    return names


def in_float64(function: ModelFunction, theta: Tensor, loss: Loss, batch: Batch) -> tuple[ModelFunction, Tensor]:
    """The function, and theta, in float64; weights of a large model are cast where they are used.

    What is long then is the difference from weights that are stored: zeros, of which one lies in memory. Blocks cast
    their weights by themselves if the loss of the batch and its gradient are then what they are without.
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
    whole = replace(function, fixed=fixed, stored=stored, casts_by_block=False)
    by_block = replace(whole, blocks=_blocks_at_a_time(function), casts_by_block=True)
    best = by_block if agree(by_block, whole, theta, loss, batch) else whole
    return best.to(torch.float64), in_dtype(theta, torch.float64)


def agree(one: ModelFunction, other: ModelFunction, theta: Tensor, loss: Loss, batch: Batch) -> bool:
    """Whether two ways of computing one function give the same loss of a batch, and the same gradient.

    Of a large model in some of its tensors. False where the first fails.
    """
    if not one.recomputes:
        return one.blocks == other.blocks
    (value, gradient), (expected, right) = (_loss_and_gradient(way, theta, loss, batch) for way in (one, other))
    if value is None or gradient is None:
        return False
    if expected is None or right is None:  # the model fails by itself, and its user will hear of it
        return True
    same = abs(value - expected) <= SAME_LOSS * abs(expected)
    return same and distance(gradient, right) <= SAME_GRADIENT * norm(right)


def _loss_and_gradient(
    function: ModelFunction, theta: Tensor, loss: Loss, batch: Batch
) -> tuple[float, Tensor] | tuple[None, None]:
    """The summed loss of a batch and its gradient, of a large model in some of its tensors; None where it fails."""
    function, theta = restrict(function, theta)
    try:
        value, gradient = BatchLoss(function, loss).batch_gradient(theta, batch.map(Tensor.clone))
    except Exception:  # the user's code may raise anything
        return None, None
    return float(value), gradient


def float64_bytes(function: ModelFunction) -> int:
    """The bytes of the weights that are in float64 at once: those outside of blocks, and the largest block's."""
    every = function.space.size + sum(t.numel() for t in function.fixed.values() if t.is_floating_point())
    blocks = [sum(part.numel() for part in block.parameters()) for block in _blocks_at_a_time(function)]
    return (every - sum(blocks) + max(blocks, default=0)) * torch.float64.itemsize


def _blocks_at_a_time(function: ModelFunction) -> tuple[nn.Module, ...]:
    """The blocks that can run again, whose weights are then cast one block at a time."""
    return function.blocks or (find_repeated_blocks(function.module) if function.may_run_again else ())


def _zeros(like: Tensor) -> Tensor:
    return like.new_zeros(()).expand(like.shape)
