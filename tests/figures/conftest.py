"""Results as figures draw them, made without measuring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from figures.legibility import faults

from landscape.analyses.density import DensityResult
from landscape.analyses.eig import EigResult
from landscape.analyses.trace import TraceResult
from landscape.figures import canvas, layout, saving


@pytest.fixture(autouse=True)
def _legible(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every figure that a test saves is looked at: nothing covers data, and all text can be read."""
    found: list[str] = []

    def looked_at(figure: Any, *arguments: Any) -> bytes:
        """The figure's bytes, and what is wrong with it."""
        image = layout.to_bytes(figure, *arguments)
        found.extend(faults(figure))
        return image

    for module in (canvas, saving):
        monkeypatch.setattr(module, "to_bytes", looked_at)
    yield
    assert not found


def layers(count: int) -> dict[str, np.ndarray]:
    """The names and sizes of so many layers."""
    return {
        "layer": np.array([f"blocks.{index}.conv_with_a_long_name" for index in range(count)]),
        "layer_parameters": np.arange(count),
    }


@pytest.fixture
def eig_result() -> EigResult:
    """Three eigenvalues, of which the last has not converged."""
    history = np.array([[2.0, np.nan, np.nan], [2.9, 0.5, np.nan], [3.0, 1.0, -0.5]])
    return EigResult(
        eigenvalues=np.array([3.0, 1.0, -0.5]),
        residuals=np.array([0.0, 1e-4, 0.2]),
        error_bounds=np.array([0.0, 1e-6, 0.2]),
        converged=np.array([True, True, False]),
        ritz_values=history,
        ritz_residuals=np.abs(history) * 0.1,
        tol=1e-3,
        rounding=1e-6,
        products=3,
        search_products=0,
        confirmed=False,
        loss=0.1,
        gradient_norm=0.2,
        parameters=10,
        samples=5,
    )


@pytest.fixture
def density_result() -> DensityResult:
    """Two peaks, from 4 probes of 6 steps."""
    grid = np.linspace(-1, 4, 200)
    smooth = np.exp(-(grid**2) * 20) + 1e-3 * np.exp(-((grid - 3) ** 2) * 20)
    names = [f.name for f in fields(DensityResult) if f.type == "float"]
    return DensityResult(
        **{**dict.fromkeys(names, 1.0), "width": 0.05},
        grid=grid,
        density=smooth,
        density_se=0.2 * smooth,
        density_band=np.stack([0.5 * smooth, 2 * smooth]),
        ritz_nodes=np.zeros((4, 6)),
        ritz_weights=np.full((4, 6), 1 / 6),
        products=24,
        exact_weights=True,
        parameters=1000,
        samples=5,
    )


@pytest.fixture
def trace_result() -> TraceResult:
    """A trace by two estimators."""
    return TraceResult(
        trace=2.0,
        standard_error=0.1,
        interval=np.array([1.8, 2.2]),
        rtol=0.1,
        products=30,
        cost_gradients=60.0,
        estimator=np.array(["xtrace", "hutchinson"]),
        estimator_trace=np.array([2.0, 3.0]),
        estimator_standard_error=np.array([0.1, 1.0]),
        estimator_products=np.array([30, 15]),
        estimator_needed=np.array([30.0, 1000.0]),
        loss=0.1,
        gradient_norm=0.1,
        parameters=10,
        samples=5,
        data_standard_error=0.3,
    )
