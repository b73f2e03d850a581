"""The result of `sharpness`: rises of the mean loss over radii, and what is known of their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.base import Result, Trouble
from landscape.analyses.neighborhood.perturbation import (
    STATIONARITY_BOUND,
    agreement_remark,
    multimodal_reason,
    rounding_remark,
    slope_remark,
)
from landscape.fields import Gauge, array, scalar

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class SharpnessResult(Result):
    """Rises of the mean loss over ascending radii, in the worst case and on average, with their errors."""

    tables: ClassVar[tuple[str, ...]] = ("rho", "layer")

    rho: np.ndarray = array("rho", help="Radius of the ball.")
    s_max: np.ndarray | None = array(
        "rho",
        help="Largest rise of the loss found in the ball: a lower bound of the maximum.",
        optional=True,
        gauge=Gauge(
            floor="rounding",
            advice='gate on it with norm = "linf" in [check.sharpness]: the maximum is then mostly unique',
        ),
    )
    starts: np.ndarray | None = array("rho", detail=True, help="Number of ascents that searched s_max.", optional=True)
    hits: np.ndarray | None = array(
        "rho", help="Ascents that ended within 1 % of s_max; the smallest number of any batch.", optional=True
    )
    spread: np.ndarray | None = array(
        "rho", detail=True, help="(Largest - smallest) / largest rise of the ascents.", optional=True
    )
    stationarity: np.ndarray | None = array(
        "rho",
        detail=True,
        help="1 - <u, z> / (rho ||z||*) with z the slope at the maximizer u: 0 at a local maximum.",
        optional=True,
    )
    mode: np.ndarray | None = array(
        "rho",
        words=True,
        help="unique if all ascents found the same maximum, multimodal if not; one start if there was only one.",
        optional=True,
    )
    average_rho: np.ndarray | None = array(
        "rho", detail=True, help="Standard deviation of the noise; the bound of uniform noise.", optional=True
    )
    s_avg: np.ndarray | None = array(
        "rho",
        help="Mean rise of the loss under the noise.",
        optional=True,
        gauge=Gauge("s_avg_se", "s_avg_draws", "rounding", advice="gate on it: checkpoints share its antithetic draws"),
    )
    s_avg_se: np.ndarray | None = array("rho", help="Standard error of s_avg over the draws.", optional=True)
    s_avg_interval: np.ndarray | None = array("rho", "bound", help="95 % t-interval of s_avg.", optional=True)
    s_avg_draws: np.ndarray | None = array(
        "draw",
        "rho",
        help="Mean rise of each antithetic pair, minus the part that the control variate explains.",
        optional=True,
    )
    resolved: np.ndarray = array(
        "rho", detail=True, help="Whether the rises are clearly above the rounding of the loss."
    )
    keskar: np.ndarray | None = array("rho", help="100 s_max / (1 + loss), with --preset keskar.", optional=True)
    low_pass: np.ndarray | None = array("rho", help="loss + s_avg, with --preset low-pass.", optional=True)
    s_max_law: np.ndarray | None = array(
        "rho",
        detail=True,
        help="rho ||c g||* + rho^2 lambda / 2, which s_max approaches as rho falls (lambda in an l2 ball only).",
        optional=True,
    )
    s_avg_law: np.ndarray | None = array(
        "rho",
        detail=True,
        help="Half the trace of C H C times the noise's variance, which s_avg approaches as rho falls.",
        optional=True,
    )
    start: np.ndarray | None = array("start", help="Start of each ascent.", optional=True)
    start_rises: np.ndarray | None = array(
        "rho", "start", help="Rise that each ascent reached; the mean over batches.", optional=True
    )
    layer: np.ndarray | None = array(
        "layer", help="Module that owns parameters, in descending order of its share.", optional=True
    )
    layer_parameters: np.ndarray | None = array("layer", help="Parameters of the module.", optional=True)
    layer_share: np.ndarray | None = array(
        "layer", help="Share of the module in <slope, move> at the maximizer of the largest rho.", optional=True
    )
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    normalised_loss: float | None = scalar("Mean loss of the normalized logits (--logit-norm).", optional=True)
    scaled_gradient: float | None = scalar(
        "||c g||, in the dual norm of the ball; the mean over batches.", optional=True
    )
    scaled_curvature: float | None = scalar("Largest eigenvalue of C H C to 5 %; the mean over batches.", optional=True)
    scaled_trace: float | None = scalar("Estimated trace of C H C.", optional=True)
    scaled_trace_se: float | None = scalar("Standard error of scaled_trace over the probes.", optional=True)
    rounding: float = scalar("The smallest rise that is clearly above rounding.")
    smallest_rho: float | None = scalar("The radius whose s_max is about that rise.", optional=True)
    smallest_average_rho: float | None = scalar("The noise whose s_avg is about that rise.", optional=True)
    gradients: int = scalar("Gradients evaluated for s_max: of the mean loss, or with --m of the loss of a batch.")
    draws: int = scalar("Antithetic pairs for s_avg; each evaluates two losses for every rho.")
    steps: int | None = scalar("Largest number of gradients of each ascent.", optional=True)
    m: int = scalar("Samples in a batch; the worst cases of batches are averaged.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")
    rtol: float | None = scalar("Largest half-width that was asked for, relative to s_avg (--rtol).", optional=True)

    def inconclusive(self) -> Trouble | None:
        """Inconclusive if a loss in a ball is not finite, or an interval is wider than `rtol` allows."""
        import numpy as np

        for name, radii in (("s_max", self.rho), ("s_avg", self.average_rho)):
            values = getattr(self, name)
            if values is not None and radii is not None and not np.isfinite(values).all():
                radius = radii[int((~np.isfinite(values)).argmax())]
                why = f"the loss is not finite within rho = {radius:g} ({name})"
                return Trouble(why, "a smaller --rho, or --dtype float64", "not finite")
        if self.rtol is not None and self.s_avg is not None and self.s_avg_interval is not None:
            half = np.ptp(self.s_avg_interval, axis=1) / 2
            wide = half > self.rtol * np.abs(self.s_avg)
            if wide.any():
                worst = float((half / np.abs(self.s_avg))[wide].max())
                return Trouble(
                    f"half-width {worst:.2g} of s_avg after {self.draws} pairs, {self.rtol:g} was asked for",
                    "the same command with a larger --max-draws resumes it, or --restart with a larger --rtol",
                )
        return None

    def not_unique(self, field: str, place: tuple[int, ...]) -> str:
        """The ascents may have found several maxima."""
        return multimodal_reason(self.mode, place) if field in ("s_max", "keskar") else ""

    def remarks(self) -> list[str]:
        """Remarks on radii within rounding, and on maxima that may not be the largest."""
        import numpy as np

        radii = {"s_max": self.smallest_rho, "s_avg": self.smallest_average_rho}
        smallest = ", ".join(f"{value:.2g} for {name}" for name, value in radii.items() if value is not None)
        sentences = rounding_remark(self.rho[~self.resolved], "the loss", self.rounding, smallest)
        if self.s_max is not None and self.hits is not None and self.starts is not None and (self.steps or 0) > 1:
            finite = np.isfinite(self.s_max)
            sloping = (np.asarray(self.stationarity) > STATIONARITY_BOUND) & (self.s_max > self.rounding)
            sentences += agreement_remark(self.rho[finite], self.hits[finite], self.starts[finite], "s_max")
            sentences += slope_remark(self.rho[sloping], "s_max")
        return sentences
