"""Ways of decomposing a weight matrix and of removing the components of least mass.

W is `(p, q)` and float64. Each method defines components and their mass. All methods but noise keep the components of
largest mass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.algorithms.matrices import staircase
from landscape.algorithms.matrices.staircase import Staircase


@dataclass(frozen=True)
class Eigenbasis:
    """Eigenvectors in columns, with their eigenvalues, descending and nonnegative, float64."""

    vectors: Tensor
    values: np.ndarray


@dataclass(frozen=True)
class Removal:
    """A weight without some components: `kept` of `size` remain, with shares `mass` of mass and `energy` of ||W||^2.

    The method defines the components: pairs of directions, or singular values. `ties` components have the same mass as
    the last one that was kept, and some of them were removed.
    """

    make: Callable[[], Tensor]  # computes the weight, which may cost two matrix products of its size
    kept: int
    size: int
    mass: float
    energy: float
    ties: int = 0

    @property
    def weight(self) -> Tensor:
        """The weight `(p, q)` without the removed components, computed anew."""
        return self.make()


def eigenbasis(matrix: Tensor) -> Eigenbasis:
    """Eigenvectors and eigenvalues of a symmetric positive semidefinite matrix, largest first, in float64.

    Only the matrix' lower triangle is read. Negative eigenvalues, which are rounding, become 0.
    """
    values, vectors = torch.linalg.eigh(matrix.double())
    return Eigenbasis(vectors.flip(1), values.flip(0).clamp_min(0).cpu().numpy())


def rotate(weight: Tensor, left: Eigenbasis, right: Eigenbasis) -> Tensor:
    """The coordinates `(p, q)` of a weight between two bases, float64."""
    return left.vectors.T @ weight.double() @ right.vectors


class RemovalMethod(ABC):
    """Removes from one weight the components that the method ranks lowest."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight.double()

    @abstractmethod
    def remove(self, rho: float) -> Removal:
        """The weight with components of a share rho of the mass; for rho = 1 the weight itself, bit for bit."""

    def whole(self) -> Removal:
        """Nothing removed."""
        return Removal(lambda: self.weight, self.weight.numel(), self.weight.numel(), 1.0, 1.0)

    def energy(self, left: Tensor) -> float:
        """The share of `left` in the sum of squares of the weight; 1 for a weight of zeros."""
        whole = float(self.weight.square().sum())
        return float(left.square().sum()) / whole if whole else 1.0


class RotatedComponents(RemovalMethod):
    """Components u_i v_j' of a weight between two eigenbases, with mass lambda_i mu_j.

    For K-FAC the bases are those of G, of output gradients, and of A, of inputs.
    """

    def __init__(self, weight: Tensor, left: Eigenbasis, right: Eigenbasis, coordinates: Tensor | None = None) -> None:
        super().__init__(weight)
        self.left, self.right = left, right
        self.coordinates = rotate(self.weight, left, right) if coordinates is None else coordinates

    def remove(self, rho: float) -> Removal:
        """The weight with the fewest heaviest components whose mass is at least a share rho."""
        if rho >= 1:
            return self.whole()
        return self.within(staircase.heaviest_prefix(self.left.values, self.right.values, rho))

    def within(self, kept: Staircase) -> Removal:
        """The weight with these components alone."""
        mask = self.mask_of(kept)
        total = float(self.left.values.sum() * self.right.values.sum())
        mass = kept.mass(self.left.values, self.right.values) / total if total else 1.0
        return self.of(mask, mass, kept.ties)

    def of(self, mask: Tensor, mass: float = float("nan"), ties: int = 0) -> Removal:
        """The weight with the components of a mask `(p, q)` alone."""
        energy = self.energy(self.coordinates * mask)
        return Removal(partial(self.part, mask), int(mask.sum()), mask.numel(), mass, energy, ties)

    def mask_of(self, kept: Staircase) -> Tensor:
        """The components as a mask `(p, q)`."""
        return torch.from_numpy(kept.mask(len(self.right.values))).to(self.weight.device)

    def part(self, mask: Tensor) -> Tensor:
        """The part of the weight that the components of a mask make up, `(p, q)`."""
        return self.left.vectors @ (self.coordinates * mask) @ self.right.vectors.T


class ActivationDirections(RemovalMethod):
    """Whole input directions: the eigenvectors of the inputs' second moments A, with its eigenvalues as mass."""

    def __init__(self, weight: Tensor, right: Eigenbasis) -> None:
        super().__init__(weight)
        self.right = right

    def remove(self, rho: float) -> Removal:
        """The weight restricted to the fewest input directions that hold a share rho of the activations."""
        if rho >= 1:
            return self.whole()
        kept = staircase.heaviest_prefix(np.ones(1), self.right.values, rho)
        vectors = self.right.vectors[:, : kept.count]
        along = self.weight @ vectors
        mass = kept.mass(np.ones(1), self.right.values) / max(float(self.right.values.sum()), 1e-300)
        return Removal(
            lambda: along @ vectors.T, kept.count * len(along), self.weight.numel(), mass, self.energy(along), kept.ties
        )


class SingularValues(RemovalMethod):
    """Singular values of the weight itself, by their squares; `parts` are its decomposition, if it is known."""

    def __init__(self, weight: Tensor, parts: tuple[Tensor, Tensor, Tensor] | None = None) -> None:
        super().__init__(weight)
        found: tuple[Tensor, Tensor, Tensor] = parts or torch.linalg.svd(self.weight, full_matrices=False)
        self.u, self.s, self.v = found

    def remove(self, rho: float) -> Removal:
        """The weight with the fewest singular values whose squares hold a share rho."""
        if rho >= 1:
            return self.whole()
        squares = self.s.square().cpu().numpy()
        kept = staircase.heaviest_prefix(np.ones(1), squares, rho)
        count = kept.count
        energy = self.energy(self.s[:count])
        return Removal(
            lambda: (self.u[:, :count] * self.s[:count]) @ self.v[:count], count, len(self.s), energy, energy, kept.ties
        )


class RandomizedControl(RemovalMethod):
    """A random removal of the same size as another method's, as a control."""

    def __init__(self, like: RotatedComponents, seed: int, *path: str | int) -> None:
        super().__init__(like.weight)
        self.like, self.seed, self.path = like, seed, path

    def remove(self, rho: float) -> Removal:
        """The random removal of the size of the other method's at rho."""
        return self.whole() if rho >= 1 else self.instead(self.like.remove(rho))

    @abstractmethod
    def instead(self, other: Removal) -> Removal:
        """The removal that replaces the other method's."""


class RandomComponents(RandomizedControl):
    """Keeps as many components as another method, drawn at random."""

    def instead(self, other: Removal) -> Removal:
        """The weight with as many random components as the other removal keeps."""
        prefix = torch.arange(self.weight.numel(), device=self.weight.device) < other.kept
        return self.like.of(random_mask(prefix.view(self.weight.shape), self.seed, *self.path))


class MatchedNoise(RandomizedControl):
    """Adds normal noise to the whole weight, with the norm of the part that another method removes."""

    def instead(self, other: Removal) -> Removal:
        """The weight with noise of the norm of the other removal."""
        weight = self.weight + noise_like(self.weight - other.weight, self.seed, *self.path)
        return Removal(lambda: weight, self.weight.numel(), self.weight.numel(), float("nan"), self.energy(weight))


def random_mask(mask: Tensor, seed: int, *path: str | int) -> Tensor:
    """A mask of the same shape with as many True entries, drawn at random."""
    order = seeds.normal(mask.numel(), mask.double(), seed, "components", *path).argsort()
    shuffled = torch.zeros_like(mask).view(-1)
    shuffled[order[: int(mask.sum())]] = True
    return shuffled.view(mask.shape)


def noise_like(like: Tensor, seed: int, *path: str | int) -> Tensor:
    """Normal noise of the shape and the norm of `like`."""
    normal = seeds.normal(like.numel(), like, seed, "noise", *path).view(like.shape)
    scaled: Tensor = normal * (torch.linalg.vector_norm(like) / torch.linalg.vector_norm(normal))
    return scaled
