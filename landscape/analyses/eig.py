"""The largest, smallest or both ends' eigenpairs of the Hessian: options and result of `eig`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from landscape.analyses.base import MeasurementModule, Result, Trouble
from landscape.analyses.shared.by_population import ByPopulation, PopulationColumns
from landscape.analyses.shared.cost import cost_scalar
from landscape.analyses.shared.curvature import Resampled
from landscape.analyses.shared.data_error import MORE_DATA, describe_samples, misses_target
from landscape.analyses.shared.meaning import is_of_hessian, stored_options
from landscape.errors import UsageError
from landscape.fields import Gauge, array, option, scalar

if TYPE_CHECKING:
    import numpy as np

    from landscape.objective import Objective

MORE_PRODUCTS = "the same command with a larger --max-products resumes it, or a larger --tol with --restart"
MORE_PASSES = "--dtype float64 if the wanted values are tiny, a larger --max-basis (passes for a block), or --tol"
NAMED_POPULATIONS = 3  # that make most of the largest eigenvalue, in a remark
UNCONFIRMED = "not confirmed: no second start looked for a skipped eigenvalue"


@dataclass(frozen=True)
class EigResult(PopulationColumns):
    """Eigenvalues with their residuals and error bounds.

    `vectors` `(P, k)` holds the unit eigenvectors as columns; None for more than 8 million parameters, unless
    `save_vectors` asks for them. With --save-vectors they are written to a file of their own beside the results file.
    """

    tables: ClassVar[tuple[str, ...]] = ("rank", "layer", "population")
    facts: ClassVar[tuple[str, ...]] = ("loss", "gradient_norm", "products")

    eigenvalues: np.ndarray = array(
        "rank",
        help="Eigenvalue of the matrix.",
        gauge=Gauge(
            "error_bounds",
            floor="rounding",
            advice="gate on [0], with tol = 1e-3 or less in [check.eig]",
            data_error="data_standard_errors",
        ),
    )
    residuals: np.ndarray = array("rank", help="||A v - lambda v|| of the unit vector v, with rounding.")
    error_bounds: np.ndarray = array(
        "rank", help="min(r, r^2 / gap + rounding): the second assumes that no eigenvalue was missed."
    )
    converged: np.ndarray = array("rank", help="Whether the residual is at most tol |lambda|.")
    ritz_values: np.ndarray = array(
        "iteration",
        "rank",
        help="Wanted Ritz values after each step of the search; NaN where none were computed (beyond 128 vectors).",
    )
    ritz_residuals: np.ndarray = array("iteration", "rank", help="Their residuals.")
    tol: float = scalar("Largest residual asked for, relative to the eigenvalue.")
    products: int = scalar("Products with the matrix over the full data.")
    cost_gradients: float | None = cost_scalar()
    search_products: int = scalar(
        "Products of these that later starts spent in search of skipped eigenvalues.", label="products of later starts"
    )
    rounding: float = scalar("Measured rounding of a residual, which each residual includes.")
    confirmed: bool = scalar(
        "Whether a second, deflated start found no eigenvalue that was missed.", label="confirmed by a second start"
    )
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")
    search_passes: int | None = scalar(
        "Passes over the data of these searches: fewer than products with --block.", optional=True
    )
    pyhessian_eigenvalues: np.ndarray | None = array(
        "rank", help="Eigenvalues by PyHessian's power iteration on the same data.", optional=True
    )
    pyhessian_relative_difference: np.ndarray | None = array("rank", help="(PyHessian - ours) / |ours|.", optional=True)
    data_standard_errors: np.ndarray | None = array(
        "rank", help="Standard error of v'Hv over other draws of the samples, with v fixed.", optional=True
    )
    label_standard_errors: np.ndarray | None = array(
        "rank", help="Standard error of v'Fv over the labels drawn, with v fixed (--operator fisher).", optional=True
    )
    data_biases: np.ndarray | None = array(
        "rank",
        help="Estimated bias by the number of samples, which is not subtracted: the mean over halves of the data less "
        "the eigenvalue.",
        optional=True,
    )
    data_error: float | None = scalar(
        "Error of rank 0 by the choice of samples, standard error and bias together, relative to it (--data-error).",
        optional=True,
    )
    data_error_target: float | None = scalar("The largest such error that was asked for.", optional=True)
    data_samples: int | None = scalar("Samples at hand, of which `samples` were drawn.", optional=True)
    certified_gap: float | None = scalar(
        "Gap of the certificate, relative to the width of the spectrum that was searched.", optional=True
    )
    certified_margin: float | None = scalar(
        "No eigenvalue that lies beyond the wanted ones by more than this was missed, ...", optional=True
    )
    certified_probability: float | None = scalar("... unless with this probability, at most.", optional=True)
    certified: bool | None = scalar("Whether the certificate that was asked for was reached.", optional=True)
    layer: np.ndarray | None = array("layer", help="Group of parameters, leading eigenvalue first.", optional=True)
    layer_parameters: np.ndarray | None = array("layer", help="Its size.", optional=True)
    layer_eigenvalue: np.ndarray | None = array(
        "layer", help="Leading eigenvalue of its diagonal block.", optional=True, gauge=Gauge("layer_residual")
    )
    layer_residual: np.ndarray | None = array(
        "layer", help="Residual of that eigenvalue, with rounding.", optional=True
    )
    layer_converged: np.ndarray | None = array(
        "layer", help="Whether its values converged and a later start found no better ones.", optional=True
    )
    layer_eigenvalues: np.ndarray | None = array(
        "layer", "rank", help="The block's eigenvalues; NaN beyond its size.", optional=True
    )
    layer_residuals: np.ndarray | None = array("layer", "rank", help="Bounds of their residuals.", optional=True)
    layer_products: int | None = scalar("Passes over the data for all blocks together.", optional=True)
    population_eigenvalue: np.ndarray | None = array(
        "population", help="Largest eigenvalue of its matrix.", optional=True, gauge=Gauge("population_residual")
    )
    population_residual: np.ndarray | None = array(
        "population", help="Residual of that eigenvalue, with rounding.", optional=True
    )
    population_converged: np.ndarray | None = array(
        "population",
        detail=True,
        help="Whether the residual is at most tol times the value; no second start looks for a larger one.",
        optional=True,
    )
    population_along: np.ndarray | None = array(
        "population",
        "leading",
        help="v'Hv with the population's matrix along the leading eigenvectors v of all samples: weighted by the "
        "shares, they add to the eigenvalues.",
        optional=True,
    )
    curvature_cosine: np.ndarray | None = array(
        "other_population",
        "population",
        detail=True,
        help="Cosine between the matrices of two populations in the span of these eigenvectors.",
        optional=True,
    )
    vectors: np.ndarray | None = field(default=None, repr=False)

    def inconclusive(self) -> Trouble | None:
        """The first that applies: values did not converge, the certificate is missing, blocks did not converge."""
        count = int(self.converged.sum())
        if count < len(self.converged):
            why = f"{count} of {len(self.converged)} eigenvalues converged in {self.products} products"
            if not self._limited_by_rounding():
                return Trouble(why, MORE_PRODUCTS)
            why += f"; the rounding of the products, {self.rounding:.2g}, is too large for the others"
            return Trouble(why, "--dtype float64, or a larger --tol")
        unfinished_blocks = self.layer_converged is not None and not self.layer_converged.all()
        if self.certified is False:
            why = f"not certified: the search for skipped values was cut short after {self.products} products"
            return Trouble(why, MORE_PASSES if unfinished_blocks else MORE_PRODUCTS)
        if self.layer_converged is not None and unfinished_blocks:
            why = f"{int(self.layer_converged.sum())} of {len(self.layer_converged)} blocks converged"
            return Trouble(why, MORE_PASSES)
        if self.population_converged is not None and not self.population_converged.all():
            why = f"{int(self.population_converged.sum())} of {len(self.population_converged)} populations converged"
            return Trouble(why, MORE_PRODUCTS)
        if misses_target(self.data_error, self.data_error_target):
            return Trouble(self._samples(), MORE_DATA)
        return None

    def _samples(self) -> str:
        """What the data leave uncertain, with how many of the samples."""
        error = describe_samples(self.data_error, self.data_error_target, self.samples, self.data_samples)
        return f"lambda_1: {error}"

    def not_gateable(self, field: str, place: tuple[int, ...]) -> str:
        """As for any result; besides, a gate must not use eigenvalues that no second start has confirmed."""
        searched = self.confirmed or field != "eigenvalues"
        return super().not_gateable(field, place) or ("" if searched else UNCONFIRMED)

    def _limited_by_rounding(self) -> bool:
        """Whether rounding alone kept the values from converging."""
        lanczos = (self.residuals**2 - self.rounding**2).clip(min=0) ** 0.5
        allowed = (self.tol * abs(self.eigenvalues)).clip(min=self.rounding)
        return bool((self.converged | (lanczos <= allowed)).all())

    def remarks(self) -> list[str]:
        """That no second start was made; the certificate; whether data or algorithm dominate the error of rank 0."""
        remarks = []
        if not (self.confirmed or self.trouble()):
            remarks.append(UNCONFIRMED)
        if self.certified_gap is not None:
            remarks.append(
                f"certified: no eigenvalue beyond these by more than {self.certified_margin:.3g} was missed, "
                f"P(wrong) <= {self.certified_probability:.2g} (gap {self.certified_gap:g} of the width searched)"
            )
        if self.label_standard_errors is not None:
            remarks.append(
                f"lambda_1: standard error {self.label_standard_errors[0]:.3g} by the labels drawn, which error bounds "
                "do not contain: more --labels would make it more certain"
            )
        return remarks + self._data_remarks() + self._population_remarks()

    def meaning(self) -> str:
        """Up to which learning rate gradient descent is stable (Cohen et al. 2021, section 2), for the Hessian."""
        place = int(self.eigenvalues.argmax())
        sharpest = float(self.eigenvalues[place])
        is_leading = is_of_hessian(self) and stored_options(self).get("which") != "smallest"
        if not is_leading or not sharpest > self.error_bounds[place]:
            return ""
        return f"gradient descent with a learning rate above 2 / lambda_1 = {2 / sharpest:.3g} is unstable here"

    def _population_remarks(self) -> list[str]:
        """The sharpest population, and gradients that conflict."""
        if self.population_eigenvalue is None or self.population is None:
            return []
        order = self.population_eigenvalue.argsort()
        high, low = (f"{self.population[place]} ({self.population_eigenvalue[place]:.4g})" for place in order[[-1, 0]])
        extremes = f"the sharpest population is {high}, the flattest {low}"
        return [extremes, *self._about_leading(), *self.gradient_remarks()]

    def _about_leading(self) -> list[str]:
        """Which population makes most of the largest eigenvalue: its share times v'Hv of its matrix, over lambda."""
        along, shares = self.population_along, self.population_share
        if along is None or shares is None or self.population is None or not self.eigenvalues[0] > 0:
            return []
        parts = shares * along[:, 0] / self.eigenvalues[0]
        order = parts.argsort()[::-1][:NAMED_POPULATIONS]
        named = ", ".join(f"{self.population[place]} {100 * parts[place]:.2g} %" for place in order)
        return [f"lambda_1 is made by {named} (share of the population times v'Hv of its matrix)"]

    def _data_remarks(self) -> list[str]:
        """The errors of rank 0 by the data and by the algorithm, and its bias by the number of samples."""
        if self.data_standard_errors is None:
            return []
        if self.data_error_target is not None and not misses_target(self.data_error, self.data_error_target):
            return [self._samples()]
        data, algorithm = self.data_standard_errors[0], self.error_bounds[0]
        if math.isnan(data):
            return ["lambda_1: its error by the choice of samples is not known: fewer than two groups of samples count"]
        bias = math.nan if self.data_biases is None else float(self.data_biases[0])
        more = "more samples" if data > algorithm or abs(bias) > algorithm else "a smaller --tol"
        remark = (
            f"lambda_1: standard error {data:.3g} by the choice of samples, error bound {algorithm:.3g} by the "
            f"algorithm: {more} would make it more certain"
        )
        if self.data_biases is None:  # in a result of an earlier version
            return [remark]
        if not math.isfinite(bias):
            return [remark, "lambda_1: its bias by the number of samples is not known: no value of a half of the data"]
        share = f" ({100 * abs(bias / self.eigenvalues[0]):.2g} %)" if self.eigenvalues[0] else ""
        direction = "too large" if bias > 0 else "too small"
        return [
            remark,
            f"lambda_1: {direction} by about {abs(bias):.3g}{share}, since samples are few (not subtracted)",
        ]


@dataclass(frozen=True)
class Eig(Resampled, ByPopulation):
    """Top-k eigenpairs of the Hessian by thick-restart Lanczos (Wu and Simon 2000) with full reorthogonalization.

    >>> import landscape
    >>> result = landscape.run(landscape.Eig(k=3), landscape.load("digits-mlp.pt"))
    >>> [f"{value:.2f}" for value in result.eigenvalues]
    ['3.25', '2.35', '2.04']
    """

    name: ClassVar[str] = "eig"
    summary: ClassVar[str] = "Top eigenvalues of the Hessian, each with its residual."
    result: ClassVar[type[Result]] = EigResult

    k: int = option(5, help="How many eigenvalues.", min=1, short="k")
    which: Literal["largest", "smallest", "magnitude", "both"] = option(
        "largest", help="Which end of the spectrum; both takes half from each."
    )
    tol: float = option(1e-3, help="Largest residual, relative to the eigenvalue.", min=0)
    block: int = option(
        1,
        help="Vectors multiplied in each pass over the data: more products, but fewer passes, where reading data takes "
        "the time.",
        min=1,
        max=64,
    )
    max_products: int = option(
        1000, help="Give up after so many products, in whole blocks (exit 3).", min=1, identity=False
    )
    max_basis: int | None = option(None, help="Vectors held at most; default from memory.", min=4)
    confirm: int = option(8, help="Steps of a second start that looks for skipped eigenvalues; 0 for none.", min=0)
    certify: bool = option(False, help="Search until the bound of Kuczynski and Wozniakowski holds: see the next two.")
    certify_gap: float = option(
        0.01, help="Gap that is ruled out, relative to the width of the spectrum.", min=1e-6, max=0.25
    )
    certify_probability: float = option(0.01, help="Probability of being wrong, at most.", min=1e-100, max=0.5)
    cross_check: bool = option(False, help="Also run PyHessian's power iteration and report the difference.")
    save_vectors: bool = option(
        False, help="Write the eigenvectors beside the result, under the state dict's names.", identity=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cross_check and self.operator not in ("hessian", "pyhessian"):
            raise UsageError(
                f"--cross-check compares with PyHessian's Hessian, not with --operator {self.operator}",
                fix="--operator hessian",
            )
        if self.cross_check and self.which in ("smallest", "both"):
            raise UsageError(
                f"--cross-check cannot be combined with --which {self.which}",
                why="PyHessian's power iteration finds the values that are largest in magnitude",
                fix="--which largest or --which magnitude",
            )

    def measurement(self) -> MeasurementModule:
        """The module that measures."""
        from landscape.analyses import eig_measurement

        return eig_measurement

    def needs_whole_vectors(self) -> dict[str, bool]:
        """The options that take whole vectors, and whether they are given."""
        own = {
            "--save-vectors": self.save_vectors,
            "--cross-check": self.cross_check,
            "--by": self.by is not None,
        }
        return {**super().needs_whole_vectors(), **own}

    def sidecars(self, result: Any, objective: Objective) -> dict[str, dict[str, np.ndarray]]:
        """With --save-vectors the eigenvectors: a tensor `(k, *shape)` for each parameter."""
        from landscape.analyses import eig_measurement

        return eig_measurement.sidecars(self, result, objective)
