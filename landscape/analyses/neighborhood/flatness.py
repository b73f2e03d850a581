"""First-order flatness: how large the gradient becomes in a neighborhood of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.analyses.base import MeasurementModule, Result, Trouble
from landscape.analyses.neighborhood.perturbation import (
    STATIONARITY_BOUND,
    Perturbation,
    WeightScaling,
    multimodal_reason,
    parse_globs,
    parse_radii,
    rounding_remark,
    scaling_title,
    single_start_remark,
    slope_remark,
)
from landscape.choices import Adaptive
from landscape.fields import Gauge, array, option, scalar

if TYPE_CHECKING:
    import numpy as np

DEFAULT_RADIUS = 0.05  # the rho of SAM (Foret et al. 2021, section 3.1)


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
        """Inconclusive if the loss or the gradient is not finite at some point of a ball."""
        import numpy as np

        broken = ~np.isfinite(self.r1) | ~np.isfinite(self.r0)
        if not broken.any():
            return None
        why = f"loss or gradient are not finite within rho = {self.rho[broken.argmax()]:g}"
        return Trouble(why, "a smaller --rho, or --dtype float64", "not finite")

    def not_unique(self, field: str, place: tuple[int, ...]) -> str:
        """The ascents of r1 may have found several maxima."""
        return multimodal_reason(self.mode, place) if field in ("r1", "r1_over_rho2", "excess", "r1_ratio") else ""

    def remarks(self) -> list[str]:
        """Remarks on radii within rounding, and on maxima that may not be the largest."""
        smallest = f"{self.smallest_rho:.2g}" if self.smallest_rho else ""
        sentences = rounding_remark(self.rho[~self.resolved], "the gradient's norm", self.rounding, smallest)
        if self.steps == 1:
            return sentences
        sloping = (self.stationarity > STATIONARITY_BOUND) & self.resolved
        sentences += single_start_remark(self.rho[(self.hits == 1) & (self.starts > 1)], "r1")
        return sentences + slope_remark(self.rho[sloping], "r1")


@dataclass(frozen=True)
class Flatness(Perturbation):
    """R1 = rho max ||grad L|| over the ball (Zhang et al. 2023), beside R0 = max L - L(w) (Foret et al. 2021).

    >>> import landscape
    >>> objective = landscape.load("digits-mlp.pt", limit=100)
    >>> result = landscape.run(landscape.Flatness(rho=0.05, starts=2, steps=3), objective)
    >>> bool((result.r0 <= result.r1).all())
    True
    """

    name: ClassVar[str] = "flatness"
    summary: ClassVar[str] = (
        "First-order flatness: the largest gradient norm around the weights, beside the largest loss."
    )
    result: ClassVar[type[Result]] = FlatnessResult

    rho: tuple[float, ...] = option((DEFAULT_RADIUS,), help="Radius of the l2 ball; several give a curve.")
    starts: int = option(9, help="Ascents: along the slope, eigenvectors, random directions; 5 are fast.", min=1)
    steps: int = option(20, help="Evaluations of each ascent at most.", min=1)
    adaptive: Adaptive = option(
        "none",
        title=lambda stored: "" if stored["adaptive"] == "none" else scaling_title(stored),
        help="Scale of a weight: none (1), element (its size) or filter (its filter's norm).",
    )
    adaptive_eta: float = option(0.0, help="Added to that scale, with --adaptive.", min=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.radii, self.scaling  # raise UsageError for values that are not allowed

    @property
    def radii(self) -> tuple[float, ...]:
        """The radii of the balls in ascending order, each once."""
        return tuple(sorted(set(parse_radii(self.rho, "--rho")))) or (DEFAULT_RADIUS,)

    @property
    def scaling(self) -> WeightScaling:
        """The scale of the weights that these options describe."""
        return WeightScaling(self.adaptive, self.adaptive_eta, parse_globs(self.unscaled), parse_globs(self.fixed))

    def identity(self) -> dict[str, Any]:
        """The options that decide the result, as they are measured: stored and compared between runs."""
        return {**super().identity(), "rho": self.radii}

    def measurement(self) -> MeasurementModule:
        """The module that measures."""
        from landscape.analyses.neighborhood import flatness_measurement

        return flatness_measurement
