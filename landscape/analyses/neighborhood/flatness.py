"""First-order flatness: how large the gradient becomes in a neighborhood of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.analyses.base import MeasurementModule, Result, Trouble
from landscape.analyses.neighborhood.perturbation import (
    STATIONARITY_BOUND,
    Perturbation,
    WeightScaling,
    agreement_remark,
    multimodal_reason,
    parse_globs,
    parse_radii,
    rounding_remark,
    scaling_title,
    slope_remark,
)
from landscape.analyses.shared.cost import cost_scalar
from landscape.analyses.shared.meaning import stored_options
from landscape.choices import Adaptive
from landscape.fields import Gauge, array, option, scalar

if TYPE_CHECKING:
    import numpy as np

DEFAULT_RADIUS = 0.05  # the rho of SAM (Foret et al. 2021, section 3.1)


@dataclass(frozen=True, kw_only=True)
class FlatnessResult(Result):
    """First-order and zeroth-order flatness over ascending radii."""

    tables: ClassVar[tuple[str, ...]] = ("rho", "layer")
    facts: ClassVar[tuple[str, ...]] = ("loss", "lambda_1", "gradients")

    rho: np.ndarray = array("rho", help="Radius of the ball.")
    r1: np.ndarray = array("rho", help="rho times the largest ||c g|| found in the ball: a lower bound of the maximum.")
    r0: np.ndarray = array("rho", help="Largest rise of the loss found in the ball: a lower bound of the maximum.")
    r1_over_rho2: np.ndarray = array(
        "rho", help="r1 / rho^2, which at a minimum and for small rho is the largest eigenvalue.", label="r1 / rho^2"
    )
    gradient_over_rho: np.ndarray = array(
        "rho",
        detail=True,
        help="||c g|| at the weights / rho: the part of r1 / rho^2 that the gradient itself contributes.",
        label="gradient norm / rho",
    )
    excess: np.ndarray = array(
        "rho",
        help="(Largest ||c g|| - ||c g|| at the weights) / rho: the other part of r1 / rho^2.",
        label="rise of the gradient norm / rho",
    )
    r1_ratio: np.ndarray = array(
        "rho",
        detail=True,
        help="r1 / (rho^2 lambda_1), which at a minimum and for small rho is 1.",
        label="r1 / (rho^2 lambda_1)",
    )
    r0_ratio: np.ndarray = array(
        "rho",
        detail=True,
        help="2 r0 / (rho^2 lambda_1), which at a minimum and for small rho is 1.",
        label="2 r0 / (rho^2 lambda_1)",
    )
    gam_r1: np.ndarray = array(
        "rho", detail=True, help="GAM's estimate of r1: one ascent step along H g.", label="r1 by GAM"
    )
    gam_fraction: np.ndarray = array("rho", help="gam_r1 / r1.", percent=True, label="r1 by GAM / r1")
    starts: np.ndarray = array("rho", detail=True, help="Number of ascents that searched r1.")
    hits: np.ndarray = array(
        "rho", help="Ascents that ended within 1 % of the largest rise of ||c g||.", label="starts that reached it"
    )
    spread: np.ndarray = array(
        "rho", detail=True, help="(Largest - smallest) / largest rise of the ascents.", label="spread of the starts"
    )
    stationarity: np.ndarray = array(
        "rho", detail=True, help="1 - cos(u, slope) at the maximizer u: 0 at a local maximum."
    )
    mode: np.ndarray = array(
        "rho",
        detail=True,
        words=True,
        help="unique if all ascents found the same maximum, multimodal if not; one start if there was only one.",
        label="maximum",
    )
    resolved: np.ndarray = array(
        "rho", detail=True, help="Whether the rise of ||c g|| is clearly above its rounding.", label="beyond rounding"
    )
    start: np.ndarray = array("start", help="Start of each ascent.")
    start_rises: np.ndarray = array("rho", "start", help="Rise of ||c g|| in each ascent.")
    layer: np.ndarray | None = array(
        "layer", help="Module that owns parameters, in descending order of its share.", optional=True
    )
    layer_parameters: np.ndarray | None = array("layer", help="Parameters of the module.", optional=True)
    layer_share: np.ndarray | None = array(
        "layer",
        help="Share of the module in <slope, move> at the maximizer of the largest rho.",
        optional=True,
        percent=True,
    )
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    scaled_gradient: float = scalar("||c g|| at the weights; the gradient norm where c = 1.")
    lambda_1: float = scalar(
        "Largest eigenvalue of C H C; of the Hessian where c = 1.", gauge=Gauge("lambda_1_residual"), label="lambda_1"
    )
    lambda_1_residual: float = scalar("Residual of lambda_1.")
    normalised_loss: float | None = scalar("Mean loss of the normalized logits (--logit-norm).", optional=True)
    rounding: float = scalar("The smallest rise of ||c g|| that is clearly above rounding.")
    smallest_rho: float | None = scalar("The radius at which ||c g|| rises by about `rounding`.", optional=True)
    gradients: int = scalar("Gradients of the mean loss evaluated for r0 and r1.")
    products: int = scalar("Hessian-vector products in the ascents of r1.")
    cost_gradients: float | None = cost_scalar()
    steps: int = scalar("Largest number of evaluations of each ascent.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")

    def inconclusive(self) -> Trouble | None:
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

    def meaning(self) -> str:
        """How large the gradient is known to become in the largest ball, if that is beyond rounding."""
        if not self.resolved[-1] or self.normalised_loss is not None:
            return ""
        rho, largest = float(self.rho[-1]), float(self.r1[-1] / self.rho[-1])
        scaled = stored_options(self).get("adaptive", "none") != "none"
        times = f", {largest / self.scaled_gradient:.3g} times that at the weights" if self.scaled_gradient > 0 else ""
        norm = f"the norm of the {'scaled ' if scaled else ''}gradient"
        return f"somewhere in the ball of rho = {rho:g} {norm} is at least {largest:.3g}{times}"

    def remarks(self) -> list[str]:
        """Remarks on radii within rounding, and on maxima that may not be the largest."""
        smallest = f"{self.smallest_rho:.2g}" if self.smallest_rho else ""
        sentences = rounding_remark(self.rho[~self.resolved], "the gradient's norm", self.rounding, smallest)
        if self.steps == 1:
            return sentences
        sloping = (self.stationarity > STATIONARITY_BOUND) & self.resolved
        sentences += agreement_remark(self.rho, self.hits, self.starts, "r1")
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
    summary: ClassVar[str] = "First-order flatness: the largest gradient around the weights."
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
