"""All batches of a data set as one: larger pieces launch fewer operations.

A pass over 1,300 digits in pieces of 256 takes a small net two to three times as long as one over all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from landscape.batches import Batch, Batches, batch_leaves, visited
from landscape.errors import LandscapeError

TRIED = 8  # samples on which it is tried whether they depend on each other
APART = 1e-4  # relative to the sum: above float32 rounding, far below what statistics of a batch do


def joined(batches: Batches, room: int) -> Batches:
    """The same batches as views of one, `whole`; as they are if that takes more than `room` bytes or cannot be.

    They are joined if they are in memory, of one shape, and hold nothing but tensors.
    """
    if not batches.kept or batches.whole is not None:
        return batches
    parts = list(batches)
    if len(parts) == 1:
        return replace(batches, whole=parts[0])
    kinds = [[(tensor.shape[1:], tensor.dtype) for tensor in batch_leaves(part)] for part in parts]
    size = sum(tensor.nbytes for part in parts for tensor in batch_leaves(part))
    tensors = all(_of_tensors((part.inputs, part.targets)) for part in parts)
    if not tensors or any(kind != kinds[0] for kind in kinds) or size > room:
        return batches
    visits = [iter(visited(part)) for part in parts]
    whole = parts[0].map(lambda _: torch.cat([next(visit) for visit in visits]))
    ends = accumulate(part.size for part in parts)
    return replace(batches, source=list(whole.cut(ends)), whole=whole)


def independent(total: Callable[[Batch], Tensor], batches: Batches) -> bool:
    """Whether the summed loss of samples is the same in any company; False if their batches cannot be joined."""
    if batches.whole is None:
        return False
    few = next(batches.whole.split(TRIED))
    if batches.whole.size == batches.largest:
        return True  # the data came as one batch
    try:
        with torch.no_grad():
            parts = [float(total(part)) for part in few.split(max(1, 5 * few.size // 8))]
            together = float(total(few))
    except LandscapeError:  # a program for one size of batch
        return False
    return abs(together - sum(parts)) <= APART * sum(map(abs, parts))


def _of_tensors(tree: Any) -> bool:
    """Whether a tree of tuples, lists and dictionaries holds nothing but tensors."""
    if isinstance(tree, dict):
        return all(_of_tensors(part) for part in tree.values())
    if isinstance(tree, tuple | list):
        return all(_of_tensors(part) for part in tree)
    return isinstance(tree, Tensor)
