"""Hamiltonian Monte Carlo against exact quadrature, and the size of its leaps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from landscape.algorithms.sampling.chains import Chains, Evaluation, Potential, begin_chains
from landscape.algorithms.sampling.convergence import r_hat, standard_error
from landscape.algorithms.sampling.hamiltonian import MOST_LEAPS, adapt, leap_count, metropolis_step

GAMMA = 0.5


def potential_of(phi: Callable[[Tensor], Tensor]) -> Potential:
    """The values and gradients of a function of columns `(p, K) -> (K,)`."""

    def evaluate(positions: Tensor, step: int) -> Evaluation:
        del step
        points = positions.detach().requires_grad_()
        values = phi(points)
        (gradient,) = torch.autograd.grad(values.sum(), points)
        return Evaluation(values.detach().numpy(), gradient)

    return evaluate


def quartic(x: Tensor) -> Tensor:
    return x[0] ** 4


def two_wells(x: Tensor) -> Tensor:
    return (x[0] ** 2 - 1) ** 2


def ridge(x: Tensor) -> Tensor:
    return (x[0] * x[1]) ** 2 + 0.3 * x[0]


def sampled(phi: Callable[[Tensor], Tensor], size: int, log_step: float, steps: int) -> np.ndarray:
    """Phi along four chains `(4, steps)`."""
    evaluate = potential_of(phi)
    chains = begin_chains(
        evaluate, torch.randn(size, 4, dtype=torch.float64, generator=torch.manual_seed(0)), GAMMA, log_step
    )
    values = []
    for _ in range(steps):
        chains, _ = metropolis_step(evaluate, chains, 0, "test")
        values.append(chains.value)
    return np.stack(values, axis=1)[:, 20:]


@pytest.mark.parametrize(("phi", "size"), [(quartic, 1), (two_wells, 1), (ridge, 2)], ids=["quartic", "wells", "ridge"])
@pytest.mark.parametrize("log_step", [-1.6, -1.0], ids=["short", "long"])
def test_the_mean_is_that_of_quadrature_at_every_step_size(
    phi: Callable[[Tensor], Tensor], size: int, log_step: float
) -> None:
    axis = torch.linspace(-9, 9, 1801, dtype=torch.float64)
    grid = torch.meshgrid([axis] * size, indexing="ij")
    points = torch.stack([part.flatten() for part in grid])
    weights = torch.softmax(-phi(points) - GAMMA / 2 * (points**2).sum(dim=0), dim=0)
    exact = float((weights * phi(points)).sum())
    values = sampled(phi, size, log_step, 350)
    assert r_hat(values) < 1.05
    assert abs(values.mean() - exact) < 4 * standard_error(values)
    assert standard_error(values) < 0.2 * exact


def gaussian_chains(size: int, log_step: float) -> tuple[Potential, Chains]:
    evaluate = potential_of(lambda x: 0 * x.sum(dim=0))
    return evaluate, begin_chains(evaluate, torch.zeros(size, 4, dtype=torch.float64), GAMMA, log_step)


def test_directions_that_the_gaussian_alone_decides_are_always_accepted_and_drawn_anew() -> None:
    evaluate, chains = gaussian_chains(10_000, math.log(math.pi / 2 / GAMMA**0.5))
    positions = []
    for _ in range(3):
        chains, moves = metropolis_step(evaluate, chains, 0, "test")
        assert np.allclose(moves.acceptance, 1)
        positions.append(chains.positions)
    variance = torch.stack(positions).var(dim=(0, 1), correction=0).numpy()
    assert variance == pytest.approx(1 / GAMMA, rel=0.05)
    assert float((positions[1] * positions[2]).mean()) * GAMMA < 0.35  # the jitter of the quarter turn leaves so much


def test_the_mean_of_the_work_is_the_dimension() -> None:
    evaluate = potential_of(lambda x: 4 * (x**4).sum(dim=0))
    chains, works = begin_chains(evaluate, torch.zeros(3, 4, dtype=torch.float64), GAMMA, -1.2), []
    for _ in range(300):
        chains, _ = metropolis_step(evaluate, chains, 0, "test")
        works.append(chains.work)
    values = np.stack(works, axis=1)
    assert abs(values.mean() - 3) < 4 * standard_error(values)


def test_a_loss_that_is_not_finite_is_never_accepted() -> None:
    evaluate = potential_of(lambda x: torch.where(x[0] > 0, torch.nan, x[0] ** 2))
    chains = begin_chains(evaluate, torch.full((1, 4), -1.0, dtype=torch.float64), GAMMA, -0.5)
    broken = 0
    for _ in range(100):
        chains, moves = metropolis_step(evaluate, chains, 0, "test")
        assert (moves.acceptance[~moves.finite] == 0).all()
        broken += int((~moves.finite).sum())
    assert broken > 10
    assert np.isfinite(chains.value).all()
    assert (chains.positions < 0).all()


@pytest.mark.parametrize("guess", [-6.0, 3.0], ids=["too-short", "too-long"])
def test_the_adaptation_finds_the_wanted_acceptance_from_far_away(guess: float) -> None:
    evaluate = potential_of(lambda x: 50 * (x**2).sum(dim=0))
    chains = begin_chains(evaluate, torch.zeros(20, 4, dtype=torch.float64), GAMMA, guess)
    for _ in range(80):
        chains, moves = metropolis_step(evaluate, chains, 0, "test")
        chains = adapt(chains, float(moves.acceptance.mean()), 80)
    acceptance = []
    for _ in range(100):
        chains, moves = metropolis_step(evaluate, chains, 0, "test")
        acceptance.append(moves.acceptance.mean())
    assert 0.6 < np.mean(acceptance) < 0.95


def test_a_step_takes_a_quarter_of_the_period_and_no_more_than_the_most_leaps() -> None:
    _, chains = gaussian_chains(1, 0.0)
    assert leap_count(chains) == 3  # pi / 2 / sqrt(1 / 2) = 2.2
    assert leap_count(replace(chains, log_step=-9.0)) == MOST_LEAPS
    assert leap_count(replace(chains, log_step=5.0)) == 1
    assert math.exp(adapt(replace(chains, log_step=5.0), 1.0, 9).log_step) == pytest.approx(math.pi / 2 / GAMMA**0.5)
