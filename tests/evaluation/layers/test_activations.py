"""The energy of layers' inputs along directions, against sums over samples."""

from __future__ import annotations

import torch
from conftest import tanh_net
from token_models import Data, Tokens, labeled_tokens, layers

from landscape import Objective
from landscape.evaluation.layers.activations import activation_energies


def test_the_energy_in_parts_of_a_basis_is_that_of_the_projected_inputs(classification: Data) -> None:
    x, y = classification
    objective = Objective(tanh_net(), [(x[:10], y[:10]), (x[10:], y[10:])], "cross_entropy", dtype="float64")
    hidden = torch.tanh(objective.model[0].double()(x.double())).detach()  # type: ignore[index]
    bases = [torch.linalg.qr(torch.randn(n, n, dtype=torch.float64))[0] for n in (5, 4)]
    found = layers(objective)
    energies = activation_energies(objective, found, lambda layer: bases[found.index(layer)], 2)
    for energy, inputs, basis, half in zip(energies, (x.double(), hidden), bases, (2, 2), strict=True):
        along = (inputs @ basis).square().sum(dim=0)
        assert torch.allclose(energy, torch.stack([along[:half].sum(), along[half:].sum()]), rtol=1e-12)


def test_tokens_without_a_label_have_no_energy(generator: torch.Generator) -> None:
    x, y = labeled_tokens(generator)
    objective = Objective(Tokens(), (x, y), "cross_entropy", dtype="float64")
    chosen = [one for one in layers(objective) if one.name == "k"]  # called once on every token
    energies = activation_energies(objective, chosen, lambda layer: torch.eye(4), 1)
    assert torch.allclose(energies, x[y >= 0].double().square().sum().reshape(1, 1))
