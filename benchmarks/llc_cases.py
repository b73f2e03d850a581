"""Models whose learning coefficients are known, and exact values of localized posteriors where they are integrals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape import Objective
from landscape.algorithms.sampling.chains import Evaluation
from landscape.analyses.llc.posterior import LocalPosterior

Rise = Callable[[Tensor], tuple[Tensor, Tensor]]
NODES = 4000  # of a quadrature along one axis, by the rule of trapezoids: both ends vanish
REACH = 9.0  # half-width of its range in standard deviations of the localizing Gaussian


@dataclass(frozen=True)
class Case:
    """An objective at a true parameter, its learning coefficient, and what n beta and gamma make of it.

    `exact` is n beta (E[L] - L) of the localized posterior; NaN where only the limit is known. `rise` is L - L(theta)
    `(K,)` with its gradient `(p, K)` at displacements `(p, K)`, in closed form: ten times as fast as the model.
    """

    objective: Objective
    limit: float
    exact: float
    nbeta: float
    gamma: float
    rise: Rise


class ClosedForm(LocalPosterior):
    """The posterior of a case by its closed form, in the place of passes of the model over the data."""

    def __init__(self, case: Case, *parts: Any) -> None:
        super().__init__(*parts)
        self.rise, self.samples_with_losses = case.rise, 0  # type: ignore[misc]

    def __call__(self, moves: Tensor, step: int) -> Evaluation:
        """Phi and its gradient; `step` is not used."""
        rises, gradients = self.rise(moves)
        return self._temper_loss(rises, gradients)

    def excess(self, moves: Tensor) -> Tensor:
        """n beta (L - L(theta))."""
        return self.rise(moves)[0] * self.temper.nbeta


class Powers(nn.Module):
    """Outputs w_i^k_i for every sample, so that the squared loss is the sum of w_i^(2 k_i)."""

    def __init__(self, powers: tuple[int, ...]) -> None:
        super().__init__()
        self.powers = powers
        self.w = nn.Parameter(torch.zeros(len(powers)))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.stack([w**k for w, k in zip(self.w, self.powers, strict=True)])


class LowRank(nn.Module):
    """The linear map B A through a layer of H units, at a product of rank r that is most singular."""

    def __init__(self, inputs: int, outputs: int, hidden: int, rank: int) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.eye(hidden, inputs)), nn.Parameter(torch.eye(outputs, hidden))
        with torch.no_grad():
            self.a[rank:], self.b[:, rank:] = 0, 0

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = x @ self.a.T @ self.b.T
        return output


def linear_regression(size: int, nbeta: float, gamma: float) -> Case:
    """Regression on `size` features, at its minimum: an eigenvalue h adds half of nbeta h / (nbeta h + gamma)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, size, generator=generator, dtype=torch.float64)
    y = x @ torch.ones(size, 1, dtype=torch.float64) + torch.randn(200, 1, generator=generator, dtype=torch.float64)
    model = nn.Linear(size, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.linalg.lstsq(x, y).solution.T)
    curvature = nbeta * torch.linalg.eigvalsh(2 * x.T @ x / len(x)).numpy()
    exact = float((curvature / (curvature + gamma)).sum() / 2)
    matrix = 2 * x.T @ x / len(x)

    def rise(moves: Tensor) -> tuple[Tensor, Tensor]:
        slopes = matrix @ moves
        return (moves * slopes).sum(dim=0) / 2, slopes

    return Case(Objective(model, (x, y), "mse", dtype="float64"), size / 2, exact, nbeta, gamma, rise)


def powers(exponents: tuple[int, ...], nbeta: float, gamma: float) -> Case:
    """The sum of w_i^(2 k_i), divided by their number as the loss does: 1 / (2 k_i) each."""
    count = len(exponents)
    data = (torch.ones(50, 1), torch.zeros(50, count))
    objective = Objective(Powers(exponents), data, "mse", dtype="float64")
    exact = sum(one_dimensional(lambda w, k=k: nbeta / count * w ** (2 * k), gamma) for k in exponents)  # type: ignore[misc]
    orders = torch.tensor(exponents, dtype=torch.float64)[:, None]

    def rise(moves: Tensor) -> tuple[Tensor, Tensor]:
        odd = moves ** (2 * orders - 1)
        return (odd * moves).sum(dim=0) / count, 2 * orders * odd / count

    return Case(objective, sum(1 / (2 * k) for k in exponents), exact, nbeta, gamma, rise)


def reduced_rank(inputs: int, outputs: int, hidden: int, rank: int, nbeta: float, gamma: float) -> Case:
    """Reduced-rank regression with white inputs and no noise; exact for rank 0 and one or two hidden units."""
    x = torch.eye(inputs, dtype=torch.float64) * inputs**0.5  # second moments 1
    model = LowRank(inputs, outputs, hidden, rank)
    y = model.double()(x).detach()
    exact = low_rank_posterior(inputs, outputs, hidden, nbeta / outputs, gamma) if rank == 0 else math.nan
    objective = Objective(model, (x, y), "mse", dtype="float64")
    start = objective.theta[:, None]

    def rise(moves: Tensor) -> tuple[Tensor, Tensor]:
        theta = start + moves
        a = theta[: hidden * inputs].T.reshape(-1, hidden, inputs)
        b = theta[hidden * inputs :].T.reshape(-1, outputs, hidden)
        product = b @ a
        product[:, range(rank), range(rank)] -= 1
        gradients = b.mT @ product, product @ a.mT
        rows = torch.cat([part.flatten(1) for part in gradients], dim=1) * (2 / outputs)
        return product.square().sum(dim=(1, 2)) / outputs, rows.T

    return Case(objective, aoyagi_watanabe(inputs, outputs, hidden, rank), exact, nbeta, gamma, rise)


def aoyagi_watanabe(inputs: int, outputs: int, hidden: int, rank: int) -> float:
    """The learning coefficient of reduced-rank regression (Aoyagi and Watanabe 2005, main theorem)."""
    m, n, h, r = inputs, outputs, hidden, rank
    if m + h < n + r:
        return (h * m - h * r + n * r) / 2
    if n + h < m + r:
        return (h * n - h * r + m * r) / 2
    if m + n < h + r:
        return m * n / 2
    odd = (m + h + n + r) % 2
    return (odd - (h + r) ** 2 - m**2 - n**2 + 2 * (h + r) * (m + n) + 2 * m * n) / 8


def one_dimensional(phi: Callable[[np.ndarray], np.ndarray], gamma: float) -> float:
    """The mean of phi(w) under exp(-phi(w) - gamma w^2 / 2), by quadrature in log w: phi is even."""
    w = np.exp(np.linspace(math.log(1e-8), math.log(REACH / gamma**0.5), NODES))
    density = w * np.exp(-phi(w) - gamma * w**2 / 2)
    return float((density * phi(w)).sum() / density.sum())


def low_rank_posterior(inputs: int, outputs: int, hidden: int, nbeta: float, gamma: float) -> float:
    """The mean of nbeta |B A|^2 under exp(-nbeta |B A|^2 - gamma (|A|^2 + |B|^2) / 2), for one or two hidden units.

    B is Gaussian given A, so that a quadrature over the eigenvalues l of A A' is left, whose density without data is
    Wishart's: prod l^((inputs - hidden - 1) / 2) exp(-gamma l / 2) times the distance of two eigenvalues.
    """
    value = np.exp(np.linspace(math.log(1e-16), math.log(REACH**2 / gamma), NODES // 2))
    # of each eigenvalue: its density in log l, what B's integral leaves, and E[phi] given A
    log_density = (inputs - hidden + 1) / 2 * np.log(value) - gamma * value / 2
    log_density -= outputs / 2 * np.log(gamma + 2 * nbeta * value)
    mean = outputs / 2 * 2 * nbeta * value / (2 * nbeta * value + gamma)
    each = np.exp(log_density - log_density.max())
    if hidden == 1:
        return float((each * mean).sum() / each.sum())
    density = each[:, None] * each[None, :] * np.abs(value[:, None] - value[None, :])
    return float((density * (mean[:, None] + mean[None, :])).sum() / density.sum())
