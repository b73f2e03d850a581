"""Scalar measures of flatness and complexity, each one formula from the literature: options and result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.base import MeasurementModule, Result, Trouble
from landscape.analyses.shared.by_population import ByPopulation, PopulationColumns
from landscape.analyses.shared.cost import cost_scalar
from landscape.analyses.shared.meaning import round_down
from landscape.fields import array, option, scalar

if TYPE_CHECKING:
    import numpy as np

SIGMA_RANGE = (1e-6, 1e2)  # standard deviations of the noise among which the PAC-Bayes sigmas are searched
END_OF_RANGE = 0.99  # of the largest sigma: beyond it the search has ended at the end of its range


@dataclass(frozen=True, kw_only=True)
class MeasuresResult(PopulationColumns):
    """Measures by name; those that a loss or a model does not have are absent."""

    follows_loss: ClassVar[bool] = False
    tables: ClassVar[tuple[str, ...]] = ("term", "population")
    facts: ClassVar[tuple[str, ...]] = ("loss", "noise_scale", "fisher_rao", "pac_bayes_sigma")
    across: ClassVar[tuple[str, ...]] = ("other",)

    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient g of the mean loss.")
    term: np.ndarray | None = array("term", words=True, help="Name of the term of the objective.", optional=True)
    term_loss: np.ndarray | None = array("term", help="Mean loss of the term.", optional=True)
    term_gradient_norm: np.ndarray | None = array("term", help="Norm of the gradient of the term.", optional=True)
    term_share: np.ndarray | None = array(
        "term",
        help="Part of the term's gradient along g, relative to ||g||: the shares add to 1.",
        optional=True,
        percent=True,
        label="share of the gradient",
    )
    other: np.ndarray | None = array("other", words=True, help="Name of the term beside it.", optional=True)
    cosine: np.ndarray | None = array("other", "term", help="Cosine between the gradients of two terms.", optional=True)
    population_noise_trace: np.ndarray | None = array(
        "population",
        help="Trace of the covariance of its samples' gradients.",
        optional=True,
        label="trace of the gradients' covariance",
    )
    population_noise_scale: np.ndarray | None = array(
        "population",
        help="That trace over the square of its gradient's norm.",
        optional=True,
        label="gradient noise scale",
    )
    population_fisher_rao: np.ndarray | None = array(
        "population", help="Its Fisher-Rao norm.", optional=True, label="Fisher-Rao norm"
    )
    noise_trace: float | None = scalar(
        "Trace of the covariance of the samples' gradients.", optional=True, label="trace of the gradients' covariance"
    )
    noise_scale: float | None = scalar(
        "noise_trace / ||g||^2: the batch size at which noise and gradient are as large.",
        optional=True,
        label="gradient noise scale",
    )
    fisher_rao: float | None = scalar(
        "Fisher-Rao norm: root of the mean over samples of (w . gradient)^2.", optional=True, label="Fisher-Rao norm"
    )
    relative_flatness: float | None = scalar(
        "Sum of <w_s, w_s'> tr H_ss' over rows of the layer's weight.", optional=True
    )
    relative_flatness_se: float | None = scalar(
        "Standard error of relative_flatness over the random vectors.", optional=True
    )
    half_width: float | None = scalar("Half the width of the 95 % interval of relative_flatness.", optional=True)
    rtol: float | None = scalar("Half-width asked for, relative to relative_flatness.", optional=True)
    error: float | None = scalar("Share of wrong predictions.", optional=True, percent=True)
    pac_bayes_sigma: float | None = scalar(
        "Largest noise on all weights with which the mean error rises by at most --deviation.",
        optional=True,
        label="PAC-Bayes sigma",
    )
    pac_bayes_magnitude_sigma: float | None = scalar(
        "The same with noise proportional to the size of each weight.",
        optional=True,
        label="PAC-Bayes sigma relative to the weights",
    )
    deviation: float | None = scalar("Rise of the mean error that defines both sigmas.", optional=True)
    draws: int | None = scalar("Draws of the noise for both sigmas.", optional=True)
    products: int = scalar("Products with the Hessian, for relative_flatness.")
    cost_gradients: float | None = cost_scalar()
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")

    def inconclusive(self) -> Trouble | None:
        """That gradients are not finite, or that the interval of the relative flatness is wider than asked for."""
        if self.fisher_rao is not None and not math.isfinite(self.fisher_rao):
            why = f"the samples' gradients are not finite: fisher_rao is {self.fisher_rao}"
            return Trouble(why, "--dtype float64", "not finite")
        value, half = self.relative_flatness, self.half_width
        if value is None or half is None or half <= (self.rtol or 0) * abs(value):
            return None
        asked = f"{self.rtol:g} of it was asked for"
        return Trouble(
            f"half-width {half:.2g} of relative flatness {value:.4g} after {self.products} products, {asked}",
            "the same command with a larger --max-products resumes it, or --restart with a larger --rtol",
        )

    def meaning(self) -> str:
        """The batch size below which the noise of the gradient is larger than the gradient (McCandlish et al. 2018)."""
        if self.noise_scale is None or not 2 <= self.noise_scale < math.inf:
            return ""
        batch = f"{round_down(self.noise_scale):,.0f}"
        return f"in random batches of fewer than {batch} samples the noise of the gradient is larger than the gradient"

    def remarks(self) -> list[str]:
        """That a PAC-Bayes sigma lies below or above the range that is searched."""
        sigmas = {"pac bayes sigma": self.pac_bayes_sigma, "pac bayes magnitude sigma": self.pac_bayes_magnitude_sigma}
        if self.error is None:
            return self.gradient_remarks()
        return (
            self.gradient_remarks()
            + [
                f"no {name}: the smallest noise that is tried lets the error rise by more than {self.deviation:g}"
                for name, sigma in sigmas.items()
                if sigma is None
            ]
            + [
                f"{name} is at the end of the range that is searched: the error does not rise with the noise"
                for name, sigma in sigmas.items()
                if sigma is not None and sigma >= END_OF_RANGE * SIGMA_RANGE[1]
            ]
        )


@dataclass(frozen=True)
class Measures(ByPopulation):
    """Four measures from the literature, each one formula.

    Gradient noise scale (McCandlish et al. 2018, equation 2.9), Fisher-Rao norm (Liang et al. 2019, definition 3),
    relative flatness (Petzka et al. 2021, definition 3) and PAC-Bayes sigma (Jiang et al. 2020, appendix C). For an
    objective of named terms also the gradient of each term and the cosines between them: below 0 two terms conflict (Yu
    et al. 2020, definition 1).

    >>> import landscape
    >>> result = landscape.run(landscape.Measures(draws=0, rtol=0.2), landscape.load("digits-mlp.pt", limit=100))
    >>> f"{result.fisher_rao:.2f}"
    '0.35'
    """

    name: ClassVar[str] = "measures"
    summary: ClassVar[str] = "Noise scale, Fisher-Rao norm, relative flatness, PAC-Bayes sigma."
    result: ClassVar[type[Result]] = MeasuresResult

    layer: str | None = option(
        None, help="Weight whose relative flatness is measured; default: the model's last matrix, which a note names."
    )
    rtol: float = option(
        0.05, help="Largest half-width of the 95 % interval of relative flatness, relative to it.", min=1e-6
    )
    max_products: int = option(1000, help="Products for relative flatness at most (exit 3).", min=1, identity=False)
    deviation: float = option(0.1, help="Rise of the error that defines the PAC-Bayes sigma.", min=1e-6, max=1)
    draws: int = option(15, help="Draws of the noise for the PAC-Bayes sigmas; 0 leaves them out.", min=0)
    seed: int = option(0, help="Seed of everything random.", min=0, max=2**63 - 1)

    def measurement(self) -> MeasurementModule:
        """The module that measures."""
        from landscape.analyses import measures_measurement

        return measures_measurement
