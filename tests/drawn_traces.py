"""A result of the trace with layers, and the rows of what is printed."""

from __future__ import annotations

from typing import Any

import numpy as np

from landscape.analyses.trace import TraceResult


def rows(out: str, first: str) -> list[list[str]]:
    """The words of the lines that begin with a word."""
    return [line.split() for line in out.splitlines() if line.split()[:1] == [first]]


def drawn_trace(**changes: Any) -> TraceResult:
    """A trace of two layers, each several times its standard error."""
    values: dict[str, Any] = {
        "trace": 2.0,
        "standard_error": 0.1,
        "interval": np.array([1.8, 2.2]),
        "rtol": 0.1,
        "products": 30,
        "cost_gradients": 60.0,
        "estimator": np.array(["xtrace"]),
        "estimator_trace": np.array([2.0]),
        "estimator_standard_error": np.array([0.1]),
        "estimator_products": np.array([30]),
        "estimator_needed": np.array([20.0]),
        "loss": 0.1,
        "gradient_norm": 0.1,
        "parameters": 10,
        "samples": 5,
        "layer": np.array(["first", "second"]),
        "layer_parameters": np.array([4, 6]),
        "layer_trace": np.array([1.5, -0.25]),
        "layer_standard_error": np.array([0.1, 0.125]),
        "layer_share": np.array([1.2, -0.2]),
    }
    return TraceResult(**{**values, **changes})
