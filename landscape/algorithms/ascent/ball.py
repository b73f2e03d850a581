"""The ball that bounds a perturbation: ||u||_p <= rho, with p = 2 or infinity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.choices import Norm

SPHERE_TOLERANCE = 1e-5  # relative distance from the sphere of points that rounding moved off it


@dataclass(frozen=True)
class Ball:
    """||u||_p <= rho for u `(..., P)`."""

    norm: Norm
    rho: float

    def size(self, u: Tensor) -> Tensor:
        """||u||_p over the last axis, float64."""
        order = 2 if self.norm == "l2" else float("inf")
        size: Tensor = torch.linalg.vector_norm(u, ord=order, dim=-1, dtype=torch.float64)
        return size

    def dual(self, gradient: Tensor) -> Tensor:
        """The dual norm over the last axis, float64: max <gradient, u> over the ball is rho times it."""
        order = 2 if self.norm == "l2" else 1
        size: Tensor = torch.linalg.vector_norm(gradient, ord=order, dim=-1, dtype=torch.float64)
        return size

    def farthest(self, gradient: Tensor) -> Tensor:
        """The point of the ball that is farthest along the gradient; the center if the gradient is zero."""
        if self.norm == "linf":
            return self.rho * gradient.sign()
        length = self.dual(gradient)[..., None].to(gradient)
        return torch.where(length > 0, self.rho * gradient / length, torch.zeros_like(gradient))

    def to_sphere(self, u: Tensor) -> Tensor:
        """Scales u `(P,)` in place to the length rho, which projects it onto the sphere of an l2 ball; returns it."""
        u *= self.rho / float(self.size(u))
        return u

    def on_sphere(self, u: Tensor) -> bool:
        """Whether u `(P,)` lies on the sphere of an l2 ball."""
        return self.norm == "l2" and abs(float(self.size(u)) - self.rho) <= SPHERE_TOLERANCE * self.rho
