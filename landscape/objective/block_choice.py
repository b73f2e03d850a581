"""Whether the blocks of a model keep their inputs alone: by the user's word, or by what one sample's graphs need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from landscape.compute.budget import room
from landscape.compute.out_of_memory import is_out_of_memory
from landscape.compute.strategy import ProductSettings
from landscape.data.batches import Batch
from landscape.errors import UsageError
from landscape.losses.protocol import Loss
from landscape.network.blocks import find_repeated_blocks
from landscape.objective.batch_loss import BatchLoss
from landscape.objective.micro_batch import GRAPHS_PER_FORWARD, Activations, measure_activations
from landscape.objective.model_function import ModelFunction


def choose_blocks(
    settings: ProductSettings, function: ModelFunction, loss: Loss, theta: Tensor, first: Batch
) -> tuple[ModelFunction, Activations]:
    """The function, whose blocks run again if that is asked for or needed, and what is kept of each sample.

    Raises UsageError if it is asked for and impossible.
    """

    def size(function: ModelFunction) -> Activations:
        """What a forward pass keeps of each sample."""
        return measure_activations(BatchLoss(function, loss).batch_total, theta, first.map(Tensor.clone))

    asked = with_blocks(settings, function)
    if asked.blocks and (each := _size_or_none(size, asked)) is not None:
        return asked, each
    try:
        each = size(function)
    except Exception as error:  # also of the user's code
        smaller = with_blocks_where_tight(settings, function, None, theta.device)
        if not is_out_of_memory(error) or not smaller.blocks:
            raise
        return smaller, size(smaller)
    smaller = with_blocks_where_tight(settings, function, each.size, theta.device)
    fewer = _size_or_none(size, smaller) if smaller.blocks else None
    return (function, each) if fewer is None else (smaller, fewer)


def _size_or_none(size: Callable[[ModelFunction], Activations], function: ModelFunction) -> Activations | None:
    """What the function keeps of each sample; None where its blocks cannot run again by themselves.

    A block may write into its inputs, or into what others read. Raises what runs out of memory.
    """
    try:
        return size(function)
    except Exception as error:  # also of the user's code
        if is_out_of_memory(error):
            raise
        return None


def with_blocks(settings: ProductSettings, function: ModelFunction) -> ModelFunction:
    """The function, with blocks that run again if the user asks for it; raises UsageError if that is impossible."""
    if settings.recompute == "auto" and settings.keeps_narrow_weights:  # cast block by block, else held in all bits
        return with_blocks_where_tight(settings, function, None, torch.device("cpu"))
    if settings.recompute != "on":
        return function
    if settings.hvp == "linearize":
        raise UsageError("--hvp linearize excludes --recompute on", fix="leave out one of them")
    if not (blocks := find_repeated_blocks(function.module)):
        raise UsageError("--recompute on finds no blocks: the model repeats no module", fix="leave out --recompute")
    if not function.may_run_again:
        raise UsageError(
            "--recompute on is impossible: the model would not give the same a second time",
            why="it draws random numbers, changes its buffers, is in train mode, or runs parts of itself again",
            fix="--recompute off, and a smaller --micro-batch",
        )
    return replace(function, blocks=blocks)


def with_blocks_where_tight(
    settings: ProductSettings, function: ModelFunction, each: int | None, device: torch.device
) -> ModelFunction:
    """The function, with blocks that run again if the user leaves it to landscape and one sample is too large.

    `each` is the number of bytes that a forward pass keeps of it, None if memory ran out.
    """
    if settings.recompute != "auto" or settings.hvp == "linearize" or not function.may_run_again:
        return function
    if each is not None and each * GRAPHS_PER_FORWARD <= room("micro-batch", device):
        return function
    blocks: tuple[nn.Module, ...] = find_repeated_blocks(function.module)
    return replace(function, blocks=blocks)


def recomputation_note(function: ModelFunction, settings: ProductSettings) -> str:
    """A note that blocks run again in backward passes, or that they cannot; or ""."""
    if not function.blocks:
        return "recompute: off, since a block does not run by itself" if settings.recompute == "on" else ""
    if not function.recomputes:
        return "recompute: off, since the model would not give the same a second time"
    kinds = " and ".join(dict.fromkeys(type(block).__name__ for block in function.blocks))
    count = len(function.blocks)
    return f"recompute: {count} blocks ({kinds}) keep their inputs alone and run again in each backward pass"
