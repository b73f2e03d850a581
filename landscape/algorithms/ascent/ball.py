"""The ball in which a perturbation may lie: ||u||_p <= rho, with p = 2 or infinity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.choices import Norm

EDGE = 1e-5  # relative: what rounding may put a point of the sphere inside or outside of it


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

    def dual(self, slope: Tensor) -> Tensor:
        """The dual norm: max <slope, u> over the ball is rho times it; float64."""
        order = 2 if self.norm == "l2" else 1
        size: Tensor = torch.linalg.vector_norm(slope, ord=order, dim=-1, dtype=torch.float64)
        return size

    def farthest(self, slope: Tensor) -> Tensor:
        """The point of the ball that is farthest along the slope; the centre if the slope is zero."""
        if self.norm == "linf":
            return self.rho * slope.sign()
        length = self.dual(slope)[..., None].to(slope)
        return torch.where(length > 0, self.rho * slope / length, torch.zeros_like(slope))

    def on_sphere(self, u: Tensor) -> bool:
        """Whether u `(P,)` lies on the surface of a round ball."""
        return self.norm == "l2" and abs(float(self.size(u)) - self.rho) <= EDGE * self.rho
