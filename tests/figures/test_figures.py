"""Pictures are drawn for every kind of result, carry the run's fingerprint, and show what was measured."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from landscape.analyses.density import DensityResult
from landscape.analyses.eig import EigResult
from landscape.analyses.trace import TraceResult
from landscape.figures import FIGURES, save
from landscape.figures.density import confidence_band
from landscape.figures.style import MAX_BARS


@pytest.fixture
def result() -> EigResult:
    values = np.array([3.0, 1.0, -0.5])
    history = np.array([[2.0, np.nan, np.nan], [2.9, 0.5, np.nan], [3.0, 1.0, -0.5]])
    return EigResult(
        eigenvalues=values,
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


def test_a_file_carries_the_fingerprint(result: EigResult, tmp_path: Path) -> None:
    save(result, tmp_path / "a.png", title="odd $name_[x].pt", fingerprint="abc123")
    with Image.open(tmp_path / "a.png") as image:
        assert "abc123" in image.text["Description"]
        assert image.width > image.height
        assert len(np.unique(np.asarray(image))) > 50
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pyhessian_eigenvalues": np.array([3.0, 1.1, 0.4])},
        {"search_products": 2},
        {"eigenvalues": np.zeros(3)},
        {"eigenvalues": np.array([1.0, 0.5, np.nan])},
    ],
    ids=["plain", "pyhessian", "searched", "all-zero", "unknown"],
)
def test_every_variant_draws(result: EigResult, changes: dict[str, object]) -> None:
    panels, draw = FIGURES[EigResult]
    axes = Figure().subplots(1, panels(result))
    draw(replace(result, **changes), axes, {})  # type: ignore[arg-type]
    labels = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert {"converged", "not converged"} <= set(labels)
    assert ("PyHessian" in labels) == ("pyhessian_eigenvalues" in changes)
    assert len(axes[1].lines) == 4  # three ranks and the tolerance


def layers(count: int) -> dict[str, np.ndarray]:
    return {
        "layer": np.array([f"blocks.{index}.conv_with_a_long_name" for index in range(count)]),
        "layer_parameters": np.arange(count),
    }


def test_eig_has_a_panel_for_layers(result: EigResult) -> None:
    columns = {"layer_eigenvalue": np.linspace(3, -1, 40), "layer_residual": np.full(40, 0.1)}
    by_layer = replace(result, **layers(40), **columns)  # type: ignore[arg-type]
    panels, draw = FIGURES[EigResult]
    assert (panels(result), panels(by_layer)) == (2, 3)
    axes = Figure().subplots(1, 3)
    draw(by_layer, axes, {})
    assert len(axes[2].patches) == MAX_BARS
    assert axes[2].get_title() == f"{MAX_BARS} of 40 blocks"


@pytest.fixture
def density() -> DensityResult:
    grid = np.linspace(-1, 4, 200)
    smooth = np.exp(-(grid**2) * 20) + 1e-3 * np.exp(-((grid - 3) ** 2) * 20)
    names = [f.name for f in fields(DensityResult) if f.type == "float"]
    return DensityResult(
        **{**dict.fromkeys(names, 1.0), "width": 0.05},
        grid=grid,
        density=smooth,
        density_se=0.2 * smooth,
        ritz_nodes=np.zeros((4, 6)),
        ritz_weights=np.full((4, 6), 1 / 6),
        products=24,
        exact_weights=True,
        parameters=1000,
        samples=5,
    )


def test_the_density_has_a_logarithmic_axis_a_band_and_ticks(density: DensityResult, result: EigResult) -> None:
    panels, draw = FIGURES[DensityResult]
    assert panels(density) == 1
    axes = Figure().subplots(1, 1, squeeze=False)[0]
    draw(density, axes, {"eig": result})
    labels = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert labels == ["95 % band", "density", "peak of a single eigenvalue", "3 eigenvalues of eig"]
    assert axes[0].get_yscale() == "log"
    assert np.array_equal(axes[0].lines[2].get_xdata(), result.eigenvalues)
    low, high = axes[0].get_ylim()
    assert low > 0
    assert high > density.density.max()


def test_the_band_is_student_s_and_never_negative(density: DensityResult) -> None:
    low, high = confidence_band(density)
    # the 97.5 % quantile of Student's t with 3 degrees of freedom is 3.182
    assert np.allclose(high / density.density, np.exp(3.182 * 0.2), rtol=1e-3)
    assert (low > 0).all()
    vague = replace(density, density_se=np.full(200, 50.0), density=np.full(200, 1e-12))
    assert not np.isnan(confidence_band(vague)).any()
    FIGURES[DensityResult][1](vague, Figure().subplots(1, 1, squeeze=False)[0], {})


@pytest.mark.parametrize("count", [1, 5, 60])
def test_density_and_trace_have_bars_for_layers(density: DensityResult, count: int, tmp_path: Path) -> None:
    columns = {"layer_trace": np.linspace(3, -1, count), "layer_trace_se": np.full(count, 0.1)}
    save(replace(density, **layers(count), **columns), tmp_path / "a.png", title="a", fingerprint="f")  # type: ignore[arg-type]
    trace = TraceResult(
        trace=2.0,
        standard_error=0.1,
        interval=np.array([1.8, 2.2]),
        rtol=0.1,
        products=30,
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
        **layers(count),
        layer_trace=columns["layer_trace"],
        layer_standard_error=columns["layer_trace_se"],
        layer_share=np.full(count, 1 / count),
    )
    panels, draw = FIGURES[TraceResult]
    axes = Figure().subplots(1, panels(trace))
    draw(trace, axes, {})
    assert [text.get_text() for text in axes[0].get_xticklabels()] == ["xtrace\n30 products", "hutchinson\n15 products"]
    assert len(axes[1].patches) == min(count, MAX_BARS)
    save(trace, tmp_path / "b.png", title="b", fingerprint="f")
    exact = replace(trace, layer=None, estimator=np.array([], dtype=str), interval=np.array([np.nan, np.nan]),
                    estimator_trace=np.zeros(0), estimator_standard_error=np.zeros(0),
                    estimator_products=np.zeros(0))  # fmt: skip
    save(exact, tmp_path / "c.png", title="nothing yet", fingerprint="f")
