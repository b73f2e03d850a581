"""One function at many arguments in one pass, and None where it cannot be vectorized."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from landscape.compute.vmapping import try_vmap


def test_every_row_gets_its_own_value() -> None:
    x, y = torch.arange(6.0).view(3, 2), torch.tensor([1.0, 2.0, 3.0])
    together = try_vmap(lambda row, scale: scale * row.sum(), x, y)
    assert together is not None
    assert torch.equal(together, y * x.sum(dim=1))


def test_a_function_that_branches_on_its_data_cannot_be_vectorized() -> None:
    def branching(row: Tensor) -> Tensor:
        return row if float(row.sum()) > 0 else -row

    assert try_vmap(branching, torch.ones(3, 2)) is None


def test_memory_that_runs_out_is_not_hidden() -> None:
    def full(row: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        try_vmap(full, torch.ones(3, 2))
