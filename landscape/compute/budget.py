"""The memory budget: which share of the free memory each use of it may plan for.

Where vectors of parameters take most of the memory, the uses are no shares but a sum: `vector_room` is what is left
for vectors that an analysis gathers, once a product has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from landscape.compute import memory
from landscape.compute.shards import whole_length

Use = Literal["data", "micro-batch", "columns", "kept graphs", "state"]

# Their sum is less than 1: uses that plan at the same moment fit together, and torch's workspaces fit beside them.
SHARES: Mapping[Use, float] = MappingProxyType(
    {
        "data": 1 / 5,  # batches that stay on the device
        "micro-batch": 1 / 5,  # activations and graphs of the samples that go through the model together
        "columns": 1 / 8,  # the columns that one vmapped product takes beyond the first
        "kept graphs": 1 / 5,  # gradient graphs that serve several products
        "state": 1 / 4,  # what an analysis gathers: a Lanczos basis, a sketch, the factors of layers
    }
)

LARGE_SIZE = 1 << 23  # parameters from which on vectors, not products, take the memory
# of P numbers at the peak of a product, beside theta: its argument, also as a row, its result by tensor, and as one
PRODUCT_VECTORS = 4
GRADIENT_VECTORS = 4  # of P numbers at the peak of a gradient: theta, the gradient, its sum, and what a check takes
COLUMN_VECTORS = 3  # of P numbers for each further column of a block: argument, result, and its pieces
SPARE = 1 / 10  # of the free memory that no plan takes


def is_large(size: int) -> bool:
    """Whether so many parameters are a large model: one whose vectors, not its products, take the memory."""
    return size > LARGE_SIZE


def vector_room(device: torch.device, vector_bytes: int, graph_bytes: int) -> int:
    """The bytes for vectors that an analysis gathers, beside a product with graphs of so many bytes."""
    free = memory.free_bytes(device)
    rest = int(free * (1 - SPARE)) - PRODUCT_VECTORS * vector_bytes - graph_bytes
    return max(0, rest)


def columns_per_pass(most: int, theta: Tensor, graph_bytes: int) -> int:
    """How many of at most so many vectors are multiplied, or evaluated, together: one at a time for large models."""
    if is_large(whole_length(len(theta))):
        return 1
    fitting = vector_room(theta.device, theta.nbytes, graph_bytes) // (COLUMN_VECTORS * theta.nbytes)
    return max(1, min(most, fitting))


def room(use: Use, device: torch.device) -> int:
    """The bytes that a use of memory may take on a device, by what is free there now."""
    return int(memory.free_bytes(device) * SHARES[use])
