"""Charts hold the numbers of results, as JSON that plotly draws, with nothing in a text that is markup."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from landscape.report.charts import MAX_BARS, MAX_LINES, MAX_POINTS, Chart, charts_of, layer_bars, name, numbers, thin
from landscape.report.surfaces import surface_charts

TAG = "<b>x</b>&"


def all_charts(results: Any) -> list[Chart]:
    others = dict(results.records)
    return [chart for name, one in others.items() for chart in charts_of(name, one, others)]


def test_every_chart_is_json_with_titled_axes_and_a_label(first: Any) -> None:
    charts = all_charts(first) + surface_charts(first.surface, {})
    assert len(charts) >= 9
    for chart in charts:
        json.dumps([chart.data, chart.layout], allow_nan=False)
        assert chart.label
        axes = chart.layout["scene"] if chart.solid else chart.layout
        titles = [axes[axis]["title"]["text"] for axis in ("xaxis", "yaxis")]
        named = [one for one in titles if one] or [chart.label]
        assert named
        assert all(titles) or "category" in str(chart.layout["yaxis"]) or chart.solid


def test_the_spectrum_holds_eigenvalues_and_residuals(first: Any) -> None:
    spectrum, convergence, blocks = charts_of("eig", first.eig, {})
    drawn = [value for trace in spectrum.data for value in trace["y"]]
    np.testing.assert_allclose(sorted(drawn), sorted(first.eig.eigenvalues), rtol=1e-5)
    bars = [value for trace in spectrum.data for value in trace["error_y"]["array"]]
    np.testing.assert_allclose(sorted(bars), sorted(first.eig.residuals), rtol=1e-5)
    last = [trace["y"][-1] for trace in convergence.data[:-1]]
    relative = np.abs(first.eig.ritz_residuals[-1] / first.eig.ritz_values[-1])
    np.testing.assert_allclose([value or 0 for value in last], relative, rtol=1e-5)
    assert convergence.data[-1]["y"] == [first.eig.tol] * 2
    assert blocks.data[0]["y"] == [str(one) for one in first.eig.layer]


def test_values_that_have_not_converged_are_apart(first: Any) -> None:
    result = replace(first.eig, converged=np.array([True, False, True]))
    spectrum, *_ = charts_of("eig", result, {})
    assert [(trace["name"], trace["x"]) for trace in spectrum.data] == [
        ("converged", [0.0, 2.0]),
        ("not converged", [1.0]),
    ]


def test_the_density_has_its_band_and_the_eigenvalues_of_eig(first: Any) -> None:
    (alone,) = charts_of("density", first.density, {})
    (both,) = charts_of("density", first.density, {"eig": first.eig})
    assert len(both.data) == len(alone.data) + 1
    np.testing.assert_allclose(both.data[-1]["x"], first.eig.eigenvalues, rtol=1e-5)
    low, high, density = (np.array(trace["y"]) for trace in both.data[:3])
    assert (low <= density * (1 + 1e-5)).all()
    assert (density <= high * (1 + 1e-5)).all()
    without = replace(first.density, density_band=None)  # of earlier versions
    assert len(charts_of("density", without, {})[0].data) == len(alone.data) - 2


def test_the_trace_has_its_interval_and_errors(first: Any) -> None:
    chart, *_ = charts_of("trace", first.trace, {})
    (strip,) = chart.layout["shapes"]
    assert (strip["y0"], strip["y1"]) == tuple(first.trace.interval)
    np.testing.assert_allclose(chart.data[0]["error_y"]["array"], first.trace.estimator_standard_error, rtol=1e-5)


def test_sharpness_has_both_curves_and_the_ascents(first: Any) -> None:
    curves, ascents = charts_of("sharpness", first.sharpness, {})
    assert {trace["name"] for trace in curves.data} >= {"worst case, s_max", "average case, s_avg"}
    best = max(value for trace in ascents.data for value in trace["x"])
    assert best == pytest.approx(1.0)


def test_an_analysis_without_charts_has_none() -> None:
    assert charts_of("measures", object(), {}) == []


def test_numbers_have_six_digits_and_nothing_that_json_lacks() -> None:
    assert numbers([1 / 3, np.nan, np.inf, -np.inf]) == [0.333333, None, None, None]
    assert numbers(np.array([[1.23456789], [2.0]])) == [[1.23457], [2.0]]


def test_thinned_lines_keep_their_ends_and_short_ones_stay() -> None:
    assert thin(3).tolist() == [0, 1, 2]
    assert thin(0).tolist() == []
    places = thin(10 * MAX_POINTS)
    assert (places[0], places[-1], len(places)) == (0, 10 * MAX_POINTS - 1, MAX_POINTS)


def test_many_ranks_and_steps_are_thinned(first: Any) -> None:
    steps, ranks = 5000, 60
    result = replace(first.eig, ritz_values=np.ones((steps, ranks)), ritz_residuals=np.ones((steps, ranks)))
    _, convergence, _ = charts_of("eig", result, {})
    assert len(convergence.data) == MAX_LINES + 1
    assert len(convergence.data[0]["x"]) == MAX_POINTS


def test_names_are_no_markup_of_plotly() -> None:
    assert name(TAG) == "&lt;b&gt;x&lt;/b&gt;&amp;"
    chart = layer_bars([TAG] * 60, np.arange(60.0), None, "trace")
    assert chart.data[0]["y"] == [name(TAG)] * MAX_BARS
    assert chart.layout["title"]["text"] == f"{MAX_BARS} of 60 blocks"
