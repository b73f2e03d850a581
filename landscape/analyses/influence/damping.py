"""The damping: as given, or by what the spectrum of the matrix is like."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from landscape import operators
from landscape.algorithms.estimators.diagonal.state import sign_probe
from landscape.algorithms.linear_systems.steps import multiply
from landscape.analyses.base import Progress, State
from landscape.compute.inner_products import row_dots
from landscape.errors import NumericalError, TaskError

if TYPE_CHECKING:
    from landscape.analyses.influence.influence import Influence
    from landscape.objective import Objective
    from landscape.operators.kronecker import KroneckerOperator

LAYER_SHARE = 0.1  # of a layer's mean eigenvalue, for Kronecker factors (Grosse et al. 2023, section 2.1)
# Of tr G^2 / tr G, for the matrix itself. The mean eigenvalue is no measure there: most eigenvalues of a net are 0, the
# more so the more parameters it has. The share is what retrained nets of two samples asked for (docs/influence.md).
WEIGHTED_SHARE = 0.03
PROBES = 16  # tell both traces of nets with 3,000 to 100,000 parameters to about 10 %
COMPARED = 10.0  # times the damping, at which scores are measured too: better conditioned, and so cheap


@dataclass(frozen=True)
class Damping:
    """The damping, and what the spectrum told where it follows from that.

    With `of_layers` each layer has its own, of which `value` is the mean. `eigenvalue` is the weighted mean eigenvalue
    tr G^2 / tr G, with its standard `error`, or the mean one of Kronecker factors.
    """

    value: float
    of_layers: tuple[float, ...] = ()
    eigenvalue: float | None = None
    error: float | None = None
    products: int = 0  # with the Gauss-Newton matrix

    @property
    def pair(self) -> tuple[float, float]:
        """The damping, and the one that scores are compared at."""
        return self.value, COMPARED * self.value

    @property
    def layer_pair(self) -> tuple[float | tuple[float, ...], float | tuple[float, ...]]:
        """The same for Kronecker factors: by layer, if each has its own."""
        if not self.of_layers:
            return self.pair
        return self.of_layers, tuple(COMPARED * one for one in self.of_layers)


def choose_damping(
    analysis: Influence, objective: Objective, kronecker: KroneckerOperator | None, width: int, saved: State
) -> Generator[Progress, None, Damping]:
    """The damping; with auto, a share of each layer's mean eigenvalue, or of tr G^2 / tr G by random signs z.

    Raises NumericalError if the Gauss-Newton matrix has no positive trace.
    """
    if analysis.damping != "auto":
        return Damping(float(analysis.damping))
    if analysis.inverse != "cg" and kronecker is not None:
        means = tuple(LAYER_SHARE * mean for mean in kronecker.layer_means)
        mean = _require_positive(kronecker.mean_eigenvalue)
        return Damping(LAYER_SHARE * mean, means, mean)
    values = saved.get("values")
    if values is None:
        values = _probe(analysis, objective, width)
        yield Progress(1, 1, "traces", lambda: {"values": np.asarray(values)})
    squares, forms = values.sum(axis=1)
    weighted = _require_positive(float(squares / forms) if forms else 0.0)
    error = float(np.std(values[0] - weighted * values[1], ddof=1) * PROBES**0.5 / forms)  # of a ratio of means
    return Damping(WEIGHTED_SHARE * weighted, (), weighted, error, PROBES)


def _probe(analysis: Influence, objective: Objective, width: int) -> np.ndarray:
    """|Gz|^2 and z'Gz for random signs z, `(2, PROBES)`."""
    try:
        objective.require_outputs()
    except TaskError as error:
        raise TaskError(f"--damping auto asks the Gauss-Newton matrix: {error.what}", fix="--damping 1e-3") from error
    gauss_newton = operators.operator("ggn", objective)
    probes = [sign_probe(gauss_newton.size, objective.theta, analysis.seed, "damping", n) for n in range(PROBES)]
    block = torch.stack(probes, dim=1)
    images = multiply(gauss_newton, block, width)
    pairs = (row_dots(images.T, images.T), row_dots(block.T, images.T))
    return np.stack([part.cpu().numpy() for part in pairs])


def _require_positive(eigenvalue: float) -> float:
    if not eigenvalue > 0:
        raise NumericalError(
            f"the eigenvalues of the Gauss-Newton matrix have the mean {eigenvalue:.3g}", fix="--damping 1e-3"
        )
    return eigenvalue
