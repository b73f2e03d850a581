"""Worst case beside a correct APGD at the same gradients, average case beside plain Monte Carlo, memory, and noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import harness
import numpy as np
import torch
from torch import Tensor, nn

import landscape
from landscape import Eig, Flatness, Objective, Sharpness, Trace, seeds
from landscape.analyses.neighborhood.average_case import CONTROL_PRODUCTS, TRACE_PROBES
from landscape.evaluation import points

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
BATCH = {"digits-mlp": 128, "digits-noisy": 128, "digits-resnet": 128, "digits-resnet-sam": 128, "charlm": 8}
RADII = (0.25, 0.5, 1.0, 2.0)  # Andriushchenko et al. (2023), adaptive l2
GRADIENTS = 20


def objective_of(name: str, device: str, samples: int | None = None) -> Objective:
    objective = landscape.load(SAMPLES / f"{name}.pt", device=device)
    return objective if samples is None else objective.first(samples)


# -- worst case ----------------------------------------------------------------------------------------------------


def apgd(objective: Objective, scale: Tensor, rho: float, gradients: int) -> float:
    """The rise found by APGD (Croce and Hein 2020, algorithm 1) in u = delta / c, from u = 0, in the l2 ball.

    Steps of 2 rho along the normalized slope, projection, momentum 0.75, and halved steps from the best point at
    their checkpoints. Each iterate's value counts, as in the reference protocol.
    """

    def at(u: Tensor) -> tuple[float, Tensor]:
        value, gradient = objective.value_and_gradient(objective.theta + scale * u)
        return float(value), scale * gradient

    def projected(u: Tensor) -> Tensor:
        return u * min(1.0, rho / max(float(u.norm()), 1e-30))

    shares = [0.0, 0.22]
    checks = [math.ceil(0.22 * gradients)]
    while checks[-1] < gradients:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
        checks.append(math.ceil(shares[-1] * gradients))
    u = previous = torch.zeros_like(objective.theta)
    base, slope = at(u)
    best, best_point, step = base, u, 2 * rho
    earlier_step, earlier_best, last_check, climbed = step, best, 0, 0
    for index in range(gradients):
        target = projected(u + step * slope / slope.norm())
        after = target if index == 0 else projected(u + 0.75 * (target - u) + 0.25 * (u - previous))
        previous, u = u, after
        value, slope = at(u)
        if value > best:
            best, best_point, climbed = value, u, climbed + 1
        if index in checks:
            stuck = earlier_step == step and earlier_best == best
            slow = climbed < 0.75 * (index - last_check)
            earlier_step, earlier_best, last_check, climbed = step, best, index, 0
            if slow or stuck:
                step /= 2
                u = best_point
                _, slope = at(u)
    return best - base


def worst_case(device: str) -> dict[str, dict[str, float]]:
    """At 20 gradients of one batch, and with the default nine starts."""
    table = {}
    for name, samples in BATCH.items():
        objective = objective_of(name, device, samples)
        for rho in RADII:
            peer = apgd(objective, objective.theta.abs(), rho, GRADIENTS)
            ours = landscape.run(Sharpness(rho=(rho,), starts=1, steps=GRADIENTS - 1, draws=0), objective)
            full = landscape.run(Sharpness(rho=(rho,), draws=0), objective)
            table[f"{name}, rho {rho:g}"] = {
                "APGD": peer,
                "one start": float(ours.s_max[0]),
                "gradients": float(ours.gradients),
                "one start above APGD, %": 100 * (float(ours.s_max[0]) / peer - 1),
                "nine starts above APGD, %": 100 * (float(full.s_max[0]) / peer - 1),
                "nine starts, gradients": float(full.gradients),
            }
    return table


def together(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Nine points one by one, in the time of one vectorized pass."""
    table = {}
    for name, sizes in (
        ("digits-mlp", (128, 1300)),
        ("digits-noisy", (128,)),
        ("digits-resnet", (16, 128)),
        ("charlm", (2, 8, 32)),
    ):
        for samples in sizes:
            objective = objective_of(name, device, samples)
            noise = torch.stack([seeds.normal(objective.space.size, objective.theta, 0, "bench", k) for k in range(9)])
            block = (objective.theta * (1 + 0.01 * noise)).T

            def job(limit: int, objective: Objective = objective, block: Tensor = block) -> None:
                points.VECTORIZED_BYTES = limit
                points.values_and_gradients(objective, block)

            chosen = points.VECTORIZED_BYTES
            seconds = harness.interleaved({"apart": lambda: job(0), "together": lambda: job(1 << 60)}, repeats, device)
            points.VECTORIZED_BYTES = chosen
            size = 9 * objective.activation_bytes * objective.batches.samples
            table[f"{name}, {objective.batches.samples} samples"] = {
                "activations, MB": size / 2**20,
                "one by one / together": seconds["apart"] / seconds["together"],
                "goes together": float(size <= chosen),
            }
    return table


# -- average case --------------------------------------------------------------------------------------------------


def average_case(device: str) -> dict[str, dict[str, float]]:
    """Forward passes to a standard error of 1 %, from the spread of 200 pairs of draws."""
    table = {}
    for name, samples in (("digits-mlp", None), ("digits-noisy", 512), ("digits-resnet", 256)):
        objective = objective_of(name, device, samples)
        for rho in (0.01, 0.03, 0.1):
            base = float(objective.value())
            scale = objective.theta.abs()
            rises = []
            for draw in range(200):
                move = rho * scale * seeds.normal(len(scale), scale, 0, "average", draw)
                rises.append([float(objective.value(objective.theta + sign * move)) - base for sign in (1, -1)])
            table_of = np.array(rises)
            pairs = table_of.mean(axis=1)
            single, paired = table_of.ravel().std(ddof=1), pairs.std(ddof=1)
            mean = pairs.mean()
            run = landscape.run(Sharpness(rho=(rho,), starts=0, draws=200), objective)
            error = float(run.s_avg_se[0]) * 200**0.5
            plain, antithetic, ours = (
                losses * (spread / (0.01 * mean)) ** 2 for losses, spread in ((1, single), (2, paired), (2, error))
            )
            table[f"{name}, rho {rho:g}"] = {
                "s_avg": mean,
                "s_avg / small-rho law": float(run.s_avg[0] / run.s_avg_law[0]),
                "plain Monte Carlo, losses": plain,
                "antithetic pairs": antithetic,
                "with the control variate": ours,
                "plain / ours": plain / ours,
                "with its products as 6 losses each": plain / (ours + 6 * (CONTROL_PRODUCTS + TRACE_PROBES)),
            }
    return table


# -- memory --------------------------------------------------------------------------------------------------------


def memory(device: str) -> dict[str, dict[str, float]]:
    """Peak in parameter vectors, of a net whose weights dwarf its activations, by the number of starts."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1000, 1000), nn.Tanh(), nn.Linear(1000, 10)).to(device)
    data = (torch.randn(8, 1000, device=device), torch.randint(0, 10, (8,), device=device))
    objective = Objective(model, [data], "cross_entropy", device=device)
    chosen, points.VECTORIZED_BYTES = points.VECTORIZED_BYTES, 0
    gradient = harness.peak_bytes(objective.gradient) / objective.theta.nbytes
    table = {}
    for starts in (1, 5, 9):
        analysis = Sharpness(starts=starts, steps=6, draws=0)
        peak = harness.peak_bytes(lambda a=analysis: landscape.run(a, objective)) / objective.theta.nbytes
        table[f"{starts} starts"] = {
            "peak, parameter vectors": peak,
            "beyond a gradient": peak - gradient,
            "of these, for each start": (peak - gradient) / starts,
        }
    points.VECTORIZED_BYTES = chosen
    return table


# -- noise ---------------------------------------------------------------------------------------------------------

Measure = Callable[[Objective, int], float]
MEASURES: dict[str, Measure] = {
    "lambda_1": lambda o, seed: float(landscape.run(Eig(k=1, confirm=0, seed=seed), o).eigenvalues[0]),
    "trace, 1 %": lambda o, seed: float(landscape.run(Trace(seed=seed), o).trace),
    "s_avg adaptive, 50 pairs": lambda o, seed: float(
        landscape.run(Sharpness(rho=0.05, starts=0, seed=seed), o).s_avg[0]
    ),
    "s_max adaptive linf, 9 starts": lambda o, seed: float(
        landscape.run(Sharpness(norm="linf", draws=0, seed=seed), o).s_max[0]
    ),
    "s_max adaptive l2, 9 starts": lambda o, seed: float(
        landscape.run(Sharpness(rho=0.5, draws=0, seed=seed), o).s_max[0]
    ),
    "s_max standard l2, SAM's step": lambda o, seed: float(
        landscape.run(Sharpness(preset="sam", seed=seed), o).s_max[0]
    ),
    "r1, 9 starts": lambda o, seed: float(landscape.run(Flatness(rho=0.05, seed=seed), o).r1[0]),
}


def noise(name: str, device: str, seeds_of: int = 6, subsets: int = 8) -> dict[str, dict[str, float]]:
    """Coefficients of variation: over the algorithm's seed, over another half of the samples, and of paired ratios."""
    whole = objective_of(name, device)
    x, y = (torch.cat(parts) for parts in zip(*((b.inputs, b.targets) for b in whole.batches), strict=True))
    halves = [torch.randperm(len(x), generator=torch.Generator().manual_seed(n))[:512] for n in range(subsets)]
    moved = seeds.normal(whole.space.size, whole.theta, 1, "moved")
    near = whole.space.unflatten(whole.theta * (1 + 0.01 * moved))
    own = {n: p.detach().clone() for n, p in whole.model.named_parameters()}
    table = {}
    for title, measure in MEASURES.items():
        by_seed = np.array([measure(whole, seed) for seed in range(seeds_of)])
        by_data, ratios = [], []
        for chosen in halves:
            part = [(x[chosen], y[chosen])]
            here = measure(Objective(whole.model, part, whole.loss, device=device), 0)
            _put(whole.model, near)
            there = measure(Objective(whole.model, part, whole.loss, device=device), 0)
            _put(whole.model, own)
            by_data.append(here)
            ratios.append(math.log(there / here))
        table[title] = {
            "value": float(by_seed.mean()),
            "over seeds, %": 100 * float(by_seed.std(ddof=1) / by_seed.mean()),
            "over samples, %": 100 * float(np.std(by_data, ddof=1) / np.mean(by_data)),
            "of a paired ratio, %": 100 * float(np.std(ratios, ddof=1)),
        }
    return table


def _put(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[name])


if __name__ == "__main__":
    harness.main(
        "sharpness",
        {
            "nine points of a batch, loss and gradient": together,
            "adaptive l2 worst case at 20 gradients of a batch": lambda device, _: worst_case(device),
            "memory of the worst case": lambda device, _: memory(device),
        },
        {
            "adaptive average case to a standard error of 1 %": lambda device, _: average_case(device),
            "noise of measures on digits-mlp": lambda device, _: noise("digits-mlp", device),
            "noise of measures on digits-noisy": lambda device, _: noise("digits-noisy", device),
        },
    )
