"""The density of eigenvalues by stochastic Lanczos quadrature: options and result of `density`."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.analyses.base import MeasurementModule, Result
from landscape.analyses.shared.cost import cost_scalar
from landscape.analyses.shared.curvature import Curvature
from landscape.analyses.shared.meaning import percent, round_down
from landscape.analyses.shared.work_budget import budget_option, describe_seconds
from landscape.choices import CONFIDENCE
from landscape.fields import Gauge, array, option, scalar

if TYPE_CHECKING:
    import numpy as np

    from landscape.objective import Objective

PROBES, STEPS = 8, 64  # where one of the two is given, and at most where neither is
# Sizes of a first look, dearest first. Of equally many products, few probes of many steps had the narrower bands on
# small nets; with less than four probes Student's t is above 4, and errors with less than 24 steps mean little.
FIRST_LOOKS = ((PROBES, STEPS), (6, 64), (4, 64), (4, 48), (4, 36), (4, 24))
NARROW_BAND = 1.02  # factor of a band that more work need not narrow
UNCERTAIN_TRACE = 0.02  # relative standard error of the trace beyond which more work is advised for it alone
USEFUL_WIDTH = 0.1  # of the bounds of a share: a tenth of all eigenvalues says something, whatever the share is
SMALL_CURVATURE = 0.01  # of the largest |lambda|: below it an eigenvalue is called small
LEAST_BULK = 0.5  # of the eigenvalues: fewer small ones are no bulk
END_TOLERANCE = 1e-2  # residual of an outermost node, relative to the largest, beyond which a remark says so


@dataclass(frozen=True)
class DensityResult(Result):
    """The density with its band, the quadrature rules of all probes, and numbers that follow from the rules."""

    tables: ClassVar[tuple[str, ...]] = ("layer",)
    facts: ClassVar[tuple[str, ...]] = ("loss", "products")

    grid: np.ndarray = array("grid", help="Points at which the density is given.")
    density: np.ndarray = array("grid", help="Density of eigenvalues, smoothed; its integral is 1.")
    density_se: np.ndarray = array("grid", help="Standard error of the density, over the probes and by the quadrature.")
    ritz_nodes: np.ndarray = array("probe", "step", help="Nodes of each probe's quadrature; NaN beyond its end.")
    ritz_weights: np.ndarray = array(
        "probe",
        "step",
        help="Weights of the nodes, which add to 1; exact for single eigenvalues that all probes found.",
    )
    width: float = scalar("Standard deviation of the smoothing Gaussian.")
    lambda_max: float = scalar("Largest node of all probes.")
    lambda_max_se: float = scalar("Residual of that node: some eigenvalue lies within this distance.")
    lambda_min: float = scalar("Smallest node of all probes.")
    lambda_min_se: float = scalar("Residual of that node.")
    trace: float = scalar("Sum of the eigenvalues.")
    trace_se: float = scalar("Standard error of the trace over the probes and over drawn labels.")
    frobenius_norm: float = scalar("Root of the sum of the squared eigenvalues.")
    frobenius_norm_se: float = scalar("Standard error of the Frobenius norm.")
    negative_mass: float = scalar(
        "Share of the eigenvalues that are negative.", percent=True, label="negative eigenvalues"
    )
    negative_mass_se: float = scalar("Standard error of that share, over the probes and by the quadrature.")
    effective_rank: float = scalar("exp of the entropy of |lambda| / sum |lambda|.")
    effective_rank_se: float = scalar("Standard error of the effective rank.")
    r_e: float = scalar("|lambda_min / lambda_max|.", label="|lambda min / max|")
    r_e_se: float = scalar("Error of that ratio from the residuals of both ends.")
    k_h1: float = scalar(
        "Sum of |lambda| of the negative eigenvalues over that of the positive ones.", label="sum of |lambda|, - / +"
    )
    k_h1_se: float = scalar("Standard error of that ratio.")
    bulk_condition: float = scalar(
        "Ratio of the |lambda| between which the middle half of sum |lambda| lies.", label="condition of the bulk"
    )
    bulk_condition_se: float = scalar("Standard error of that ratio.")
    exact_weights: bool = scalar(
        "Whether single eigenvalues that all probes found have their exact weight.",
        label="exact weights of single eigenvalues",
    )
    products: int = scalar("Products with one column over the full data, not counting those for layers.")
    cost_gradients: float | None = cost_scalar()
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")
    label_standard_error: float | None = scalar(
        "Standard error of the trace over the labels drawn (--operator fisher); NaN if the random vectors hide it.",
        optional=True,
    )
    band_factor: float | None = scalar(
        "Median factor between the density and the ends of its 95 % band, where it is at least one eigenvalue high.",
        optional=True,
    )
    quadrature_share: float | None = scalar(
        "Median share of the squared error of the density there that the number of steps leaves.",
        optional=True,
        percent=True,
    )
    below: float | None = scalar("T of --below: eigenvalues below -T are counted.", optional=True)
    share_below: float | None = scalar(
        "Share of the eigenvalues below -T; its bounds hold in 95 % of all draws of the probes, each by itself.",
        optional=True,
        gauge=Gauge("share_below_se"),
    )
    share_below_se: float | None = scalar("Error of that share, over the probes and by the quadrature.", optional=True)
    share_below_low: float | None = scalar(
        "At least this share of the eigenvalues lies below -T (95 %).", optional=True
    )
    share_below_high: float | None = scalar(
        "At most this share of the eigenvalues lies below -T (95 %).", optional=True
    )
    density_band: np.ndarray | None = array(
        "bound", "grid", help="Lower and upper end of the 95 % band of the density.", optional=True
    )
    layer: np.ndarray | None = array("layer", help="Group of parameters, largest trace first.", optional=True)
    layer_parameters: np.ndarray | None = array("layer", help="Its size.", optional=True)
    layer_trace: np.ndarray | None = array(
        "layer", help="Trace of its diagonal block.", optional=True, gauge=Gauge("layer_trace_se")
    )
    layer_trace_se: np.ndarray | None = array("layer", help="Standard error over the probes.", optional=True)
    layer_share: np.ndarray | None = array(
        "layer", help="Share of the sum of these traces.", optional=True, percent=True
    )
    layer_frobenius_norm: np.ndarray | None = array("layer", help="Frobenius norm of the block.", optional=True)
    layer_lambda_max: np.ndarray | None = array("layer", help="Largest node of the block.", optional=True)
    layer_lambda_min: np.ndarray | None = array("layer", help="Smallest node of the block.", optional=True)
    layer_density: np.ndarray | None = array("layer", "grid", help="Density of the block's eigenvalues.", optional=True)

    def meaning(self) -> str:
        """At least how many eigenvalues are small, and how negative the smallest is, as far as the errors tell."""
        parts, bulk = [], self._bulk_at_least()
        if bulk > LEAST_BULK:
            small = f"below {percent(SMALL_CURVATURE)} of the largest"
            parts.append(f"at least {percent(round_down(bulk))} of the eigenvalues are {small}")
        if -self.lambda_min > 2 * self.lambda_min_se and self.r_e > 2 * self.r_e_se:
            parts.append(f"the most negative one found is {percent(self.r_e)} of the largest")
        return ", ".join(parts)

    def _bulk_at_least(self) -> float:
        """A lower bound (95 %) of the share of the eigenvalues below a small share of the largest, in absolute value.

        Of each probe's nodes there, the outermost two are left out: the others' weights are at most the measure of the
        interval (Chebyshev, Markov and Stieltjes; Golub and Meurant 2010, section 2). Over the probes the error is t's.
        """
        from scipy.special import stdtrit

        limit = SMALL_CURVATURE * (max(abs(self.lambda_max), abs(self.lambda_min)))
        small = abs(self.ritz_nodes) < limit  # False for NaN
        rows = [
            sorted(zip(nodes[held], weights[held], strict=True))[1:-1]
            for nodes, weights, held in zip(self.ritz_nodes, self.ritz_weights, small, strict=True)
        ]
        shares = [float(sum(weight for _, weight in row)) for row in rows]
        if len(shares) < 2:
            return 0.0
        error = statistics.stdev(shares) / math.sqrt(len(shares))
        return statistics.mean(shares) - float(stdtrit(len(shares) - 1, (1 + CONFIDENCE) / 2)) * error

    def remarks(self) -> list[str]:
        """That the ends have not converged, that weights are random, or that the negative mass is uncertain."""
        remarks = []
        largest = max(abs(self.lambda_max), abs(self.lambda_min))
        if max(self.lambda_max_se, self.lambda_min_se) > END_TOLERANCE * largest:
            remarks.append("the ends of the spectrum have not converged: more --steps, or landscape eig --which both")
        if not self.exact_weights:
            remarks.append(
                "memory did not hold all probes at once: weights of single eigenvalues are random, and errors larger"
            )
        if self.label_standard_error is not None:
            remarks.append(
                "labels were drawn: the errors do not contain their noise, but for that of the trace (more --labels "
                "average it out)"
            )
        if self.negative_mass_se > max(self.negative_mass, 0.1):
            remarks.append(
                "negative mass: the sign of the smallest eigenvalues is uncertain; more --steps resolve more"
            )
        if self.below is not None:
            remarks.append(self._describe_below())
        return remarks

    def _describe_below(self) -> str:
        """How many eigenvalues lie below -T at most and at least, or that this is not determined."""
        assert self.share_below_low is not None
        assert self.share_below_high is not None
        low, high, end = (
            100 * self.share_below_low,
            100 * self.share_below_high,
            f"{-self.below if self.below else 0:g}",
        )
        if not self.below_is_determined:
            between = f"between {low:.3g} and {high:.3g} %"
            return f"eigenvalues below {end}: not determined ({between}); more --steps narrow it, if it is not rounding"
        count = math.floor(self.share_below_high * self.parameters)
        return (
            f"at most {high:.3g} % of the eigenvalues ({count:,}) lie below {end}, and at least {low:.3g} % (95 % each)"
        )

    @property
    def below_is_determined(self) -> bool:
        """Whether the bounds of the share below -T say something: they are narrow, or narrower than the share."""
        if self.share_below is None or self.share_below_low is None or self.share_below_high is None:
            return False
        return self.share_below_high - self.share_below_low <= max(USEFUL_WIDTH, self.share_below)

    def not_gateable(self, field: str, place: tuple[int, ...]) -> str:
        """That the share below -T is not determined."""
        if field.startswith("share_below") and not self.below_is_determined:
            return "its bounds are too wide"
        return super().not_gateable(field, place)

    def bought(self) -> str:
        """The products, and the width of the band that they bought."""
        if self.band_factor is None:
            return ""
        probes, steps = self.ritz_nodes.shape
        trace = f", the trace to {100 * self.trace_se / abs(self.trace):.2g} %" if self.trace else ""
        return (
            f"{self.products:,} products ({probes} probes x {steps} steps) bought the density to within a factor of "
            f"{self.band_factor:.3g} (95 %, median){trace}"
        )

    def more(self, seconds: float) -> str:
        """More probes, or more steps where these leave the larger error, and what they would buy.

        A narrow band of isolated eigenvalues may leave an uncertain trace, which more probes then buy.
        """
        if self.band_factor is None or self.quadrature_share is None or not math.isfinite(self.band_factor):
            return ""
        probes, steps = self.ritz_nodes.shape
        narrow = self.band_factor <= NARROW_BAND
        if narrow and not self.trace_se > UNCERTAIN_TRACE * abs(self.trace):
            return ""
        more_probes, more_steps = 4 * probes, steps
        if not narrow and self.quadrature_share > 1 / 2 and steps < self.parameters:
            more_probes, more_steps = probes, min(2 * steps, self.parameters)
        times = more_probes * more_steps / (probes * steps)
        effect = "halve the error of the trace"
        if not narrow:
            effect = f"narrow that to about {self._band_with(more_probes, more_steps):.3g}"
        return (
            f"{times:.2g} times the products would {effect}: --probes {more_probes} --steps {more_steps}, "
            f"{describe_seconds(times * seconds)}"
        )

    def _band_with(self, probes: int, steps: int) -> float:
        """The factor of the band with other sizes: its errors fall as 1 / root of the probes, and as 1 / steps."""
        from scipy.special import stdtrit

        assert self.band_factor is not None
        assert self.quadrature_share is not None
        before, after = (
            float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) for count in (self.ritz_nodes.shape[0], probes)
        )
        random = (1 - self.quadrature_share) * self.ritz_nodes.shape[0] / probes
        quadrature = self.quadrature_share * (self.ritz_nodes.shape[1] / steps) ** 2
        return float(self.band_factor ** (after / before * math.sqrt(random + quadrature)))


@dataclass(frozen=True)
class Density(Curvature):
    """Stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017; Ghorbani et al. 2019) with full reorthogonalization.

    >>> import landscape
    >>> result = landscape.run(landscape.Density(probes=4, steps=20), landscape.load("digits-mlp.pt"))
    >>> f"{result.lambda_max:.2f}"
    '3.25'
    """

    name: ClassVar[str] = "density"
    summary: ClassVar[str] = "Density of the eigenvalues with an error band, and its moments."
    result: ClassVar[type[Result]] = DensityResult

    probes: int | None = option(
        None,
        help=f"Random start vectors; the error falls as one over the root of their number. Default {PROBES}, or what "
        "--budget buys.",
        min=2,
    )
    steps: int | None = option(
        None,
        help=f"Products with each start vector; more resolve finer detail. Default {STEPS}, or what --budget buys.",
        min=2,
    )
    budget: float = budget_option("--probes and --steps")
    width: float = option(0.01, help="Standard deviation of the smoothing, relative to the spectrum's width.", min=1e-9)
    points: int = option(1024, help="Points of the grid.", min=16)
    below: float | None = option(
        None, help="Also bound the share of the eigenvalues below minus this number; 0 for negative curvature.", min=0
    )

    @property
    def sizes(self) -> tuple[int, int]:
        """Probes and steps as given, or the most that a first look has."""
        return self.probes or PROBES, self.steps or STEPS

    def fit_budget(self, objective: Objective) -> Density:
        """The analysis with its probes and steps: as given, or where neither is, the best that the budget buys."""
        if self.probes is not None and self.steps is not None:
            return self
        if self.probes is not None or self.steps is not None:
            probes, steps = self.sizes
        else:
            measuring: Any = self.measurement()
            probes, steps = measuring.sizes_within_budget(self, objective)
        return replace(self, probes=probes, steps=steps)

    def identity(self) -> dict[str, Any]:
        """The options that decide the result; without --below as before there was this option."""
        options = super().identity()
        return options if self.below is not None else {key: v for key, v in options.items() if key != "below"}

    def measurement(self) -> MeasurementModule:
        """The module that measures."""
        from landscape.analyses import density_measurement

        return density_measurement
