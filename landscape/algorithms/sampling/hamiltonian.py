"""Hamiltonian Monte Carlo: steps of all chains at once, with the Metropolis correction, and their size.

A step gives every chain a normal velocity, and follows the motion under U = Phi + gamma |x|^2 / 2 for a quarter of the
period that the Gaussian has by itself, or for `MOST_LEAPS` leaps. Leaps kick by Phi and turn exactly under the Gaussian
(Beskos, Pinski, Sanz-Serna and Stuart 2011, section 3), so that directions that the Gaussian alone decides, nearly all
of a large network, neither limit their size nor take more than one step to be drawn anew. The correction makes the
chains exact at every size (Duane et al. 1987; Neal 2011).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.algorithms.sampling.chains import Chains, Moves, Potential, column_sums

# Of proposals. The optimum is .651 for many equal directions (Beskos et al. 2013); Stan's .8 is as fast, and holds
# where curvatures differ from place to place.
WANTED_ACCEPTANCE = 0.8
MOST_LEAPS = 32  # of a step: a motion may be much longer than it pays to follow where gamma is small
JITTER = 0.2  # of the size of leaps, relative: motions of one duration would come back to where they began
FIRST_GAIN, GAIN_DECAY = 1.0, 0.6  # Robbins and Monro's gains of the log size: a decay above 1/2 makes it converge
QUICK_STEPS = 20  # of full gain: a first guess may be wrong by orders of magnitude, of which each costs a few steps


def leap_count(chains: Chains) -> int:
    """The leaps of a step: a quarter of the Gaussian's period 2 pi / sqrt(gamma), at most `MOST_LEAPS`."""
    quarter = math.pi / 2 / math.sqrt(chains.gamma)
    fitting = math.ceil(quarter * math.exp(-chains.log_step))
    return max(1, min(MOST_LEAPS, int(fitting)))


def metropolis_step(potential: Potential, chains: Chains, seed: int, name: str) -> tuple[Chains, Moves]:
    """One step of every chain; a motion whose energy is not finite is never accepted."""
    draws = seeds.uniform(0, (1 + len(chains.value),), torch.zeros(()), seed, "accept", name, chains.steps).numpy()
    size = math.exp(chains.log_step) * (1 + JITTER * (2 * float(draws[0]) - 1))
    positions, gradient, velocity = chains.positions, chains.gradient, chains.noise(seed, name)
    kicked, leaps = np.zeros(len(chains.value)), leap_count(chains)
    for leap in range(leaps):
        velocity, first = _kick(velocity, gradient, size / 2)
        positions, velocity = _turn(positions, velocity, size, chains.gamma)
        there = potential(positions, chains.evaluations + leap)
        gradient = there.gradient
        velocity, second = _kick(velocity, gradient, size / 2)
        kicked += first + second
    log_ratio = chains.value - there.value - kicked
    accepted, finite = np.log(draws[1:]) < log_ratio, np.isfinite(log_ratio)  # NaN is no acceptance
    acceptance = np.where(finite, np.exp(np.minimum(log_ratio, 0.0)), 0.0)
    return chains.accept(accepted, positions, there, leaps), Moves(acceptance, finite)


def adapt(chains: Chains, acceptance: float, total: int) -> Chains:
    """The chains with the next size of leaps, larger after more acceptance; the last of `total` has the mean's.

    The mean is over the log size in the second half (Polyak and Juditsky 1992), which scatters less than the last one.
    """
    step = chains.steps
    gain = FIRST_GAIN * max(1, step - QUICK_STEPS) ** -GAIN_DECAY
    quarter = math.log(math.pi / 2 / chains.gamma**0.5)  # the longest step, which is a motion by itself
    log_step = min(chains.log_step + gain * (acceptance - WANTED_ACCEPTANCE), quarter)
    averaged = max(0, step - total // 2)
    mean = log_step if averaged <= 1 else chains.mean_log_step + (log_step - chains.mean_log_step) / averaged
    return replace(chains, log_step=mean if step == total else log_step, mean_log_step=mean)


def _kick(velocity: Tensor, gradient: Tensor, size: float) -> tuple[Tensor, np.ndarray]:
    """The velocity after a kick by -grad Phi, and the kinetic energy that it adds `(K,)`.

    Turns keep the rest of the energy, so that no two large energies are ever subtracted.
    """
    with np.errstate(invalid="ignore"):  # energies that are not finite, of motions that are not accepted
        added = size**2 / 2 * column_sums(gradient**2) - size * column_sums(gradient * velocity)
    return velocity - size * gradient, added


def _turn(positions: Tensor, velocity: Tensor, size: float, gamma: float) -> tuple[Tensor, Tensor]:
    """Positions and velocities after the exact motion under the Gaussian."""
    rate = gamma**0.5
    cosine, sine = math.cos(rate * size), math.sin(rate * size)
    return positions * cosine + velocity * (sine / rate), velocity * cosine - positions * (rate * sine)
