"""Eigenvalues of diagonal blocks against dense blocks and closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES, tanh_net
from oracles.dense import dense_hessian
from torch import Tensor, nn

import landscape
from landscape import Eig, Objective

Data = tuple[Tensor, Tensor]


def test_layers_of_other_ends_and_operators(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    dense = dense_hessian(tanh_net(), [classification]).numpy()
    smallest = landscape.run(Eig(k=2, which="smallest", blocks=("0.weight", "2.*")), objective)
    exact = {"0.weight": np.linalg.eigvalsh(dense[:20, :20])[:2], "2.*": np.linalg.eigvalsh(dense[24:, 24:])[:2]}
    for place, name in enumerate(smallest.layer):
        assert np.allclose(smallest.layer_eigenvalues[place], exact[name], atol=1e-6)
    ggn = landscape.run(Eig(k=2, operator="ggn", per_layer=True), objective)
    assert (ggn.layer_eigenvalues > 0).all()


def test_a_layer_smaller_than_k_has_all_its_values(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    result = landscape.run(Eig(k=5, blocks=("2.bias",), tol=1e-8), objective)
    dense = dense_hessian(tanh_net(), [classification]).numpy()
    assert np.allclose(result.layer_eigenvalues[0, :3], np.linalg.eigvalsh(dense[36:, 36:])[::-1], atol=1e-12)
    assert np.isnan(result.layer_eigenvalues[0, 3:]).all()
    assert result.layer_converged.all()


def test_layers_that_did_not_converge_are_inconclusive(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    whole = landscape.run(Eig(k=1, confirm=0), objective)
    result = landscape.run(Eig(k=1, confirm=0, blocks=("*",), tol=1e-3, max_products=whole.products), objective)
    assert not result.trouble()
    cut = landscape.run(Eig(k=1, confirm=0, tol=0.5, per_layer=True, max_products=1), objective)
    if cut.converged.all():
        assert "blocks converged" in str(cut.trouble()) or cut.layer_converged.all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blocks_have_every_copy_of_a_repeated_eigenvalue(dtype: str) -> None:
    """Under mse the last layer's block is the identity on the outputs times X'X: ten copies of every eigenvalue."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 10))
    x, y = torch.randn(64, 20), torch.randn(64, 10)
    hidden = torch.cat([torch.tanh(model[0](x)), torch.ones(64, 1)], dim=1).detach().double()
    top = float(torch.linalg.eigvalsh(2 * hidden.T @ hidden / 640)[-1])
    objective = Objective(model, [(x, y)], "mse", dtype=dtype)
    for options in ({"blocks": ("2.*",)}, {"per_layer": True}):
        result = landscape.run(Eig(k=12, **options), objective)
        place = list(result.layer).index(options.get("blocks", ("2",))[0])
        found = result.layer_eigenvalues[place]
        assert np.allclose(found[:10], top, rtol=1e-5)
        assert (found[10:] < 0.95 * top).all()
        assert result.layer_converged.all()


def test_a_block_of_zeros_has_as_many_zeros_as_wanted() -> None:
    objective = Objective(nn.Linear(4, 1, bias=False), [(torch.zeros(6, 4), torch.ones(6, 1))], "mse")
    result = landscape.run(Eig(k=3, blocks=("weight",)), objective)
    assert result.layer_eigenvalues.tolist() == [[0.0, 0.0, 0.0]]
    assert result.layer_converged.all()


def test_layers_are_finished_where_too_few_products_left_them(tmp_path: Path) -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt")
    short, long = (Eig(k=2, per_layer=True, confirm=0, max_products=limit) for limit in (11, 100))
    output = tmp_path / "a.landscape.h5"
    first = landscape.run(short, objective, output=output)
    assert first.converged.all()
    assert "blocks converged" in str(first.trouble())
    again = landscape.run(long, objective, output=output)
    assert again.layer_converged.all()
    assert np.array_equal(again.layer_eigenvalues, landscape.run(long, objective).layer_eigenvalues)
