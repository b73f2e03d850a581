"""The density of eigenvalues by stochastic Lanczos quadrature: options and result of `density`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.base import MeasurementModule, Result
from landscape.analyses.shared.curvature import Curvature
from landscape.fields import array, option, scalar

if TYPE_CHECKING:
    import numpy as np

END_TOLERANCE = 1e-2  # residual of an outermost node, relative to the largest, beyond which a remark says so


@dataclass(frozen=True)
class DensityResult(Result):
    """The density with its band, the quadrature rules of all probes, and numbers that follow from the rules."""

    tables: ClassVar[tuple[str, ...]] = ("layer",)

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
    negative_mass: float = scalar("Share of the eigenvalues that are negative.")
    negative_mass_se: float = scalar("Standard error of that share, over the probes and by the quadrature.")
    effective_rank: float = scalar("exp of the entropy of |lambda| / sum |lambda|.")
    effective_rank_se: float = scalar("Standard error of the effective rank.")
    r_e: float = scalar("|lambda_min / lambda_max|.")
    r_e_se: float = scalar("Error of that ratio from the residuals of both ends.")
    k_h1: float = scalar("Sum of |lambda| of the negative eigenvalues over that of the positive ones.")
    k_h1_se: float = scalar("Standard error of that ratio.")
    bulk_condition: float = scalar("Ratio of the |lambda| between which the middle half of sum |lambda| lies.")
    bulk_condition_se: float = scalar("Standard error of that ratio.")
    exact_weights: bool = scalar("Whether single eigenvalues that all probes found have their exact weight.")
    products: int = scalar("Products with one column over the full data, not counting those for layers.")
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")
    label_standard_error: float | None = scalar(
        "Standard error of the trace over the labels drawn (--operator fisher); NaN if the random vectors hide it.",
        optional=True,
    )
    density_band: np.ndarray | None = array(
        "bound", "grid", help="Lower and upper end of the 95 % band of the density.", optional=True
    )
    layer: np.ndarray | None = array("layer", help="Group of parameters, largest trace first.", optional=True)
    layer_parameters: np.ndarray | None = array("layer", help="Its size.", optional=True)
    layer_trace: np.ndarray | None = array("layer", help="Trace of its diagonal block.", optional=True)
    layer_trace_se: np.ndarray | None = array("layer", help="Standard error over the probes.", optional=True)
    layer_share: np.ndarray | None = array("layer", help="Share of the sum of these traces.", optional=True)
    layer_frobenius_norm: np.ndarray | None = array("layer", help="Frobenius norm of the block.", optional=True)
    layer_lambda_max: np.ndarray | None = array("layer", help="Largest node of the block.", optional=True)
    layer_lambda_min: np.ndarray | None = array("layer", help="Smallest node of the block.", optional=True)
    layer_density: np.ndarray | None = array("layer", "grid", help="Density of the block's eigenvalues.", optional=True)

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
        return remarks


@dataclass(frozen=True)
class Density(Curvature):
    """Stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017; Ghorbani et al. 2019) with full reorthogonalization.

    >>> import landscape
    >>> result = landscape.run(landscape.Density(probes=4, steps=20), landscape.load("digits-mlp.pt"))
    >>> f"{result.lambda_max:.2f}"
    '3.25'
    """

    name: ClassVar[str] = "density"
    summary: ClassVar[str] = "Density of eigenvalues with an error band; trace, norm, negative mass, effective rank."
    result: ClassVar[type[Result]] = DensityResult

    probes: int = option(8, help="Random start vectors; the error falls as one over the root of their number.", min=2)
    steps: int = option(64, help="Products with each start vector; more resolve finer detail.", min=2)
    width: float = option(0.01, help="Standard deviation of the smoothing, relative to the spectrum's width.", min=1e-9)
    points: int = option(1024, help="Points of the grid.", min=16)

    def measurement(self) -> MeasurementModule:
        """The module that measures."""
        from landscape.analyses import density_measurement

        return density_measurement
