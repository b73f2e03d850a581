"""A model that takes no part of a batch is measured on whole batches."""

from __future__ import annotations

from typing import Any

import plain_objectives as plain
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective
from landscape.errors import TaskError
from landscape.objective.cutting import WHOLE_ONLY
from landscape.operators.hessian import HessianOperator


class DenseGraphNet(nn.Module):
    """Two layers over an adjacency matrix of N x N."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        logits: Tensor = self.second(adjacency @ torch.tanh(self.first(adjacency @ nodes)))
        return logits


def graphs(*sizes: int) -> list[tuple[tuple[Tensor, Tensor], Tensor]]:
    """Nodes with a dense adjacency matrix, and labels."""
    generator = torch.Generator().manual_seed(1)
    return [
        (
            (
                torch.randn(n, 4, generator=generator, dtype=torch.float64),
                (torch.rand(n, n, generator=generator, dtype=torch.float64) < 0.3).double(),
            ),
            torch.randint(0, 3, (n,), generator=generator),
        )
        for n in sizes
    ]


def by_node(model: nn.Module, batch: Any) -> Tensor:
    (nodes, adjacency), labels = batch
    return functional.cross_entropy(model(nodes, adjacency), labels, reduction="none")


@pytest.mark.parametrize("sizes", [(12, 9), (11, 11), (20,), (6, 10), (1, 10)], ids=str)
@pytest.mark.parametrize("given", [{"loss": "cross_entropy"}, {"objective": by_node}], ids=["loss", "objective"])
def test_graphs_with_dense_adjacency_matrices_are_units(sizes: tuple[int, ...], given: dict[str, Any]) -> None:
    data, model = graphs(*sizes), DenseGraphNet().double()
    objective = Objective(DenseGraphNet().double(), data, dtype="float64", **given)
    mean = torch.cat([by_node(model, batch) for batch in data]).mean()
    gradient, hessian = plain.spectrum(mean, list(model.parameters()))
    torch.testing.assert_close(objective.value(), mean.detach())
    torch.testing.assert_close(objective.gradient(), gradient)
    torch.testing.assert_close(HessianOperator(objective).to_dense(), hessian)
    assert landscape.run(landscape.Eig(k=1), objective).trouble() is None
    assert objective.as_given or any(WHOLE_ONLY in note for note in objective.notes)


def test_a_model_that_fails_on_whole_batches_too_says_why() -> None:
    def broken(model: nn.Module, batch: Any) -> Tensor:
        return by_node(model, ((batch[0][0], batch[0][1][:, 1:]), batch[1]))

    with pytest.raises(TaskError, match="cannot take the data: RuntimeError: mat1 and mat2"):
        Objective(DenseGraphNet(), graphs(12), objective=broken)


def test_a_model_that_takes_parts_is_cut() -> None:
    data = [(nodes, labels) for (nodes, _), labels in graphs(12, 9)]
    objective = Objective(nn.Linear(4, 3), data, "cross_entropy")
    assert objective.count == 21
    assert not objective.as_given
