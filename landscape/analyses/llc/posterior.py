"""The tempered posterior around a checkpoint, by displacements x of some or all of its parameters.

    exp(-Phi(x) - gamma |x|^2 / 2),    Phi(x) = n beta (L(theta + x) - L(theta))

Source: Lau et al. 2023 (arXiv 2308.12108), section 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.algorithms.sampling.chains import Evaluation
from landscape.data.batches import Batch
from landscape.errors import TaskError, UsageError
from landscape.evaluation import points
from landscape.evaluation.per_sample.loss_sums import has_sample_losses
from landscape.evaluation.per_sample.outcomes import sample_outcomes
from landscape.losses.terms import TermsLoss
from landscape.network.space import ParameterGroup
from landscape.objective import Objective

HALVINGS = 60  # of a start: a factor of 1e18, after which float32 no longer tells it from the checkpoint
MOST_SAMPLES = 20_000  # whose losses are kept at a hundred draws or more: 8 MB at least


@dataclass(frozen=True)
class Temper:
    """How sharp the posterior is: n beta, and gamma, the precision of the localizing Gaussian."""

    nbeta: float
    gamma: float


class LocalPosterior:
    """Phi of displacements `(p, K)` of one group of parameters, by passes over all data."""

    def __init__(self, objective: Objective, temper: Temper, group: ParameterGroup, base: float) -> None:
        self.objective, self.temper, self.group, self.base = objective, temper, group, base

    @property
    def size(self) -> int:
        """The number of parameters that move."""
        return self.group.size

    def __call__(self, moves: Tensor, step: int) -> Evaluation:
        """Phi at displacements `(p, K)`; `step` is not used."""
        del step
        values, gradients = points.values_and_gradients(self.objective, self.thetas(moves))
        return self._temper_loss(values - self.base, gradients)

    def excess(self, moves: Tensor) -> Tensor:
        """n beta (L - L(theta)) at displacements `(p, K)`: `(K,)`, float64."""
        return (points.values(self.objective, self.thetas(moves)) - self.base) * self.temper.nbeta

    @cached_property
    def samples_with_losses(self) -> int:
        """The number of samples, if the loss is a mean of theirs and there are not too many to keep; else 0."""
        objective, count = self.objective, self.objective.batches.samples
        by_sample = not isinstance(objective.loss, TermsLoss) and has_sample_losses(objective)
        return count if by_sample and count <= MOST_SAMPLES else 0

    def sample_rises(self, move: Tensor) -> np.ndarray:
        """n beta times each sample's part in L - L(theta) at a displacement `(p,)`: `(N,)`, float64."""
        losses = sample_outcomes(self.objective, self.thetas(move[:, None])[:, 0]).losses
        rises: np.ndarray = (losses - self._sample_losses).cpu().numpy()
        return rises * (self.temper.nbeta / self.objective.count)

    @cached_property
    def _sample_losses(self) -> Tensor:
        return sample_outcomes(self.objective).losses

    def thetas(self, moves: Tensor) -> Tensor:
        """The points `(P, K)` at displacements `(p, K)`."""
        thetas = self.objective.theta[:, None].repeat(1, moves.shape[1])
        place = 0
        for begin, end in self.group.ranges:
            thetas[begin:end] += moves[place : place + end - begin]
            place += end - begin
        return thetas

    def _temper_loss(self, rises: Tensor, gradients: Tensor) -> Evaluation:
        """Phi and the group's rows of its gradient, from rises of L `(K,)` and its gradients `(P, K)`."""
        rows = torch.cat([gradients[begin:end] for begin, end in self.group.ranges])
        return Evaluation((self.temper.nbeta * rises).cpu().numpy(), self.temper.nbeta * rows)


class BatchPosterior(LocalPosterior):
    """The same Phi, estimated without bias from `samples` samples at each step, other ones for each chain.

    Differences to the same samples at the checkpoint are taken (control variates: Baker et al. 2019), so that the noise
    vanishes at the checkpoint. Raises TaskError for data that are not in memory or cannot be cut.
    """

    def __init__(
        self, objective: Objective, temper: Temper, group: ParameterGroup, base: float, *, samples: int, seed: int
    ) -> None:
        super().__init__(objective, temper, group, base)
        if objective.batches.whole is None or objective.as_given:
            raise TaskError(
                "--batch draws samples from data in memory that can be cut, and these are not",
                why="batches have other shapes, stay whole, or do not fit into the memory",
                fix="leave --batch out, with --limit for fewer samples",
            )
        self.whole, self.samples, self.seed = objective.batches.whole, samples, seed
        self.gradient = objective.gradient()

    def __call__(self, moves: Tensor, step: int) -> Evaluation:
        """Phi at displacements `(p, K)`, estimated from the samples of this step."""
        thetas = self.thetas(moves)
        rises, gradients = [], torch.empty_like(thetas)
        for chain in range(moves.shape[1]):
            batch = self.whole.take(self._places(chain, step))
            rise, gradients[:, chain] = self._difference(thetas[:, chain], batch)
            rises.append(rise)
        return self._temper_loss(torch.stack(rises), gradients + self.gradient[:, None])

    def _difference(self, theta: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """An estimate of L and its gradient at theta less those at the checkpoint, from a batch.

        The sums over the batch are divided by the terms that as many samples count on average: division by its own
        would leave a bias where samples count different numbers of tokens.
        """
        objective = self.objective
        count = objective.count * self.samples / objective.batches.samples
        total, gradient = objective.batch_gradient(theta, batch)
        at_checkpoint, own = objective.batch_gradient(objective.theta, batch)
        return (total - at_checkpoint) / count, gradient.sub_(own).div_(count)

    def _places(self, chain: int, step: int) -> list[int]:
        """The samples of a chain's step, drawn without replacement within an epoch."""
        total = self.objective.batches.samples
        per_epoch = max(1, total // self.samples)
        epoch, part = divmod(step, per_epoch)
        order = torch.argsort(seeds.normal(total, torch.zeros(()), self.seed, "batches", self.group.name, chain, epoch))
        places: list[int] = order[part * self.samples : (part + 1) * self.samples].tolist()
        return places


def default_nbeta(objective: Objective) -> float:
    """n / log n, with n the terms that the loss averages (Watanabe 2013, the WBIC); raises UsageError for n below 3."""
    count = objective.count
    if count < 3:
        raise UsageError(
            f"n beta = n / log n of {count:g} terms of the loss means nothing", fix="--nbeta, or more data"
        )
    return float(count / math.log(count))


def default_gamma(theta: Tensor) -> float:
    """The precision with which a weight moves as far as weights are large: 1 / mean theta^2.

    Raises UsageError where all weights are zero.
    """
    square = float(theta.square().mean())
    if not square > 0:
        raise UsageError("the default of --gamma is 1 / mean weight^2, and all weights are zero", fix="--gamma")
    return 1 / square


@dataclass(frozen=True)
class Starts:
    """Where chains start, `(p, K)`, and the losses that were evaluated to find out."""

    positions: Tensor
    losses: int


def find_starts(posterior: LocalPosterior, chains: int, seed: int) -> Starts:
    """Displacements at which chains start: none, and draws of the localizing Gaussian, in turn.

    A draw is halved until n beta (L - L(theta)) is at most p / 2, which is what a regular model has on average: the
    chains begin below and above the losses of the posterior, so that their agreement says something.
    """
    like, scale, losses = posterior.objective.theta, posterior.temper.gamma**-0.5, 0
    positions = torch.zeros((posterior.size, chains), dtype=like.dtype, device=like.device)
    for chain in range(1, chains, 2):
        move = scale * seeds.normal(posterior.size, like, seed, "start", posterior.group.name, chain)
        for _ in range(HALVINGS):
            losses += 1
            if float(posterior.excess(move[:, None])) <= posterior.size / 2:
                break
            move = move / 2
        positions[:, chain] = move
    return Starts(positions, losses)
