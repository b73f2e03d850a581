"""The control variate: its mean, and what it takes off."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.dense import symmetric

from landscape.algorithms.estimators.control import ControlVariate, control_variate, krylov_space
from landscape.operators import LinearOperator


def spanned(operator: LinearOperator, products: int, seed: int) -> ControlVariate:
    *_, state = krylov_space(operator, products, seed)
    return control_variate(state)


SPECTRUM = [50.0, 20.0, -15.0, 8.0, *np.linspace(-1, 1, 60)]


def test_the_whole_space_holds_the_whole_form() -> None:
    operator = symmetric([3.0, -2.0, 1.0, 0.5, 0.0])
    whole = spanned(operator, 16, seed=0)
    assert whole.trace == pytest.approx(2.5)
    noise = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert whole.deviation(noise) == pytest.approx(float(noise @ (operator @ noise)) - 2.5)


def test_a_few_products_leave_little_of_the_variance_and_no_bias() -> None:
    operator = symmetric(SPECTRUM)
    part = spanned(operator, 12, seed=0)
    assert len(part.rows) == 12
    assert torch.allclose(part.rows @ part.rows.T, torch.eye(12, dtype=torch.float64), atol=1e-10)
    noise = torch.randn(4000, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    forms = np.array([float(z @ (operator @ z)) for z in noise])
    deviations = np.array([part.deviation(z) for z in noise])
    assert abs(deviations.mean()) < 4 * deviations.std() / 4000**0.5
    assert (forms - deviations).var() < 0.05 * forms.var()


def test_a_matrix_of_low_rank_is_held_early() -> None:
    operator = symmetric([5.0, 2.0, *[0.0] * 40])
    assert spanned(operator, 16, seed=3).trace == pytest.approx(7)
