"""The result of `sharpness`: rises of the mean loss over radii, and what is known of their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.base import Trouble
from landscape.analyses.neighborhood.perturbation import (
    STATIONARITY_BOUND,
    agreement_remark,
    multimodal_reason,
    rounding_remark,
    slope_remark,
)
from landscape.analyses.neighborhood.presets import DEFAULTS
from landscape.analyses.shared.by_population import PopulationColumns
from landscape.analyses.shared.cost import cost_scalar
from landscape.analyses.shared.meaning import describe_share
from landscape.analyses.shared.work_budget import describe_seconds
from landscape.fields import Gauge, array, scalar

if TYPE_CHECKING:
    import numpy as np


GRADIENTS_PER_PRODUCT = 2.5  # time of a Hessian-vector product over that of a gradient
GRADIENTS_PER_LOSS = 1 / 3  # time of a loss over that of a gradient: measured 0.2 to 0.6
USUAL_PRODUCTS = 36  # of the eigenvectors, the control variate and the trace


@dataclass(frozen=True, kw_only=True)
class SharpnessResult(PopulationColumns):
    """Rises of the mean loss over ascending radii, in the worst case and on average, with their errors."""

    tables: ClassVar[tuple[str, ...]] = ("rho", "radius", "layer", "population")
    facts: ClassVar[tuple[str, ...]] = ("loss", "gradients", "draws")
    across: ClassVar[tuple[str, ...]] = ("rho",)

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
        "rho",
        help="Ascents that ended within 1 % of s_max; the smallest number of any batch.",
        optional=True,
        label="starts that reached it",
    )
    spread: np.ndarray | None = array(
        "rho",
        detail=True,
        help="(Largest - smallest) / largest rise of the ascents.",
        optional=True,
        label="spread of the starts",
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
        label="maximum",
    )
    average_rho: np.ndarray | None = array(
        "rho",
        detail=True,
        help="Standard deviation of the noise; the bound of uniform noise.",
        optional=True,
        label="size of the noise",
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
        "rho",
        detail=True,
        help="Whether the rises are clearly above the rounding of the loss.",
        label="beyond rounding",
    )
    keskar: np.ndarray | None = array("rho", help="100 s_max / (1 + loss), with --preset keskar.", optional=True)
    low_pass: np.ndarray | None = array("rho", help="loss + s_avg, with --preset low-pass.", optional=True)
    s_max_law: np.ndarray | None = array(
        "rho",
        detail=True,
        help="rho ||c g||* + rho^2 lambda / 2, which s_max approaches as rho falls (lambda in an l2 ball only).",
        optional=True,
        label="s_max by its law for small rho",
    )
    s_avg_law: np.ndarray | None = array(
        "rho",
        detail=True,
        help="Half the trace of C H C times the noise's variance, which s_avg approaches as rho falls.",
        optional=True,
        label="s_avg by its law for small rho",
    )
    radius: np.ndarray | None = array("radius", help="Radius of the curve, which holds rho.", optional=True)
    radius_s_max: np.ndarray | None = array(
        "radius", help="Largest rise found in the ball: s_max at rho, else followed from its maximum.", optional=True
    )
    radius_s_avg: np.ndarray | None = array(
        "radius", help="Mean rise under noise of that size: s_avg at rho, else under its first draws.", optional=True
    )
    radius_s_avg_se: np.ndarray | None = array(
        "radius", help="Standard error of that mean over the draws.", optional=True
    )
    radius_s_avg_interval: np.ndarray | None = array(
        "radius", "bound", help="95 % t-interval of that mean.", optional=True
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
        "layer",
        help="Share of the module in <slope, move> at the maximizer of the largest rho.",
        optional=True,
        percent=True,
    )
    population_s_max: np.ndarray | None = array(
        "rho",
        "population",
        help="Largest rise of its own loss found in the ball, from fewer starts: a lower bound of the maximum.",
        optional=True,
    )
    population_hits: np.ndarray | None = array(
        "rho", "population", detail=True, help="Ascents of it that ended within 1 % of that.", optional=True
    )
    population_starts: np.ndarray | None = array(
        "rho", "population", detail=True, help="Number of these ascents.", optional=True
    )
    population_s_avg: np.ndarray | None = array(
        "rho",
        "population",
        help="Mean rise of its loss under the first draws of s_avg.",
        optional=True,
        gauge=Gauge("population_s_avg_se"),
    )
    population_s_avg_se: np.ndarray | None = array(
        "rho", "population", help="Standard error of that mean over the draws.", optional=True
    )
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    normalised_loss: float | None = scalar("Mean loss of the normalized logits (--logit-norm).", optional=True)
    scaled_gradient: float | None = scalar(
        "||c g||, in the dual norm of the ball; the mean over batches.", optional=True
    )
    scaled_curvature: float | None = scalar("Largest eigenvalue of C H C to 5 %; the mean over batches.", optional=True)
    scaled_trace: float | None = scalar("Estimated trace of C H C.", optional=True, label="trace of the scaled Hessian")
    scaled_trace_se: float | None = scalar("Standard error of scaled_trace over the probes.", optional=True)
    rounding: float = scalar("The smallest rise that is clearly above rounding.")
    smallest_rho: float | None = scalar("The radius whose s_max is about that rise.", optional=True)
    smallest_average_rho: float | None = scalar("The noise whose s_avg is about that rise.", optional=True)
    gradients: int = scalar("Gradients evaluated for s_max: of the mean loss, or with --m of the loss of a batch.")
    draws: int = scalar("Antithetic pairs for s_avg; each evaluates two losses for every rho.")
    cost_gradients: float | None = cost_scalar()
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

    def meaning(self) -> str:
        """By how much the loss is known to rise in the largest ball, of all samples together and beyond rounding."""
        if self.s_max is None or self.m < self.samples or self.normalised_loss is not None or not self.resolved[-1]:
            return ""
        rho, rise = self.rho[-1], float(self.s_max[-1])
        worst = f"some weights in the ball of rho = {rho:g} have a loss that is higher by at least {rise:.3g}"
        worst += describe_share(rise, self.loss)
        if self.s_avg is None or self.s_avg_interval is None or self.average_rho is None:
            return worst
        if not self.s_avg_interval[-1][0] > self.rounding:
            return worst
        size = float(self.average_rho[-1])
        further = ", which leads further," if size * self.parameters**0.5 > rho else ""
        return f"{worst}; noise of size {size:g} on every weight{further} raises it by {self.s_avg[-1]:.2g} on average"

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
        return sentences + self._higher_inside() + self.gradient_remarks()

    def _higher_inside(self) -> list[str]:
        """That a smaller ball of the curve holds a higher rise than the one found at rho, which is then too low."""
        import numpy as np

        if self.radius is None or self.radius_s_max is None or self.s_max is None:
            return []
        highest = float(np.max(self.radius_s_max[self.radius < self.rho[0]], initial=0.0))
        if not highest > self.s_max[0] + self.rounding:
            return []
        return [f"s_max at rho {self.rho[0]:g} is at least {highest:.4g}, found in a smaller ball: more --starts"]

    def bought(self) -> str:
        """The gradients and draws, and how far the maximum and the mean are known by them."""
        parts = []
        if self.s_max is not None and self.starts is not None and self.hits is not None:
            found = f"s_max at rho {self.rho[-1]:g} as the best of {self.starts[-1]} starts"
            parts.append(f"{self.gradients:,} gradients bought {found}, {self.hits[-1]} of them within 1 % of it")
        if (half := self._half_width()) is not None:
            parts.append(f"{self.draws:,} pairs bought s_avg to {100 * half:.2g} % (95 %)")
        return ", ".join(parts)

    def more(self, seconds: float) -> str:
        """Four times the draws, which halve the interval; without draws twice the starts, which may find more.

        The options beside them are those without which a size that is given would change other sizes.
        """
        radii = [f"{radius:g}" for radius in (() if self.radius is None else self.radius) if radius not in self.rho]
        curve = f" --curve {','.join(radii)}" if radii else ""
        starts = 0 if self.starts is None else int(self.starts[0])
        losses = 2 * self.draws * len(self.rho)
        work = self.gradients + GRADIENTS_PER_LOSS * losses + GRADIENTS_PER_PRODUCT * USUAL_PRODUCTS
        if self._half_width() is not None:
            longer = seconds * (1 + GRADIENTS_PER_LOSS * 3 * losses / work)
            kept = "" if starts == DEFAULTS["starts"] else f" --starts {starts}"
            words = f"--draws {4 * self.draws}{kept}{curve}, {describe_seconds(longer)}"
            return f"4 times the pairs would halve that: {words}"
        if not starts or not (self.steps or 0) > 1:
            return ""
        longer = seconds * (1 + self.gradients / work)
        return f"twice the starts may find more: --starts {2 * starts}{curve}, {describe_seconds(longer)}"

    def _half_width(self) -> float | None:
        """The half-width of the interval at the largest rho relative to s_avg; None without s_avg, or if it is 0."""
        if self.s_avg is None or self.s_avg_interval is None or not self.s_avg[-1]:
            return None
        low, high = self.s_avg_interval[-1]
        return float(abs((high - low) / 2 / self.s_avg[-1]))
