"""Critical sharpness: its passes beside a fine line search, what its interval covers, and the edge of stability."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from torch import Tensor, nn

import landscape
from landscape import Critical, Eig, Objective

HERE = Path(__file__).parent
SAMPLES = HERE.parent / "sample_checkpoints"
CASES = ("digits-mlp", None), ("digits-noisy", None), ("digits-resnet", 256), ("charlm", 100)
FINE = 60  # points of a line search up to 1.5 times the critical step
DATA_SETS, SIZE, POPULATION = 100, 200, 10_000  # drawn of a population with a teacher's labels
EDGE_RATES, EDGE_STEPS, EDGE_BEGIN, EDGE_EVERY = (0.4, 0.8), 4000, 2000, 40


def line_search(objective: Objective, end: float) -> float:
    """The first of `FINE` points along the gradient at which the loss is no longer lower, interpolated."""
    gradient, base = objective.gradient(), float(objective.value())
    before, spacing = 0.0, end / FINE
    for step in np.linspace(spacing, end, FINE):
        change = float(objective.value(objective.theta - step * gradient)) - base
        if change >= 0:
            return float(step - spacing * change / (change - before))
        before = change
    return math.nan


def on_samples(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """The sample checkpoints: the critical step, its passes and its time beside those of a fine line search."""
    table = {}
    for name, limit in CASES:
        objective = landscape.load(SAMPLES / f"{name}.pt", device=device, limit=limit)
        results: list[Any] = []
        time = harness.gradients_of(
            objective, lambda o=objective, r=results: r.append(landscape.run(Critical(), o)), repeats, warm=False
        )
        result = results[0]
        fine = line_search(objective, 1.5 * result.critical_step)
        table[f"{name}, {objective.batches.samples}"] = {
            "critical step": result.critical_step,
            "error against a line search of 60 points %": 100 * (result.critical_step / fine - 1),
            "half interval %": 100 * 1.96 * result.critical_step_se / result.critical_step,
            "passes": result.passes,
            "gradients, as counted": result.cost_gradients,
            "gradients, with checks": time,
        }
    return table


def teacher_net() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)).double()


def drawn(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Samples with labels by a teacher, a fifth of them random."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 8, generator=generator, dtype=torch.float64)
    torch.manual_seed(9)
    labels = nn.Linear(8, 3).double()(x).argmax(dim=1)
    other = torch.randint(0, 3, (count,), generator=generator)
    return x, torch.where(torch.rand(count, generator=generator) < 0.2, other, labels)


def coverage(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """The share of data sets whose interval holds the critical step of the population along the same update."""
    del device, repeats
    whole = Objective(teacher_net(), [drawn(POPULATION, 0)], "cross_entropy", dtype="float64")
    fixed = {n: t.cpu() for n, t in whole.space.unflatten(whole.theta - 0.5 * whole.gradient()).items()}
    along = landscape.run(Critical(update=fixed, tol=1e-3, passes=30), whole)  # type: ignore[arg-type]
    cases: dict[str, Callable[[int, Objective], tuple[Any, float]]] = {
        "a fixed update": lambda seed, own: (landscape.run(Critical(update=fixed), own), along.critical_step),  # type: ignore[arg-type]
        "the gradient of the same data": lambda seed, own: (landscape.run(Critical(), own), crossing(whole, own)),
        "the gradient of other data": lambda seed, own: (
            landscape.run(Critical(other_data=drawn(SIZE, 10_000 + seed)), own),  # type: ignore[arg-type]
            crossing(whole, own),
        ),
    }
    return {name: _covered(case) for name, case in cases.items()}


def crossing(whole: Objective, own: Objective) -> float:
    """The critical step of the population along the gradient of one data set."""
    end = {n: t.cpu() for n, t in own.space.unflatten(own.theta - own.gradient()).items()}
    found = landscape.run(Critical(update=end, tol=1e-2, passes=20), whole)  # type: ignore[arg-type]
    return float(found.critical_step)


def _covered(case: Callable[[int, Objective], tuple[Any, float]]) -> dict[str, float]:
    """The share that is covered, and the mean of the estimates and of their standard errors."""
    rows = []
    for seed in range(1, DATA_SETS + 1):
        own = Objective(teacher_net(), [drawn(SIZE, seed)], "cross_entropy", dtype="float64")
        result, truth = case(seed, own)
        low, high = result.interval
        rows.append((low <= truth <= high, result.critical_step / truth, result.critical_step_se / truth))
    inside, ratio, error = np.array(rows, dtype=float).T
    return {
        "data sets": len(rows),
        "covered %": 100 * float(inside.mean()),
        "mean of step / truth": float(np.nanmean(ratio)),
        "spread of it": float(np.nanstd(ratio)),
        "mean standard error of it": float(np.nanmean(error[np.isfinite(error)])),
    }


def edge(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Gradient descent of docs/edge_of_stability.py: learning rate times critical sharpness, and times lambda 1."""
    del repeats
    sys.path.insert(0, str(HERE.parent / "docs"))
    import edge_of_stability

    table = {}
    for rate in EDGE_RATES:
        model, inputs, targets = edge_of_stability.begin()
        descent = torch.optim.SGD(model.parameters(), lr=rate)
        objective = Objective(model, [(inputs, targets)], edge_of_stability.half_squared_norm, device=device)
        found: list[tuple[int, float, float, int]] = []
        for step in range(EDGE_STEPS):
            if step >= EDGE_BEGIN and step % EDGE_EVERY == 0:
                now = objective.at(model)
                critical, eig = landscape.run(Critical(lr=rate), now), landscape.run(Eig(k=1), now)
                sharpness = critical.critical_sharpness, float(eig.eigenvalues[0])
                found.append((step, rate * sharpness[0], rate * sharpness[1], critical.passes))
            descent.zero_grad()
            edge_of_stability.half_squared_norm(model(inputs), targets).mean().backward()
            descent.step()
        _, ours, largest, passes = np.array(found).T
        table[f"learning rate {rate}"] = {
            "mean of rate x critical sharpness": float(ours.mean()),
            "smallest": float(ours.min()),
            "largest": float(ours.max()),
            "mean of rate x lambda 1": float(largest.mean()),
            "passes": float(passes.mean()),
        }
    return table


if __name__ == "__main__":
    harness.main(
        "critical",
        {"critical steps of the sample checkpoints": on_samples},
        {"coverage of the interval of critical steps": coverage, "critical sharpness at the edge of stability": edge},
        threads=1,
    )
