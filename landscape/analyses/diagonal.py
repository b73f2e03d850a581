"""The diagonal of the Hessian, entry by entry with its errors: options and result of `diagonal`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.analyses.base import MeasurementModule, Result, Trouble
from landscape.analyses.shared.cost import cost_scalar
from landscape.analyses.shared.curvature import MatrixOptions
from landscape.analyses.shared.data_error import parse_share
from landscape.fields import Gauge, array, option, scalar
from landscape.storage import paths

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective

ROUNDING = 1e-5  # of the norm of the diagonal, in float32: errors below are differences of sums that round
MORE_PRODUCTS = "the same command with a larger --max-products resumes it; or a larger --rtol with --restart"


@dataclass(frozen=True)
class DiagonalResult(Result):
    """The diagonal in numbers: its trace, norm and error, and the same by layer.

    `diagonal` and `standard_errors` `(P,)` are the entries in the order of the parameter vector, and `mask` the entries
    that --top chose; results files do not hold them: they are in files of their own beside them.
    """

    tables: ClassVar[tuple[str, ...]] = ("layer",)
    facts: ClassVar[tuple[str, ...]] = ("norm", "relative_error", "negative_share", "loss")

    trace: float = scalar("Sum of the diagonal.", gauge=Gauge("trace_se"))
    trace_se: float = scalar("Its standard error over random vectors and drawn labels; 0 if it is exact.")
    norm: float = scalar(
        "Norm of the diagonal as a vector, without what errors add to it.", label="norm of the diagonal"
    )
    relative_error: float = scalar(
        "Norm of the standard errors of all entries, relative to the norm.", percent=True, label="error of the entries"
    )
    rtol: float = scalar("Largest such error asked for.")
    largest: float = scalar("Largest entry.")
    smallest: float = scalar("Smallest entry.")
    negative_share: float = scalar(
        "Share of the entries that lie below 0 by more than their error (95 %).", percent=True, label="negative entries"
    )
    products: int = scalar("Products with the matrix over the full data.")
    draws: int = scalar("Random vectors drawn in the outputs of each sample, or labels.")
    cost_gradients: float | None = cost_scalar()
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")
    layer: np.ndarray = array("layer", help="Group of parameters, largest trace first.")
    layer_parameters: np.ndarray = array("layer", help="Its size.")
    layer_trace: np.ndarray = array("layer", help="Sum of its entries.", gauge=Gauge("layer_trace_se"))
    layer_trace_se: np.ndarray = array("layer", help="Standard error of that sum.")
    layer_mean: np.ndarray = array("layer", help="Mean of its entries.", label="mean entry")
    layer_largest: np.ndarray = array("layer", help="Its largest |entry|.", label="largest |entry|")
    layer_negative: np.ndarray = array(
        "layer", help="Share of its entries below 0 by more than their error.", percent=True, label="negative entries"
    )
    layer_error: np.ndarray = array(
        "layer",
        help="Norm of the standard errors of its entries, relative to that of the entries.",
        percent=True,
        label="error of the entries",
    )
    curve_share: np.ndarray = array("point", help="Shares of the entries, those with the largest |entry| first, ...")
    curve_value: np.ndarray = array("point", help="... the |entry| that ends each, ...")
    curve_standard_error: np.ndarray = array("point", help="... and its standard error.")
    top_in_layer: np.ndarray | None = array(
        "layer", help="Share of its entries that --top chose.", optional=True, percent=True, label="chosen by --top"
    )
    known_trace: float | None = scalar(
        "The exact part of the trace, that of the Gauss-Newton matrix, where it was split off.", optional=True
    )
    top_share: float | None = scalar(
        "Share of the entries that --top chose, those of largest |entry|.", optional=True, percent=True
    )
    top_count: int | None = scalar("Their number.", optional=True)
    top_threshold: float | None = scalar("The |entry| between those that are chosen and the others.", optional=True)
    top_separated: int | None = scalar(
        "How many of the chosen lie above the threshold by more than their error (95 %).", optional=True
    )
    top_undecided: int | None = scalar(
        "How many of the others lie below it by less than their error, and could as well be chosen.", optional=True
    )
    diagonal: np.ndarray | None = field(default=None, repr=False)
    standard_errors: np.ndarray | None = field(default=None, repr=False)
    mask: np.ndarray | None = field(default=None, repr=False)

    def inconclusive(self) -> Trouble | None:
        """That entries are not finite, or less certain than asked for."""
        if self.relative_error <= self.rtol:
            return None
        if math.isnan(self.trace) and not self.products:
            return Trouble("the squares of gradients are not finite", "--dtype float64", "not finite")
        spent = f"{self.products} products" if self.products else f"{self.draws} draws"
        hidden = math.isinf(self.relative_error) or math.isnan(self.relative_error)
        reached = "as large as the diagonal or larger" if hidden else f"{self.relative_error:.2g} of the diagonal"
        alone = self.products and self.known_trace is None
        fix = f"{MORE_PRODUCTS}; or --operator ggn, for which gradients of samples suffice" if alone else MORE_PRODUCTS
        return Trouble(f"the errors are {reached} after {spent}, {self.rtol:g} was asked for", fix)

    def remarks(self) -> list[str]:
        """How the diagonal was computed, and how certain the choice of --top is."""
        error = f"norm of the standard errors {self.relative_error:.2g} of the norm of the diagonal"
        if self.known_trace is not None and self.relative_error < ROUNDING:
            how = "the Gauss-Newton part is exact, and random vectors show no rest beyond rounding"
        elif self.relative_error == 0:
            how = "every entry is exact, but for rounding"
        elif self.known_trace is not None:
            split = "the Gauss-Newton part is exact, random vectors estimate the rest"
            how = f"{error}, {self.rtol:g} was asked for; {split}"
        else:
            how = f"{error}, {self.rtol:g} was asked for"
        if self.top_count is None or self.top_threshold is None:
            return [how]
        return [how, self._describe_top()]

    def _describe_top(self) -> str:
        """How many entries are chosen, and how many of them are so beyond their error."""
        chosen = (
            f"--top chose {self.top_count:,} of {self.parameters:,} entries, with |entry| above "
            f"{self.top_threshold:.4g}: {self.top_separated:,} of them lie above it by more than their error"
        )
        others = f"; {self.top_undecided:,} of the others could as well be chosen" if self.top_undecided else ""
        return chosen + others


@dataclass(frozen=True)
class Diagonal(MatrixOptions):
    """The diagonal, exact for the Gauss-Newton matrix of few outputs; estimated with errors by entry otherwise.

    Source: Dangel, Kunstner and Hennig 2020 (Gauss-Newton), Baston and Nakatsukasa 2022 (Diag++).

    >>> import landscape
    >>> objective = landscape.load("digits-mlp.pt", limit=100)
    >>> result = landscape.run(landscape.Diagonal(operator="ggn", top="10%"), objective)
    >>> result.relative_error, int(result.mask.sum()), result.diagonal.shape
    (0.0, 295, (2950,))
    """

    name: ClassVar[str] = "diagonal"
    summary: ClassVar[str] = "Diagonal of the Hessian, with an error for every entry."
    result: ClassVar[type[Result]] = DiagonalResult

    rtol: float = option(
        0.1, help="Largest norm of the standard errors of all entries, relative to that of the diagonal.", min=1e-9
    )
    top: str | None = option(
        None, help="Write a mask of this share of the entries, those of largest |entry|, e.g. 10%.", identity=False
    )
    blocks: tuple[str, ...] = option(
        (), help="Rows of the table: parameters, by a glob over names. Default: one row for each module. Repeatable."
    )
    labels: int = option(
        16,
        help="Labels drawn for each sample or token in one pass, with --operator fisher where they are drawn.",
        min=2,
    )
    max_products: int = option(
        2000, help="Give up after so many products, or draws in the outputs (exit 3).", min=1, identity=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top is not None:
            share = parse_share(self.top, "--top", "it is the share of the entries that are chosen")
            object.__setattr__(self, "top", f"{100 * share:.12g}%")

    def groups(self, objective: Objective) -> tuple[ParameterGroup, ...]:
        """The groups of parameters of the table."""
        return objective.space.groups_matching(self.blocks) if self.blocks else objective.space.layers()

    def measurement(self) -> MeasurementModule:
        """The module that measures."""
        from landscape.analyses import diagonal_measurement

        return diagonal_measurement

    def sidecars(self, result: Any, objective: Objective) -> dict[str, dict[str, np.ndarray]]:
        """The entries by parameter, their standard errors, and with --top the mask, by the suffixes of their files."""
        from landscape.analyses import diagonal_table

        return diagonal_table.sidecars(result, objective)

    def write_outputs(
        self, result: Any, objective: Objective, output: Path, say: Callable[[str], None] = lambda line: None
    ) -> list[Path]:
        """Writes nothing; says that the mask of an earlier run is not that of these entries."""
        del objective
        mask = paths.beside(output, paths.DIAGONAL_MASK)
        if result.mask is None and mask.exists():
            say(f"{mask} is the mask of an earlier run, not of these entries (--top writes a new one)")
        return []
