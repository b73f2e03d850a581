"""The figure of the density: its axis, its band and the ticks of eigenvalues."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from figures.conftest import layers
from matplotlib.figure import Figure

from landscape.analyses.density import DensityResult
from landscape.analyses.eig import EigResult
from landscape.figures import draw, save
from landscape.figures.registry import panel_count
from landscape.figures.style import MAX_BARS


def test_the_density_has_a_logarithmic_axis_a_band_and_ticks(
    density_result: DensityResult, eig_result: EigResult
) -> None:
    assert panel_count(density_result) == 1
    axes = Figure().subplots(1, 1, squeeze=False)[0]
    draw(density_result, axes, beside={"eig": eig_result})
    labels = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert labels == ["95 % band", "density", "peak of a single eigenvalue", "3 eigenvalues of eig"]
    assert axes[0].get_yscale() == "log"
    assert np.array_equal(axes[0].lines[2].get_xdata(), eig_result.eigenvalues)
    low, high = axes[0].get_ylim()
    assert low > 0
    assert high > density_result.density.max()


def test_the_dotted_line_is_the_peak_of_one_of_the_parameters(density_result: DensityResult) -> None:
    axes = Figure().subplots(1, 1, squeeze=False)[0]
    draw(density_result, axes)
    peak = 1 / (1000 * 0.05 * np.sqrt(2 * np.pi))  # a Gaussian of that width over 1,000 parameters
    assert axes[0].lines[1].get_ydata()[0] == pytest.approx(peak)


def test_the_band_is_the_result_s_own(density_result: DensityResult) -> None:
    axes = Figure().subplots(1, 1, squeeze=False)[0]
    draw(density_result, axes)
    (band,) = axes[0].collections
    peak = int(density_result.density.argmax())
    edges = [point[1] for point in band.get_paths()[0].vertices if point[0] == density_result.grid[peak]]
    assert min(edges) == pytest.approx(0.5 * density_result.density[peak])
    assert max(edges) == pytest.approx(2 * density_result.density[peak])


def test_a_result_of_an_earlier_version_has_no_band(density_result: DensityResult) -> None:
    axes = Figure().subplots(1, 1, squeeze=False)[0]
    draw(replace(density_result, density_band=None), axes)
    assert not axes[0].collections
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["density", "peak of a single eigenvalue"]


def test_a_vague_band_can_be_drawn(density_result: DensityResult) -> None:
    vague = replace(density_result, density_band=np.stack([np.zeros(200), np.full(200, 1e300)]))
    axes = Figure().subplots(1, 1, squeeze=False)[0]
    draw(vague, axes)
    assert axes[0].get_ylim()[1] < 1e3 * vague.density.max()


@pytest.mark.parametrize("count", [1, 5, 60])
def test_layers_have_bars(density_result: DensityResult, count: int, tmp_path: Path) -> None:
    columns = {"layer_trace": np.linspace(3, -1, count), "layer_trace_se": np.full(count, 0.1)}
    by_layer = replace(density_result, **layers(count), **columns)  # type: ignore[arg-type]
    axes = Figure().subplots(1, panel_count(by_layer))
    draw(by_layer, axes)
    assert len(axes[1].patches) == min(count, MAX_BARS)
    save(by_layer, tmp_path / "a.png", heading="a", fingerprint="f")
