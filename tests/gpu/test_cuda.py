"""On a CUDA device: the same numbers as on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import SAMPLES

import landscape
from landscape import Eig
from landscape.operators import HessianOperator, PyHessianOperator

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", ["digits-mlp", "digits-resnet", "charlm"])
def test_products_equal_the_cpu_s(name: str) -> None:
    products = []
    for device in ("cpu", "cuda"):
        objective = landscape.load(SAMPLES / f"{name}.pt", device=device, dtype="float64")
        vector = torch.linspace(-1, 1, objective.space.size, dtype=torch.float64, device=device)
        products.append((HessianOperator(objective) @ vector).cpu())
    assert torch.allclose(*products, rtol=1e-9, atol=1e-9 * float(products[0].abs().max()))


def test_eigenvalues_equal_the_cpu_s() -> None:
    values = [
        landscape.run(Eig(k=5), landscape.load(SAMPLES / "digits-mlp.pt", device=device)).eigenvalues
        for device in ("cpu", "cuda")
    ]
    assert np.allclose(*values, rtol=1e-5)


def test_pyhessian_works_there_too() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt", device="cuda", dtype="float64")
    assert torch.allclose(
        PyHessianOperator(objective) @ objective.theta, HessianOperator(objective) @ objective.theta, atol=1e-10
    )
