"""PAC-Bayes sigmas (Jiang et al. 2020, appendix C): the largest noise on the weights that the error tolerates."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from landscape import seeds
from landscape.analyses.base import Progress, State
from landscape.analyses.measures import SIGMA_RANGE
from landscape.losses.predictions import error_counts

if TYPE_CHECKING:
    from torch import Tensor

    from landscape.analyses.measures import Measures
    from landscape.data.batches import Batch
    from landscape.objective import Objective

NOISES = ("plain", "magnitude")  # the same on all weights, or proportional to the size of each
BISECTIONS = 16  # of log sigma over eight decades: to 0.03 %
MAGNITUDE_EPSILON = 1e-3  # Jiang et al. (2020), appendix C: noise of variance sigma^2 w^2 + epsilon^2


def pac_bayes_sigmas(
    analysis: Measures, objective: Objective, saved: State
) -> Generator[Progress, None, dict[str, float]]:
    """Yields after each step of the bisections; returns the error at the weights and the sigma of each noise.

    The error is NaN for a loss without classes, a sigma where even the smallest raises the error too much.
    """
    # for each noise: bisections made, and the logarithms of a sigma that fits and of one that does not
    state: dict[str, np.ndarray] = {name: np.array(value) for name, value in saved.items()}

    def progress(note: str) -> Progress:
        """A bisection step that is done, with a snapshot of the brackets so far."""
        steps = sum(int(state[noise][0]) + 1 for noise in NOISES if noise in state)
        return Progress(
            steps, 2 * (BISECTIONS + 1), note, lambda: {name: value.copy() for name, value in state.items()}
        )

    if "error" not in state:
        state["error"] = np.array(mean_error(objective, objective.theta))
        yield progress("error")
    largest_error = float(state["error"]) + analysis.deviation
    for noise in NOISES if not np.isnan(state["error"]) else ():
        if noise not in state:
            fits = noisy_error(analysis, objective, noise, SIGMA_RANGE[0]) <= largest_error
            bounds = np.log(SIGMA_RANGE)
            state[noise] = np.array([0.0, *bounds]) if fits else np.array([BISECTIONS, np.nan, np.nan])
            yield progress("PAC-Bayes sigma")
        while state[noise][0] < BISECTIONS:
            step, low, high = state[noise]
            middle = (low + high) / 2
            fits = noisy_error(analysis, objective, noise, float(np.exp(middle))) <= largest_error
            state[noise] = np.array([step + 1, *((middle, high) if fits else (low, middle))])
            yield progress(f"PAC-Bayes sigma, step {int(step) + 1}")
    sigmas = {noise: float(np.exp(state[noise][1])) if noise in state else float("nan") for noise in NOISES}
    return {"error": float(state["error"]), **sigmas}


def count_losses(draws: int, sigmas: Mapping[str, float]) -> int:
    """The losses over the full data that these sigmas took: one for each draw at each step, as `pac_bayes_sigmas` does.

    >>> count_losses(10, {"error": 0.1, "plain": 0.5, "magnitude": float("nan")})  # 1 + 10 (1 + 16) + 10
    181
    """
    if np.isnan(sigmas.get("error", np.nan)):
        return 0
    steps = sum(1 if np.isnan(sigmas[noise]) else 1 + BISECTIONS for noise in NOISES)
    return 1 + draws * steps


def mean_error(objective: Objective, theta: Tensor) -> float:
    """The share of wrong predictions at theta `(P,)`; NaN for a loss without classes."""
    if not objective.loss.structure.has_classes:
        return float("nan")

    def kernel(batch: Batch) -> Tensor:
        """The wrong and the counted predictions of one batch."""
        with torch.no_grad():
            counts = error_counts(objective.loss, objective.batch_output(theta, batch), batch.targets)
        wrong, counted = counts if counts else (torch.tensor(float("nan")), 1)
        return torch.tensor([float(wrong), float(counted)], dtype=torch.float64, device=objective.device)

    wrong, counted = objective.accumulate(kernel).cpu().tolist()
    return wrong / counted if counted else float("nan")


def noisy_error(analysis: Measures, objective: Objective, noise: str, sigma: float) -> float:
    """The mean error over the draws of the noise, which are the same for every sigma."""
    theta, total = objective.theta, 0.0
    deviation = (sigma**2 * theta**2 + MAGNITUDE_EPSILON**2).sqrt() if noise == "magnitude" else sigma
    for draw in range(analysis.draws):
        z = seeds.normal(len(theta), theta, analysis.seed, "sigma", draw)
        total += mean_error(objective, theta + deviation * z)
    return total / analysis.draws
