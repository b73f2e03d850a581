"""Decompositions of weights: what they are of, and how little of them is in memory."""

from __future__ import annotations

import pytest
import torch
from analysis_contract import drained
from live_bytes import peak_bytes
from memorized import fit_net
from torch import Tensor, nn

from landscape import Edit, Memorization, Objective
from landscape.analyses.memorization.decompositions import Decompositions, weight_matrices
from landscape.analyses.memorization.factors import measure_factors
from landscape.analyses.memorization.setup import curvature_setup
from landscape.evaluation.layers import tensor_store

Data = tuple[Tensor, Tensor]


def test_the_matrix_of_a_convolution_has_an_input_for_each_entry_of_a_patch() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, (2, 4)), nn.Flatten(), nn.Linear(3 * 3, 2))
    x, y = torch.randn(4, 2, 2, 6), torch.tensor([0, 1, 0, 1])
    objective = Objective(net, (x, y), "cross_entropy")
    matrix = weight_matrices(objective, curvature_setup(Memorization(), objective).layers)["0"]
    assert torch.equal(matrix, net[0].weight.detach().reshape(3, 2 * 2 * 4))


def test_components_sum_to_the_weight_and_bases_diagonalize_the_factors(classification: Data) -> None:
    objective = fit_net(classification, dtype="float64")
    setup = curvature_setup(Memorization(), objective)
    _, factors = drained(measure_factors(setup, {}))
    weights = weight_matrices(objective, setup.layers)
    for name, method in Decompositions(objective, setup.layers, factors).kfac().items():
        left, right, factor = method.left, method.right, factors.by_layer[name]
        assert torch.allclose(left.vectors @ method.coordinates @ right.vectors.T, weights[name], atol=1e-14)
        assert torch.allclose(
            left.vectors.T @ factor.g @ left.vectors, torch.from_numpy(left.values).diag(), atol=1e-14
        )
        assert torch.allclose(
            right.vectors.T @ factor.a @ right.vectors, torch.from_numpy(right.values).diag(), atol=1e-13
        )


def test_layers_with_the_same_inputs_share_one_eigenbasis() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Linear(5, 4), nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(self.a(x).tanh() * self.b(x))
            return out

    objective = Objective(Two(), (torch.randn(8, 5), torch.zeros(8, dtype=torch.long)), "cross_entropy")
    setup = curvature_setup(Memorization(), objective)
    _, factors = drained(measure_factors(setup, {}))
    decompositions = Decompositions(objective, setup.layers, factors)
    methods = decompositions.kfac()
    assert methods["a"].right.vectors is methods["b"].right.vectors
    assert {name for name in decompositions.store if "/A/" in name} == {"a/A/vectors", "a/A/values"}


WIDTH, DEPTH = 160, 24  # so that each layer's decomposition is small beside those of all layers
PATHS: dict[str, Memorization | Edit] = {
    "memorization": Memorization(bands=(0.5,), controls=1, resamples=10, labels="gold", per_layer=False),
    "edit": Edit(rho=(0.9, 0.5), labels="gold"),
    "edit-coupled": Edit(rho=(0.9,), labels="gold", method="coupled"),
    "edit-svd": Edit(rho=(0.9,), labels="gold", method="svd"),
    "edit-activation": Edit(rho=(0.9,), labels="gold", method="activation"),
}


def deep_net(depth: int = DEPTH) -> Objective:
    """Square layers without biases, and a head."""
    torch.manual_seed(0)
    layers = [module for _ in range(depth) for module in (nn.Linear(WIDTH, WIDTH, bias=False), nn.Tanh())]
    net = nn.Sequential(*layers, nn.Linear(WIDTH, 3))
    x, y = torch.randn(20, WIDTH), torch.arange(20) % 3
    return Objective(net, (x, y), "cross_entropy", micro_batch=10, populations={"clean": (x[:8], y[:8])})


@pytest.mark.parametrize("name", PATHS)
def test_one_layer_at_a_time_is_in_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peak of all live tensors, counted: no more than the plan, and far less than all decompositions at once."""
    monkeypatch.setattr(tensor_store, "HELD_BYTES", 0)
    objective = deep_net()
    objective.reference  # noqa: B018 (computed before, since it is no part of the analysis)
    analysis = PATHS[name]
    plan = analysis.plan(objective)
    everything = DEPTH * 8 * (2 * WIDTH**2 + WIDTH**2)  # both bases, and coordinates
    peak = peak_bytes(lambda: drained(analysis.measure(objective)))
    assert plan.bytes / 1.3 <= peak <= 1.1 * plan.bytes
    assert peak < everything / 3
