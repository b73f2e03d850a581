"""The ball that bounds a perturbation: ||u||_p <= rho, with p = 2 or infinity."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from landscape.choices import Norm
from landscape.compute.inner_products import row_norms

SPHERE_TOLERANCE = 1e-5  # relative distance from the sphere of points that rounding moved off it


@dataclass(frozen=True)
class Ball:
    """||u||_p <= rho for u `(..., P)`."""

    norm: Norm
    rho: float

    def size(self, u: Tensor) -> Tensor:
        """||u||_p over the last axis, float64."""
        order = 2.0 if self.norm == "l2" else float("inf")
        return row_norms(u, order)

    def dual(self, gradient: Tensor) -> Tensor:
        """The dual norm over the last axis, float64: max <gradient, u> over the ball is rho times it."""
        order = 2.0 if self.norm == "l2" else 1.0
        return row_norms(gradient, order)

    def farthest(self, gradient: Tensor) -> Tensor:
        """The point of the ball that is farthest along the gradient; the center if the gradient is zero."""
        if self.norm == "linf":
            return self.rho * gradient.sign()
        length = self.dual(gradient)[..., None].to(gradient)
        point: Tensor = (self.rho * gradient).div_(length)
        return point.masked_fill_(~(length > 0), 0.0)

    def to_sphere(self, u: Tensor) -> Tensor:
        """Scales u `(P,)` in place to the length rho, which projects it onto the sphere of an l2 ball; returns it."""
        u *= self.rho / float(self.size(u))
        return u

    def on_sphere(self, u: Tensor) -> bool:
        """Whether u `(P,)` lies on the sphere of an l2 ball."""
        return self.norm == "l2" and abs(float(self.size(u)) - self.rho) <= SPHERE_TOLERANCE * self.rho
