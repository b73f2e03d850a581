"""Langevin steps without a Metropolis correction (SGLD, Welling and Teh 2011), and their bias.

A step of size e follows the gradient of Phi explicitly, and the Gaussian by Crank and Nicolson's rule, with which
directions that the Gaussian alone decides have no bias (Cotter, Roberts, Stuart and White 2013, section 4.2):

    x' = ((1 - c) x - e / 2 grad Phi(x) + sqrt(e) z) / (1 + c),    c = e gamma / 4, normal z

The variance along an eigenvector of the Hessian of Phi with eigenvalue a is too large by the factor
(1 + e s / 4) / (1 - e a / 4), where s is the variance of the gradient's noise. The mean of a quadratic Phi is then too
large by at most e / 8 times the mean of the squared gradient, and by just that without noise.
"""

from __future__ import annotations

import math

import numpy as np

from landscape.algorithms.sampling.chains import Chains, Moves, Potential


def langevin_step(potential: Potential, chains: Chains, seed: int, name: str) -> tuple[Chains, Moves]:
    """One step of every chain of size exp(log_step)."""
    size = math.exp(chains.log_step)
    half = size * chains.gamma / 4
    drift = (1 - half) * chains.positions - size / 2 * chains.gradient
    positions = (drift + size**0.5 * chains.noise(seed, name)) / (1 + half)
    there = potential(positions, chains.evaluations)
    finite = np.isfinite(there.value)
    return chains.accept(np.ones_like(finite), positions, there, 1), Moves(np.ones(len(finite)), finite)


def step_bias(log_step: float, squared_gradient: np.ndarray) -> np.ndarray:
    """By how much each draw of Phi is too large on average, from the squared gradients at the draws."""
    return math.exp(log_step) / 8 * squared_gradient
