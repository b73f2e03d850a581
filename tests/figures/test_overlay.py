"""Results of several checkpoints over each other: what is drawn, in whose color, and with which bars."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from landscape.analyses.density import DensityResult
from landscape.analyses.eig import EigResult
from landscape.analyses.trace import TraceResult
from landscape.figures.overlay import DRAWN, draw_overlay, overlaid
from landscape.figures.style import SERIES


def drawn(name: str, **results: Any) -> Axes:
    """A panel of one analysis, with results by label."""
    axes = Figure().subplots()
    draw_overlay(name, results, axes)
    return axes


def legend(axes: Axes) -> list[str]:
    found = axes.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def segments(bars: Any) -> np.ndarray:
    """The ends of error bars, `(n, 2, 2)`."""
    (lines,) = bars[2]
    ends: np.ndarray = np.array(lines.get_segments())
    return ends


def sharpness(**changes: Any) -> Any:
    """Rises over two radii in both cases."""
    two = np.array([0.1, 0.2])
    fields = {"rho": two, "s_max": 3 * two, "average_rho": two / 10, "s_avg": two / 2, "s_avg_se": two / 100}
    return SimpleNamespace(**{**fields, **changes})


def test_analyses_that_every_checkpoint_has_are_drawn() -> None:
    one = {"trace": 1, "eig": 1, "measures": 1}
    assert overlaid([one, {"eig": 2, "trace": 2, "density": 2, "measures": 2}]) == ["eig", "trace"]
    assert overlaid([one, {"density": 2}]) == []
    assert overlaid([dict.fromkeys(DRAWN, 1)]) == list(DRAWN)


def test_eigenvalues_stand_over_their_ranks_with_their_residuals(eig_result: EigResult) -> None:
    axes = drawn("eig", first=eig_result, second=replace(eig_result, eigenvalues=eig_result.eigenvalues[:2] + 1,
                                                         residuals=eig_result.residuals[:2]))  # fmt: skip
    first, second = axes.containers
    assert first[0].get_xydata().tolist() == [[0, 3.0], [1, 1.0], [2, -0.5]]
    assert second[0].get_xydata().tolist() == [[0, 4.0], [1, 2.0]]
    assert segments(first)[2, :, 1].tolist() == pytest.approx([-0.7, -0.3])
    assert legend(axes) == ["first", "second"]
    assert first[0].get_color() != second[0].get_color()
    assert first[0].get_marker() != second[0].get_marker()


def test_errors_by_samples_are_bars_with_ends_where_they_are_known(eig_result: EigResult) -> None:
    known = replace(eig_result, data_standard_errors=np.array([0.5, 0.25, 0.125]))
    axes = drawn("eig", first=eig_result, second=known)
    assert len(axes.containers) == 3
    assert segments(axes.containers[2])[0, :, 1].tolist() == [2.5, 3.5]
    assert axes.containers[2][2][0].get_color()[0] == pytest.approx(axes.containers[1][2][0].get_color()[0])
    assert "error by samples" in axes.get_ylabel().replace("\n", " ")
    assert "error by samples" not in drawn("eig", first=eig_result).get_ylabel()


def test_traces_stand_in_the_order_of_their_labels_the_first_on_top(trace_result: TraceResult) -> None:
    skewed = replace(trace_result, trace=5.0, interval=np.array([4.0, 8.0]))
    axes = drawn("trace", first=trace_result, second=skewed)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["first", "second"]
    assert axes.yaxis_inverted()
    first, second = axes.containers
    assert segments(first)[0, :, 0].tolist() == pytest.approx([1.8, 2.2])
    assert segments(second)[0].tolist() == [[4.0, 1.0], [8.0, 1.0]]
    assert axes.get_legend() is None  # the labels of the axis say it


@pytest.mark.parametrize("has_band", [True, False], ids=["band", "no-band"])
def test_densities_have_their_bands_where_they_are_known(density_result: DensityResult, has_band: bool) -> None:
    second = density_result if has_band else replace(density_result, density_band=None)
    axes = drawn("density", first=density_result, second=second)
    assert len(axes.collections) == 1 + has_band
    assert legend(axes) == ["first", "second"]
    assert axes.get_yscale() == "log"


def test_the_densest_and_the_least_weight_of_all_densities_are_in_sight(density_result: DensityResult) -> None:
    tall = replace(density_result, density=50 * density_result.density, density_band=None)
    fine = replace(density_result, parameters=10**6)
    low, high = drawn("density", first=tall, second=fine).get_ylim()
    assert high > tall.density.max()
    assert low < 1 / (10**6 * fine.width)


def test_worst_and_average_case_have_the_color_of_their_checkpoint() -> None:
    axes = drawn("sharpness", first=sharpness(), second=sharpness(s_max=None), third=sharpness(s_avg=None))
    assert legend(axes) == ["first, worst case", "third, worst case", "first, average case", "second, average case"]
    colors = {line.get_label(): to_hex(line.get_color()) for line in axes.lines if line.get_label() in legend(axes)}
    assert colors["first, worst case"] == SERIES[0].color.lower()
    assert colors["third, worst case"] == SERIES[2].color.lower()
    averages = [bars[0] for bars in axes.containers]
    assert [to_hex(line.get_color()) for line in averages] == [style.color.lower() for style in SERIES[:2]]
    assert averages[0].get_xydata().tolist() == [[0.01, 0.05], [0.02, 0.1]]  # over radii of its own
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_more_checkpoints_than_colors_are_drawn_all_the_same(eig_result: EigResult) -> None:
    results = {f"net {number}": eig_result for number in range(len(SERIES) + 1)}
    axes = drawn("eig", **results)
    assert legend(axes) == list(results)
    assert axes.containers[0][0].get_color() == axes.containers[-1][0].get_color()


@pytest.mark.parametrize(("label", "shown"), [("_ema", " _ema"), ("$x$", r"\$x\$")], ids=["underscore", "dollars"])
def test_every_label_is_shown_as_it_is_written(label: str, shown: str, eig_result: EigResult) -> None:
    """Matplotlib leaves labels that begin with an underscore out of legends, and reads dollars as math."""
    assert legend(drawn("eig", **{label: eig_result})) == [shown]
