"""J'v of single samples, by vmap and one by one, against Jacobians."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from landscape import Objective
from landscape.data.batches import Batch
from landscape.evaluation.per_sample import vector_gradients as module
from landscape.evaluation.per_sample.vector_gradients import vector_gradients


class Branching(nn.Module):
    """A net whose control flow depends on its data, which vmap does not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.inner(x))
        logits: Tensor = self.head(hidden * 2 if float(x[0, 0]) > 100 else hidden)
        return logits


@pytest.mark.parametrize("build", [tanh_net, Branching], ids=["vmap", "one-by-one"])
@pytest.mark.parametrize("bytes_of_chunk", [1, 1 << 26], ids=["pieces", "whole"])
def test_gradients_are_products_with_the_jacobian(
    build: Any, bytes_of_chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", bytes_of_chunk * 300)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    objective = Objective(build(), (x, torch.arange(7) % 3), "cross_entropy", dtype="float64")
    vectors = torch.randn(2, 7, 3, generator=generator, dtype=torch.float64)
    names = [name for name in objective.space.names if not name.endswith("bias")]
    pieces = list(vector_gradients(objective, Batch(x, torch.arange(7) % 3, 0), [vectors], frozenset(names)))
    assert len(pieces) == (1 if bytes_of_chunk > 1 else 7)
    assert [place.start for place, _ in pieces][:2] == ([0] if bytes_of_chunk > 1 else [0, 1])
    weights = objective.space.unflatten(objective.theta)
    model = objective.model
    for name in names:
        found = torch.cat([piece[name] for _, piece in pieces], dim=1)
        for index, one in enumerate(x):
            jacobian = jacrev(lambda named, one=one: functional_call(model, named, (one[None],))[0])(weights)[name]
            expected = torch.tensordot(vectors[:, index], jacobian, dims=1)
            torch.testing.assert_close(found[:, index], expected, rtol=1e-10, atol=1e-12)
