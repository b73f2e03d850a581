"""The memory budget: which share of the free memory each use of it may plan for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import torch

from landscape.compute import memory

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


def room(use: Use, device: torch.device) -> int:
    """The bytes that a use of memory may take on a device, by what is free there now."""
    return int(memory.free_bytes(device) * SHARES[use])
