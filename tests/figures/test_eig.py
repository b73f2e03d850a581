"""The figure of eigenvalues and of their convergence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from figures.conftest import layers
from matplotlib.figure import Figure

from landscape.analyses.eig import EigResult
from landscape.figures import draw
from landscape.figures.registry import panel_count
from landscape.figures.style import MAX_BARS, MAX_NAMED


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
def test_every_variant_draws(eig_result: EigResult, changes: dict[str, object]) -> None:
    axes = Figure().subplots(1, panel_count(eig_result))
    draw(replace(eig_result, **changes), axes)  # type: ignore[arg-type]
    labels = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert {"converged", "not converged"} <= set(labels)
    assert ("PyHessian" in labels) == ("pyhessian_eigenvalues" in changes)
    assert len(axes[1].lines) == 4  # three ranks and the tolerance


def test_layers_have_a_panel(eig_result: EigResult) -> None:
    columns = {"layer_eigenvalue": np.linspace(3, -1, 40), "layer_residual": np.full(40, 0.1)}
    by_layer = replace(eig_result, **layers(40), **columns)  # type: ignore[arg-type]
    assert (panel_count(eig_result), panel_count(by_layer)) == (2, 3)
    axes = Figure().subplots(1, 3)
    draw(by_layer, axes)
    assert len(axes[2].patches) == MAX_BARS
    assert axes[2].get_title() == f"{MAX_BARS} of 40 blocks"


def test_ends_of_unlike_size_have_an_axis_that_is_logarithmic_on_both_sides(eig_result: EigResult) -> None:
    for lowest, scale in ((-0.5, "linear"), (-0.01, "symlog")):
        values = {"eigenvalues": np.array([3.0, 1.0, lowest]), "residuals": np.zeros(3)}
        axes = Figure().subplots(1, 2)
        draw(replace(eig_result, **values), axes)  # type: ignore[arg-type]
        assert axes[0].get_yscale() == scale


def test_many_ranks_have_a_color_bar_instead_of_a_legend(eig_result: EigResult) -> None:
    count = MAX_NAMED + 1
    history = np.linspace(1, 2, 3 * count).reshape(3, count)
    figure = Figure()
    axes = figure.subplots(1, 2)
    draw(replace(eig_result, ritz_values=history, ritz_residuals=0.1 * history), axes)
    assert [text.get_text() for text in axes[1].get_legend().get_texts()] == ["tolerance"]
    assert [axis.get_ylabel() for axis in figure.axes[2:]] == ["rank"]


def test_the_search_is_shaded_over_the_last_passes(eig_result: EigResult) -> None:
    axes = Figure().subplots(1, 2)
    draw(replace(eig_result, search_products=2), axes)
    (strip,) = axes[1].patches
    assert strip.get_x() == pytest.approx(1.5)
    assert strip.get_width() == pytest.approx(2)
