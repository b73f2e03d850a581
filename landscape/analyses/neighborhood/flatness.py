"""First-order flatness: how large the gradient becomes in a neighbourhood of the weights."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.analyses.base import Plan, Progress, Result, State, Trouble
from landscape.analyses.neighborhood import remarks
from landscape.analyses.neighborhood.perturbation import Perturbation, loss_in_ball, parse_radii, require_finite_base
from landscape.analyses.neighborhood.worst_case import (
    BallMaxima,
    BallObjective,
    BallSearch,
    ascent_columns,
    maximize_in_balls,
)
from landscape.analyses.shared.phases import Phases
from landscape.analyses.shared.timing import seconds_per_gradient
from landscape.fields import Gauge, array, option, scalar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.objective import Objective

RADIUS = 0.05  # SAM's own
STEP_COST = 3.5  # gradients' time of a gradient and a product
EIGENVALUE_PRODUCTS = 40  # of the eigenvalue, and of the starts of both searches
TOL = 1e-3  # residual of the eigenvalue, relative
BASIS, MOST_PRODUCTS = 18, 200  # rows and products for it: rows as two for each of nine starts


@dataclass(frozen=True, kw_only=True)
class FlatnessResult(Result):
    """First-order flatness over radii, with the zeroth-order one beside it; the radii ascend."""

    tables: ClassVar[tuple[str, ...]] = ("rho", "layer")

    rho: np.ndarray = array("rho", help="Radius of the ball.")
    r1: np.ndarray = array("rho", help="rho times the largest ||c g|| that was found in the ball: a lower bound.")
    r0: np.ndarray = array("rho", help="Largest rise of the loss that was found in the ball: a lower bound.")
    r1_over_rho2: np.ndarray = array("rho", help="r1 / rho^2: at a minimum and for small rho, the largest eigenvalue.")
    gradient_over_rho: np.ndarray = array(
        "rho", detail=True, help="||c g|| at the weights over rho: what a gradient adds to that."
    )
    excess: np.ndarray = array("rho", help="The rest: (largest ||c g|| - ||c g|| at the weights) / rho.")
    r1_ratio: np.ndarray = array("rho", detail=True, help="r1 / (rho^2 lambda_1).")
    r0_ratio: np.ndarray = array("rho", detail=True, help="2 r0 / (rho^2 lambda_1): also 1 at a minimum for small rho.")
    gam_r1: np.ndarray = array("rho", detail=True, help="GAM's estimate of r1: one ascent step along H g.")
    gam_fraction: np.ndarray = array("rho", help="gam_r1 / r1.")
    starts: np.ndarray = array("rho", detail=True, help="Ascents that looked for r1.")
    hits: np.ndarray = array("rho", help="Of these, within 1 % of the largest rise of ||c g||.")
    spread: np.ndarray = array("rho", detail=True, help="(Largest - smallest) / largest of these rises.")
    stationarity: np.ndarray = array(
        "rho", detail=True, help="1 - cos(u, slope) at the maximiser u: 0 at a local maximum."
    )
    mode: np.ndarray = array(
        "rho",
        detail=True,
        words=True,
        help="unique if all ascents found the same maximum, multimodal if not, or one start.",
    )
    resolved: np.ndarray = array("rho", detail=True, help="Whether the rise of ||c g|| stands clear of its rounding.")
    start: np.ndarray = array("start", help="Where each ascent began.")
    start_rises: np.ndarray = array("rho", "start", help="By how much ||c g|| rose in each ascent.")
    layer: np.ndarray | None = array("layer", help="Module that owns parameters, largest share first.", optional=True)
    layer_parameters: np.ndarray | None = array("layer", help="Its size.", optional=True)
    layer_share: np.ndarray | None = array(
        "layer", help="Its share in slope times move at the maximiser of the largest rho.", optional=True
    )
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    scaled_gradient: float = scalar("||c g|| at the weights; the gradient norm where c = 1.")
    lambda_1: float = scalar(
        "Largest eigenvalue of C H C; of the Hessian where c = 1.", gauge=Gauge("lambda_1_residual")
    )
    lambda_1_residual: float = scalar("Its residual.")
    normalised_loss: float | None = scalar("Mean loss of the normalised logits (--logit-norm).", optional=True)
    rounding: float = scalar("The smallest rise of ||c g|| that stands clear of rounding.")
    smallest_rho: float | None = scalar("The radius where ||c g|| rises about so much.", optional=True)
    gradients: int = scalar("Gradients of the mean loss, for r0 and r1.")
    products: int = scalar("Products with the Hessian in the ascents of r1.")
    steps: int = scalar("Evaluations of each ascent at most.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")

    def trouble(self) -> Trouble | None:
        import numpy as np

        broken = ~np.isfinite(self.r1) | ~np.isfinite(self.r0)
        if not broken.any():
            return None
        why = f"loss or gradient are not finite within rho = {self.rho[broken.argmax()]:g}"
        return Trouble(why, "a smaller --rho, or --dtype float64", "not finite")

    def not_unique(self, field: str, place: tuple[int, ...]) -> str:
        return remarks.multimodal(self.mode, place) if field in ("r1", "r1_over_rho2", "excess", "r1_ratio") else ""

    def remarks(self) -> list[str]:
        smallest = f"{self.smallest_rho:.2g}" if self.smallest_rho else ""
        found = remarks.rounding(self.rho[~self.resolved], "the gradient's norm", self.rounding, smallest)
        if self.steps == 1:
            return found
        sloping = (self.stationarity > remarks.SLOPING) & self.resolved
        found += remarks.alone(self.rho[(self.hits == 1) & (self.starts > 1)], "r1")
        return found + remarks.unfinished(self.rho[sloping], "r1")


@dataclass(frozen=True)
class Flatness(Perturbation):
    """R1 = rho max ||grad L|| over the ball (Zhang et al. 2023), beside R0 = max L - L(w) (Foret et al. 2021)."""

    name: ClassVar[str] = "flatness"
    summary: ClassVar[str] = (
        "First-order flatness: the largest gradient norm around the weights, beside the largest loss."
    )
    result: ClassVar[type[Result]] = FlatnessResult

    rho: tuple[float, ...] = option((RADIUS,), help="Radius of the l2 ball; several give a curve.")
    starts: int = option(9, help="Ascents: the slope, eigenvectors, random ones; 5 are fast.", min=1)
    steps: int = option(20, help="Evaluations of each ascent at most.", min=1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rho", tuple(sorted(set(parse_radii(self.rho, "--rho")))) or (RADIUS,))
        super().__post_init__()

    def measure(self, objective: Objective, resume: State | None = None) -> Generator[Progress, None, FlatnessResult]:
        subject, scale, groups = self.subject(objective), self.scale(objective), self.groups(objective)
        reference = objective.reference
        base, gradient = subject.value_and_gradient()
        require_finite_base(float(base), self.logit_norm)
        length = _norm(scale * gradient)
        floor = self.floor(objective, lambda theta: _norm(scale * subject.gradient(theta)), length)
        search = BallSearch("l2", self.rho, self.starts, self.steps, None, self.seed)
        phases = Phases(resume)
        hill, steep = loss_in_ball(scale, self.starts), gradient_norm_in_ball(scale)
        zeroth = yield from phases.run(
            "zeroth", lambda saved: maximize_in_balls(subject, scale, hill, search, (), saved)
        )
        first = yield from phases.run(
            "first", lambda saved: maximize_in_balls(subject, scale, steep, search, groups, saved)
        )
        value, residual = yield from phases.run(
            "eigenvalue", lambda saved: _eigenvalue(subject, scale, self.seed, saved)
        )
        return FlatnessResult(
            **self._curves(zeroth, first, length, value),
            **ascent_columns(first, groups),
            resolved=first.largest()[0] > floor,
            loss=reference.loss,
            gradient_norm=reference.gradient_norm,
            scaled_gradient=length,
            lambda_1=value,
            lambda_1_residual=residual,
            normalised_loss=None if subject is objective else float(base),
            rounding=floor,
            smallest_rho=floor / value if value > 0 else None,
            gradients=zeroth.evaluations + first.evaluations + 2,
            products=first.evaluations + 1,
            steps=self.steps,
            parameters=objective.space.size,
            samples=objective.batches.samples,
        )

    def _curves(self, zeroth: BallMaxima, first: BallMaxima, length: float, eigenvalue: float) -> dict[str, Any]:
        """Both flatnesses over rho, in what they are made of; `length` is ||c g|| at the weights."""
        import numpy as np

        radii = np.array(self.rho)
        rise, loss_rise = first.largest()[0], zeroth.largest()[0]
        largest, estimate = length + rise, length + first.one_step[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            return {
                "rho": radii,
                "r1": radii * largest,
                "r0": loss_rise,
                "r1_over_rho2": largest / radii,
                "gradient_over_rho": length / radii,
                "excess": rise / radii,
                "r1_ratio": largest / (radii * eigenvalue),
                "r0_ratio": 2 * loss_rise / (radii**2 * eigenvalue),
                "gam_r1": radii * estimate,
                "gam_fraction": estimate / largest,
            }

    def plan(self, objective: Objective) -> Plan:
        each = self.starts * self.steps * len(self.rho)
        seconds = seconds_per_gradient(objective)
        return Plan(
            bytes=(2 * self.starts + 6) * objective.theta.nbytes,
            products=each + EIGENVALUE_PRODUCTS,
            seconds=seconds * (each * (1 + STEP_COST) + EIGENVALUE_PRODUCTS * (STEP_COST - 1)),
            facts={"gradients": f"at most {2 * each:,}", "gradient": f"{seconds:.3g} s"},
        )


def gradient_norm_in_ball(scale: Tensor) -> Callable[[Objective], BallObjective]:
    """||c g|| as a function of u; its slope is C H C v with v the unit vector along c g."""

    def hill(part: Objective) -> BallObjective:
        import numpy as np
        import torch

        from landscape.operators import HessianOperator

        def at(theta: Tensor) -> tuple[float, Tensor]:
            steep = scale * part.gradient(theta)
            length = _norm(steep)
            if not 0 < length < float("inf"):
                return length, torch.zeros_like(steep)
            return length, scale * (HessianOperator(part, theta) @ (scale * (steep / length)))

        def evaluate(rows: Tensor) -> tuple[np.ndarray, Tensor]:
            found = [at(part.theta + scale * row) for row in rows]
            return np.array([value for value, _ in found]), torch.stack([slope for _, slope in found])

        base, slope = at(part.theta)
        return BallObjective(base, slope, evaluate, together=1)

    return hill


def _norm(vector: Tensor) -> float:
    import torch

    return float(torch.linalg.vector_norm(vector, dtype=torch.float64))


def _eigenvalue(
    objective: Objective, scale: Tensor, seed: int, saved: State
) -> Generator[Progress, None, tuple[float, float]]:
    """The largest eigenvalue of C H C and its residual; yields after each product."""
    from landscape.algorithms.lanczos import lanczos, ritz
    from landscape.algorithms.lanczos.state import LanczosState, WantedPairs
    from landscape.operators import HessianOperator, ScaledOperator

    wanted = WantedPairs(1, tol=TOL)
    operator = ScaledOperator(HessianOperator(objective), scale)
    state = earlier = LanczosState.from_arrays(dict(saved), operator.like) if saved else None
    for state in lanczos.lanczos(
        operator, wanted, seed=seed, max_basis=BASIS, max_products=MOST_PRODUCTS, resume=earlier
    ):
        note = f"largest eigenvalue, {state.products} products"
        yield Progress(min(state.products, MOST_PRODUCTS), MOST_PRODUCTS, note, state.arrays)
    assert state is not None  # MOST_PRODUCTS >= 1
    pairs = ritz.ritz_pairs(state, wanted)
    return float(pairs.values[0]), float(ritz.true_residuals(pairs.residuals, state)[0])
