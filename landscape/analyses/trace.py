"""The trace of the Hessian with its interval: options and result of `trace`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from landscape.analyses.base import MeasurementModule, Result, Trouble
from landscape.analyses.shared.by_population import ByPopulation, PopulationColumns
from landscape.analyses.shared.cost import cost_scalar
from landscape.analyses.shared.curvature import Resampled
from landscape.analyses.shared.data_error import MORE_DATA, describe_samples, misses_target
from landscape.analyses.shared.meaning import describe_share, is_of_hessian
from landscape.choices import NORMAL_HALF_WIDTH
from landscape.fields import Gauge, array, option, scalar

if TYPE_CHECKING:
    import numpy as np

EXAMPLE_NOISE = 0.01  # of the sentence that says what a trace means
ROUNDING = 1e-12  # a smaller share of a squared half-width is rounding
MORE_PRODUCTS = (
    "the same command with a larger --max-products resumes it; or --restart with a larger --rtol or --method auto"
)


@dataclass(frozen=True)
class TraceResult(PopulationColumns):
    """The trace with its standard error and 95 % interval, and the estimates that all estimators make of it."""

    tables: ClassVar[tuple[str, ...]] = ("estimator", "layer", "population")
    facts: ClassVar[tuple[str, ...]] = ("loss", "products", "cost_gradients")

    trace: float = scalar(
        "Sum of the eigenvalues.",
        gauge=Gauge(
            "standard_error",
            "draws",
            rtol="rtol",
            advice="gate on it: with the same seed, changes far below rtol are seen",
            data_error="data_standard_error",
        ),
    )
    standard_error: float = scalar(
        "Standard error of the trace over the random vectors (0 if the diagonal was summed) and over drawn labels."
    )
    interval: np.ndarray = array("bound", help="Lower and upper end of its 95 % interval, over both.")
    rtol: float = scalar("Largest half-width asked for over the random vectors, relative to the trace.")
    products: int = scalar("Products with the matrix over the full data.")
    cost_gradients: float | None = cost_scalar()
    estimator: np.ndarray = array("estimator", help="Estimators, the chosen one first.")
    estimator_trace: np.ndarray = array("estimator", help="Its estimate.", gauge=Gauge("estimator_standard_error"))
    estimator_standard_error: np.ndarray = array("estimator", help="Its standard error.")
    estimator_products: np.ndarray = array("estimator", help="Products that it used.")
    estimator_needed: np.ndarray = array(
        "estimator",
        help="Products for the half-width asked for, if its error falls as one over their root.",
        label="products for --rtol",
    )
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")
    draws: np.ndarray | None = array(
        "draw",
        help="Value of each random vector; the trace is their mean.",
        optional=True,
    )
    label_standard_error: float | None = scalar(
        "Standard error of the trace over the labels drawn (--operator fisher); NaN if the random vectors hide it.",
        optional=True,
    )
    data_standard_error: float | None = scalar(
        "Standard error of the trace over other draws of the samples (--resample); NaN if the random vectors hide it.",
        optional=True,
    )
    product_error: float | None = scalar(
        "Error of the trace by products that are differences of gradients (--hvp difference), by which the interval is "
        "wider on both sides.",
        optional=True,
    )
    data_error: float | None = scalar(
        "Standard error of the trace by the choice of samples, relative to it (--data-error); an upper bound where the "
        "random vectors hide it.",
        optional=True,
    )
    known_trace: float | None = scalar(
        "The exact part of the trace, that of the Gauss-Newton matrix, where it was split off.", optional=True
    )
    data_error_target: float | None = scalar("The largest such error that was asked for.", optional=True)
    data_samples: int | None = scalar("Samples at hand, of which `samples` were drawn.", optional=True)
    layer: np.ndarray | None = array("layer", help="Group of parameters, largest trace first.", optional=True)
    layer_parameters: np.ndarray | None = array("layer", help="Its size.", optional=True)
    layer_trace: np.ndarray | None = array(
        "layer", help="Trace of its diagonal block.", optional=True, gauge=Gauge("layer_standard_error")
    )
    layer_standard_error: np.ndarray | None = array("layer", help="Its standard error.", optional=True)
    layer_share: np.ndarray | None = array(
        "layer", help="Share of the sum of these traces.", optional=True, percent=True
    )
    population_trace: np.ndarray | None = array(
        "population",
        help="Trace of its matrix, by random vectors that all populations share.",
        optional=True,
        gauge=Gauge("population_trace_se"),
    )
    population_trace_se: np.ndarray | None = array(
        "population", help="Its standard error over these vectors.", optional=True
    )

    def inconclusive(self) -> Trouble | None:
        """That the random vectors' interval is wider than asked for, or that no probe was left for the blocks."""
        half, products = self._half_width_of_vectors(), self.product_error or 0.0
        if half <= self.rtol * abs(self.trace) < products:
            why = f"products by differences make the trace uncertain by {products:.2g}, more than --rtol {self.rtol:g}"
            return Trouble(why, "--dtype float64, --hvp auto, or a larger --rtol with --restart")
        if half <= self.rtol * abs(self.trace):
            if self.layer_trace is not None and any(math.isnan(value) for value in self.layer_trace):
                return Trouble(f"no trace of the blocks after {self.products} products", MORE_PRODUCTS)
            return (
                Trouble(self._samples(), MORE_DATA) if misses_target(self.data_error, self.data_error_target) else None
            )
        relative = f"{half / abs(self.trace):.2g}" if self.trace else "infinite"
        why = f"half-width {relative} of the trace after {self.products} products, {self.rtol:g} was asked for"
        return Trouble(why, MORE_PRODUCTS)

    def _samples(self) -> str:
        """What the data leave uncertain, with how many of the samples."""
        return describe_samples(self.data_error, self.data_error_target, self.samples, self.data_samples)

    def _half_width_of_vectors(self) -> float:
        """Half the width of the interval without the part of the labels, which more products do not narrow."""
        half = float(self.interval[1] - self.interval[0]) / 2 - (self.product_error or 0.0)
        labels = self.label_standard_error
        if labels is None or math.isnan(labels):
            return half
        rest = half**2 - (NORMAL_HALF_WIDTH * labels) ** 2
        return 0.0 if rest <= ROUNDING * half**2 else math.sqrt(rest)  # NaN stays NaN

    def remarks(self) -> list[str]:
        """The interval, whether the data or the random vectors dominate the error, and the cheapest estimator."""
        remarks = [f"95 % interval {self.interval[0]:.4g} to {self.interval[1]:.4g}"]
        data, algorithm = self.data_standard_error, self.standard_error
        if self.data_error_target is not None and not misses_target(self.data_error, self.data_error_target):
            remarks.append(self._samples())
        elif data is not None and data != data:
            remarks.append(
                "the error by the choice of samples is not known: the noise of 16 probes hides it, or fewer than two "
                "groups count"
            )
        elif data is not None:
            larger = "more samples, not more products" if data > algorithm else "more products, not more samples"
            advice = f": {larger}, would make it more certain" if max(data, algorithm) > 0 else ""
            remarks.append(
                f"standard error {data:.3g} by the choice of samples, {algorithm:.3g} by the random vectors{advice}"
            )
        if self.product_error is not None:
            remarks.append(f"the interval contains the error of differences of gradients, {self.product_error:.3g}")
        remarks += self._label_remarks()
        if len(self.estimator) > 1 and self.estimator[0] != "exact":
            best = int(self.estimator_needed.argmin())
            needed = self.estimator_needed[best]
            if needed > self.parameters and self.trouble() is not None:
                every = self.products + self.parameters
                remarks.append(
                    f"the sum of all {self.parameters:,} diagonal entries is exact and takes fewer products than any "
                    f"estimate for --rtol: --max-products {every}"
                )
            else:
                remarks.append(f"{self.estimator[best]} needs the fewest products for --rtol, about {needed:.0f}")
        return remarks + self.gradient_remarks()

    def meaning(self) -> str:
        """By how much noise raises the loss, to second order, if the interval of the trace excludes 0."""
        if not (is_of_hessian(self) and self.interval[0] > 0):
            return ""
        rise = EXAMPLE_NOISE**2 / 2 * self.trace
        return (
            f"Gaussian noise of standard deviation {EXAMPLE_NOISE:g} on every weight raises the loss by "
            f"{rise:.2g}{describe_share(rise, self.loss)} on average, to second order"
        )

    def _label_remarks(self) -> list[str]:
        """The error by the labels drawn for the Fisher matrix, beside that by the random vectors."""
        labels = self.label_standard_error
        if labels is None:
            return []
        if math.isnan(labels):
            return ["the error by the labels drawn is not known, nor part of the interval: the random vectors hide it"]
        vectors = math.sqrt(max(self.standard_error**2 - labels**2, 0.0))
        advice = ": more --labels, not more products, would make it more certain" if labels > vectors else ""
        layers = "; those of the layers do not contain the former" if self.layer is not None else ""
        return [f"standard error {labels:.3g} by the labels drawn, {vectors:.3g} by the random vectors{advice}{layers}"]


@dataclass(frozen=True)
class Trace(Resampled, ByPopulation):
    """The trace by the estimator that needs the fewest products.

    The estimators are Hutchinson's (1989), Hutch++ (Meyer et al. 2021) and XTrace (Epperly, Tropp and Webber 2024).

    >>> import landscape
    >>> result = landscape.run(landscape.Trace(rtol=0.05), landscape.load("digits-mlp.pt"))
    >>> bool(result.interval[0] < result.trace < result.interval[1])
    True
    """

    name: ClassVar[str] = "trace"
    summary: ClassVar[str] = "Trace with its interval, by Hutchinson, Hutch++ or XTrace."
    result: ClassVar[type[Result]] = TraceResult

    rtol: float = option(0.01, help="Largest half-width of the 95 % interval, relative to the trace.", min=1e-9)
    method: Literal["auto", "hutchinson", "hutch++", "xtrace"] = option(
        "auto", help="The estimator; auto predicts which needs the fewest products."
    )
    max_products: int = option(2000, help="Give up after so many products (exit 3).", min=1, identity=False)

    def measurement(self) -> MeasurementModule:
        """The module that measures."""
        from landscape.analyses import trace_measurement

        return trace_measurement

    def needs_whole_vectors(self) -> dict[str, bool]:
        """The options that take whole vectors, and whether they are given."""
        return {**super().needs_whole_vectors(), "--by": self.by is not None}
