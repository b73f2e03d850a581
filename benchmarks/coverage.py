"""How often stated errors cover the truth: traces on designed spectra, densities and boxes of small nets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import harness
import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Density, Objective, Sharpness
from landscape.algorithms.estimators.trace.estimates import preferred_estimate
from landscape.algorithms.estimators.trace.run import estimate_trace
from landscape.algorithms.estimators.trace.state import TraceGoal, TraceMethod
from landscape.analyses.density import PROBES
from landscape.operators import HessianOperator
from landscape.operators.base import LinearOperator

SIZE = 150  # of the designed spectra
SPECTRA = {
    "outliers": np.concatenate([[30.0, 20.0, 10.0], np.linspace(0.01, 0.5, SIZE - 3)]),
    "1 / i": 1 / np.arange(1, SIZE + 1.0),
    "1 / i^2": 1 / np.arange(1, SIZE + 1.0) ** 2,
    "1 / sqrt i": 1 / np.arange(1, SIZE + 1.0) ** 0.5,
    "0.9^i": 0.9 ** np.arange(SIZE),
    "flat": np.linspace(0.5, 1.5, SIZE),
}
TRACES: tuple[tuple[TraceMethod, float], ...] = (
    ("hutch++", 0.04),
    ("hutch++", 0.015),
    ("hutchinson", 0.1),
    ("xtrace", 0.03),
    ("auto", 0.02),
)
TRACE_REPEATS, DENSITY_SEEDS, BOX_SEEDS = 500, 100, 40
NUMBERS = ("trace", "frobenius_norm", "effective_rank", "k_h1", "bulk_condition")


class Matrix(LinearOperator):
    """A dense matrix as an operator."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.size, self.like = matrix, len(matrix), matrix[0]

    def matmat(self, block: Tensor) -> Tensor:
        return self.matrix @ block


# -- intervals of the trace ----------------------------------------------------------------------------------------


def traces(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """The share of intervals that hold the trace, of runs that stop by themselves; exact results are left out."""
    del device, repeats
    return {f"{method}, {rtol:g}": {name: _covered(name, method, rtol) for name in SPECTRA} for method, rtol in TRACES}


def _covered(name: str, method: TraceMethod, rtol: float) -> float:
    spectrum = torch.from_numpy(SPECTRA[name])
    basis, _ = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    operator, goal, held = Matrix((basis * spectrum) @ basis.T), TraceGoal(method, rtol, 10_000, 80), []
    for seed in range(TRACE_REPEATS):
        *_, state = estimate_trace(operator, (), goal, seed=seed)
        estimate = preferred_estimate(state, goal)
        if estimate is not None and estimate.estimator != "exact":
            held.append(abs(estimate.value - float(spectrum.sum())) <= estimate.half_width)
    return float(np.mean(held)) if len(held) > TRACE_REPEATS / 2 else float("nan")


# -- densities -----------------------------------------------------------------------------------------------------


class LanguageModel(nn.Module):
    """One block of attention over 12 tokens."""

    def __init__(self, tokens: int = 12, width: int = 10) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(tokens, width), nn.Linear(width, tokens)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.hidden, self.out = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embedding(x)
        scores = self.query(h) @ self.key(h).transpose(1, 2) / h.shape[2] ** 0.5
        scores = scores + torch.triu(torch.full((x.shape[1],) * 2, -1e9, dtype=h.dtype), 1)
        h = h + scores.softmax(-1) @ self.value(h)
        return self.head(h + self.out(torch.tanh(self.hidden(h))))


def objectives() -> Iterator[tuple[str, Objective]]:
    """Seven models with 201 to 1,012 parameters, six of them trained for 100 to 200 steps."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 10, generator=generator)
    y = x[:, :4].argmax(dim=1)
    torch.manual_seed(1)
    tanh, relu = (
        nn.Sequential(nn.Linear(10, h), kind(), nn.Linear(h, 4)) for h, kind in ((20, nn.Tanh), (30, nn.ReLU))
    )
    deep = nn.Sequential(nn.Linear(10, 14), nn.GELU(), nn.Linear(14, 14), nn.GELU(), nn.Linear(14, 4))
    yield from ((n, trained(m, x, y)) for n, m in (("tanh MLP", tanh), ("ReLU MLP", relu), ("GELU MLP", deep)))
    images = torch.randn(60, 1, 8, 8, generator=generator)
    classes = (images.mean((1, 2, 3)) > 0).long() + 2 * (images[:, 0, 0, 0] > 0).long()
    convolutions = [nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(), nn.Flatten()]
    yield "convnet", trained(nn.Sequential(*convolutions, nn.Linear(32, 4)), images, classes, 100)
    text = torch.randint(0, 12, (30, 9), generator=generator)
    text[:, 1::2] = (text[:, ::2][:, :4] * 5 + 1) % 12
    yield "small LM", trained(LanguageModel(), text[:, :-1], text[:, 1:], 150)
    inputs = torch.randn(300, 200, generator=generator) * torch.logspace(0, -2, 200)
    yield "linear regression", Objective(nn.Linear(200, 1), [(inputs, inputs[:, :1])], "mse", dtype="float64")
    torch.manual_seed(4)
    yield "untrained MLP", trained(nn.Sequential(nn.Linear(10, 25), nn.Tanh(), nn.Linear(25, 4)), x, y, 0)


def trained(model: nn.Module, x: Tensor, y: Tensor, steps: int = 200, rate: float = 0.01) -> Objective:
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        output = model(x)
        functional.cross_entropy(output.reshape(-1, output.shape[-1]), y.reshape(-1)).backward()
        optimizer.step()
    return Objective(model, [(x, y)], "cross_entropy", dtype="float64")


def densities(steps: int, device: str, repeats: int) -> dict[str, dict[str, float]]:
    """The shares of the exact density within the band, and of numbers within t times their errors."""
    del device, repeats
    return {name: _density_coverage(objective, steps) for name, objective in objectives()}


def _density_coverage(objective: Objective, steps: int) -> dict[str, float]:
    dense = HessianOperator(objective).to_dense()
    values = torch.linalg.eigvalsh((dense + dense.T) / 2).numpy()
    exact, quantile = _numbers(values), float(student.ppf(0.975, PROBES - 1))
    held: dict[str, list[float]] = {name: [] for name in ("band", *exact)}
    for seed in range(DENSITY_SEEDS):
        result = landscape.run(Density(steps=steps, seed=seed), objective)
        bells = np.exp(-(((result.grid[:, None] - values[None]) / result.width) ** 2) / 2)
        density = bells.mean(axis=1) / (result.width * np.sqrt(2 * np.pi))
        low, high = result.density_band
        held["band"].append(((low <= 1.001 * density) & (density <= 1.001 * high))[density > 1e-6].mean())
        for name, value in exact.items():
            reach = quantile * getattr(result, f"{name}_se") + 1e-9 * abs(value)
            held[name].append(abs(getattr(result, name) - value) <= reach)
    return {name: float(np.mean(shares)) for name, shares in held.items()}


def _numbers(values: np.ndarray) -> dict[str, float]:
    size = np.sort(np.abs(values))
    share = size[size > 0] / size.sum()
    low, high = (size[np.searchsorted(np.cumsum(size) / size.sum(), part)] for part in (0.25, 0.75))
    rank = np.exp(-(share * np.log(share)).sum())
    negative = -values[values < 0].sum() / values[values > 0].sum()
    return dict(zip(NUMBERS, (values.sum(), np.linalg.norm(values), rank, negative, high / low), strict=True))


# -- adaptive boxes ------------------------------------------------------------------------------------------------


def boxes(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Maxima in adaptive boxes of nets of 12 parameters against all 2^12 corners."""
    del device, repeats
    table = {}
    for activation in (nn.Tanh, nn.ReLU, nn.Sigmoid):
        found = [_box(activation, seed, rho) for seed in range(BOX_SEEDS) for rho in (0.03, 0.1, 0.3)]
        ratios, remarked, gradients = (np.array(column) for column in zip(*found, strict=True))
        missed = ratios < 0.99
        table[activation.__name__] = {
            "missed by more than 1 %": float(missed.mean()),
            "of these without a remark": float((missed & ~remarked).sum()),
            "lowest / highest corner": float(ratios.min()),
            "remarked": float(remarked.mean()),
            "gradients": float(gradients.mean()),
        }
    return table


def _box(activation: type[nn.Module], seed: int, rho: float) -> tuple[float, bool, int]:
    """s_max over the highest corner, whether a remark says that few starts agree, and the gradients evaluated."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(23, 2, generator=generator)
    y = (x[:, 0] * x[:, 1] + 0.3 * torch.randn(23, generator=generator) > 0).long()
    torch.manual_seed(seed)
    objective = trained(nn.Sequential(nn.Linear(2, 2), activation(), nn.Linear(2, 2)), x, y, 150, 0.05)
    theta, corners = objective.theta, torch.tensor(list(product((-1.0, 1.0), repeat=12)), dtype=torch.float64)
    first, offset, second, bias = torch.split(theta + rho * theta.abs() * corners, [4, 2, 4, 2], dim=1)
    hidden = activation()(torch.einsum("cij,nj->cni", first.view(-1, 2, 2), x.double()) + offset[:, None])
    logits = torch.einsum("cij,cnj->cni", second.view(-1, 2, 2), hidden) + bias[:, None]
    losses = functional.cross_entropy(logits.flatten(0, 1), y.repeat(len(corners)), reduction="none")
    highest = float(losses.view(len(corners), -1).mean(dim=1).max() - objective.value())
    result = landscape.run(Sharpness(norm="linf", rho=rho, draws=0), objective)
    return result.s_max[0] / highest, "more --starts" in " ".join(result.remarks()), result.gradients


STUDIES: dict[str, Callable[[str, int], Any]] = {
    "intervals of the trace, 500 repeats": traces,
    "density, 8 probes x 64 steps, 100 seeds": partial(densities, 64),
    "density, 8 probes x 24 steps, 100 seeds": partial(densities, 24),
    "adaptive boxes against all corners": boxes,
}

if __name__ == "__main__":
    harness.main("coverage", {}, STUDIES)
