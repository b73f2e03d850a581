"""The error by the labels that are drawn for the Fisher matrix, which no number of products makes smaller."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from landscape.algorithms.estimators.trace.state import trace_probe
from landscape.operators import FisherOperator

if TYPE_CHECKING:
    from landscape.analyses.shared.curvature import MatrixOptions
    from landscape.operators import LinearOperator

LABEL_PROBES = 8  # random vectors, in one pass, for the error of the trace


def label_standard_errors(operator: LinearOperator, block: np.ndarray | None) -> np.ndarray | None:
    """The standard error `(K,)` of v'Fv for each column v of `block` `(P, K)`; None for a matrix without labels."""
    if not isinstance(operator, FisherOperator) or block is None:
        return None
    variances, _ = operator.label_variances(torch.from_numpy(block).to(operator.like))
    errors: np.ndarray = variances.sqrt().cpu().numpy()
    return errors


def trace_label_error(analysis: MatrixOptions, operator: LinearOperator) -> float | None:
    """The standard error of tr F by the labels drawn; None for a matrix without drawn labels.

    NaN if the noise of the random vectors that estimate it hides it.
    """
    if not isinstance(operator, FisherOperator):
        return None
    probes = [
        trace_probe(operator.size, operator.like, analysis.seed, "labels", index) for index in range(LABEL_PROBES)
    ]
    _, variance = operator.label_variances(torch.stack(probes, dim=1))
    return math.sqrt(variance) if variance >= 0 else math.nan
