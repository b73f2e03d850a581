"""Samples chosen by their places, from one batch, ragged batches, and data that are not kept."""

from __future__ import annotations

import pytest
import torch
from conftest import Splitter, tanh_net
from torch import Tensor

from landscape import Objective
from landscape.errors import TaskError
from landscape.evaluation.chosen_samples import on_chosen_samples


def test_the_samples_at_places_make_the_objective(classification: tuple[Tensor, Tensor], split: Splitter) -> None:
    x, y = classification
    found = on_chosen_samples(Objective(tanh_net(), split(x, y), "cross_entropy"), [0, 9, 10, 23])
    assert found.batches.samples == 4
    inputs = torch.cat([batch.inputs for batch in found.batches])
    assert torch.equal(inputs, x[[0, 9, 10, 23]])
    chosen = [0, 9, 10, 23]
    expected = torch.nn.functional.cross_entropy(tanh_net()(x[chosen]), y[chosen]).detach()
    assert float(found.value()) == pytest.approx(expected.item(), rel=1e-6)


def test_batches_that_are_units_are_not_taken_apart() -> None:
    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)

        def forward(self, x: Tensor, edges: Tensor) -> Tensor:
            out: Tensor = self.layer(x.index_add(0, edges[1], x[edges[0]]))
            return out

    generator = torch.Generator().manual_seed(0)
    graphs = [
        ((torch.randn(n, 3, generator=generator), torch.tensor([[0, 1], [1, 2]])), torch.arange(n) % 2) for n in (4, 5)
    ]
    objective = Objective(Graph(), graphs, "cross_entropy")
    assert next(iter(objective.batches)).unit
    with pytest.raises(TaskError, match=r"cannot be|where batches end"):
        on_chosen_samples(objective, [0])
