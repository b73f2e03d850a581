"""Measures of the samples' gradients: the trace of their covariance, and the Fisher-Rao norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.evaluation.per_sample.gradients import gradient_moments

if TYPE_CHECKING:
    from landscape.objective import Objective

SAMPLES_COST = 3.0  # of the gradients of all samples, in gradients of the mean


def gradient_measures(objective: Objective, gradient_norm: float) -> tuple[float, float]:
    """The trace of the covariance of the samples' gradients, NaN for one sample, and the Fisher-Rao norm.

    A sample's gradient is N times its part of the mean gradient, of norm `gradient_norm`, so that the mean over samples
    is the mean gradient.
    """
    sums = [float(value) for value in gradient_moments(objective)]
    count, samples = objective.count, objective.batches.samples
    mean_square, along = (value * samples / count**2 for value in sums)
    covariance = (mean_square - gradient_norm**2) * samples / (samples - 1) if samples > 1 else float("nan")
    return float(covariance), float(along**0.5)
