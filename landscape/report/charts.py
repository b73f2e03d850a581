"""Charts of plotly as plain data: spectra, densities, traces, curves of sharpness and lines, with values on hover."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.errors import clean

DIGITS = 6  # of numbers in a chart: more than a reader can see or needs on hover
MAX_POINTS = 400  # of a line
MAX_LINES = 12  # of a panel: more cannot be told apart
MAX_BARS = 40  # of a panel with names
BLUE, ORANGE, GREEN, GREY, INK, RULE = (f"var(--{name})" for name in ("blue", "orange", "green", "grey", "ink", "rule"))
FONTS = "Helvetica, Arial, DejaVu Sans, sans-serif"  # by name: solids draw letters themselves, and inherit none
BAND = 0.2  # opacity of an interval
MARKUP = str.maketrans({"<": "&lt;", ">": "&gt;", "&": "&amp;"})  # plotly takes some tags in texts for markup


@dataclass(frozen=True)
class Chart:
    """A chart: the traces and the layout of plotly, and what readers of screens hear.

    Charts of one `level` group share a slider of the loss.
    """

    data: list[dict[str, Any]]
    layout: dict[str, Any]
    label: str
    level: str = ""
    solid: bool = False


def charts_of(analysis: str, result: Any, beside: Mapping[str, Any]) -> list[Chart]:
    """The charts of a result, a panel each; none for results that have pictures alone."""
    return DRAWN[analysis](result, beside) if analysis in DRAWN else []


def numbers(values: Any) -> list[Any]:
    """An array as lists of numbers of six digits; None in the place of NaN and infinity."""
    array = np.asarray(values, dtype=float)
    if array.ndim > 1:
        return [numbers(row) for row in array]
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in array.tolist()]


def thin(count: int, most: int = MAX_POINTS) -> np.ndarray:
    """At most so many places of a line with `count` points, evenly, both ends among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)) if count else np.arange(0)


def name(value: object) -> str:
    """A text of a chart in which nothing is markup."""
    return clean(str(value)).translate(MARKUP)


def layout(title: str, x: str, y: str, **more: Any) -> dict[str, Any]:
    """The layout of a chart: titles of both axes, and the colors of the page."""
    axis = {"gridcolor": RULE, "zerolinecolor": RULE, "linecolor": GREY, "automargin": True, "exponentformat": "power"}
    own = {axis_name: {**axis, **more.pop(axis_name, {})} for axis_name in ("xaxis", "yaxis")}
    own["xaxis"]["title"], own["yaxis"]["title"] = {"text": x}, {"text": y}
    return {
        "title": {"text": title, "font": {"size": 14}, "x": 0, "xref": "paper", "xanchor": "left"},
        "font": {"color": INK, "size": 12, "family": FONTS},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"namelength": -1},
        "margin": {"l": 60, "r": 20, "t": 40, "b": 50},
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        **own,
        **more,
    }


def points(x: Any, y: Any, label: str, color: str, hover: str, **more: Any) -> dict[str, Any]:
    """Points or a line; `hover` is what is shown beside a point."""
    return {
        "type": "scatter", "x": numbers(x), "y": numbers(y), "name": label, "mode": "markers",
        "marker": {"color": color, "size": 8}, "line": {"color": color, "width": 2},
        "hovertemplate": f"{hover}<extra></extra>", **more,
    }  # fmt: skip


def bars(errors: Any) -> dict[str, Any]:
    """Bars of errors on both sides of points."""
    return {"type": "data", "array": numbers(errors), "thickness": 1.5, "width": 4}


def band(x: Any, low: Any, high: Any, label: str, color: str) -> list[dict[str, Any]]:
    """The strip between two lines."""
    line = {"type": "scatter", "x": numbers(x), "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    fill = {"fill": "tonexty", "fillcolor": color, "opacity": BAND}
    return [{**line, "y": numbers(low), "showlegend": False}, {**line, **fill, "y": numbers(high), "name": label}]


def layer_bars(names: Any, values: Any, errors: Any, what: str) -> Chart:
    """A bar with its error for each of the first layers, the first on top."""
    count = min(len(names), MAX_BARS)
    error = {} if errors is None else {"error_x": bars(errors[:count])}
    trace = {
        "type": "bar", "orientation": "h", "y": [name(one) for one in names[:count]], "x": numbers(values[:count]),
        "marker": {"color": BLUE}, "hovertemplate": "%{y}<br>%{x:.6g}<extra></extra>", **error,
    }  # fmt: skip
    title = "by block" if count == len(names) else f"{count} of {len(names)} blocks"
    return Chart(
        [trace], layout(title, what, "", yaxis={"autorange": "reversed", "type": "category"}), f"{what}, {title}"
    )


def _eig(result: Any, beside: Mapping[str, Any]) -> list[Chart]:
    del beside
    charts = [_spectrum(result), _convergence(result)]
    if result.layer is not None:
        leading = "leading eigenvalue of the block"
        charts.append(layer_bars(result.layer, result.layer_eigenvalue, result.layer_residual, leading))
    return charts


def _spectrum(result: Any) -> Chart:
    rank = np.arange(len(result.eigenvalues))
    hover = "rank %{x}<br>eigenvalue %{y:.6g}<br>residual %{error_y.array:.3g}"
    groups = ((result.converged, BLUE, "converged"), (~result.converged, ORANGE, "not converged"))
    data = [
        points(rank[mask], result.eigenvalues[mask], label, color, hover, error_y=bars(result.residuals[mask]))
        for mask, color, label in groups
        if mask.any()
    ]
    title = f"{len(rank)} eigenvalues, loss {result.loss:.4g}"
    axes = layout(title, "rank", "eigenvalue (bars: residual)", yaxis={"rangemode": "tozero"})
    return Chart(data, axes, title)


def _convergence(result: Any) -> Chart:
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = result.ritz_residuals / np.abs(result.ritz_values)
    relative = np.where(relative > 0, relative, np.nan)
    known = np.flatnonzero(np.isfinite(result.ritz_values).any(axis=1))
    places = known[thin(len(known))]
    ranks = thin(relative.shape[1], MAX_LINES)
    shades = (BLUE, ORANGE, GREEN, "var(--purple)", "var(--yellow)", "var(--sky)")
    data = [
        points(
            places + 1,
            relative[places, rank],
            f"rank {rank}",
            shades[number % len(shades)],
            f"rank {rank}<br>product %{{x}}<br>relative residual %{{y:.3g}}",
            mode="lines",
        )
        for number, rank in enumerate(ranks)
    ]
    last = len(relative)
    data.append(points([1, last], [result.tol] * 2, "tolerance", GREY, "tolerance %{y:.3g}", mode="lines"))
    data[-1]["line"]["dash"] = "dash"
    x = "passes over the data" if result.products > last else "Hessian-vector products"
    return Chart(data, layout("convergence", x, "residual / |eigenvalue|", yaxis={"type": "log"}), "convergence")


def _density(result: Any, beside: Mapping[str, Any]) -> list[Chart]:
    at = thin(len(result.grid), 2 * MAX_POINTS)
    grid, density = result.grid[at], result.density[at]
    single = 1 / (result.parameters * result.width * np.sqrt(2 * np.pi))
    lowest = single / 30  # lower densities are tails of the Gaussians of single eigenvalues
    data = []
    if result.density_band is not None:
        low, high = np.maximum(result.density_band[:, at], lowest / 10)
        data += band(grid, low, high, "95 % band", BLUE)
    hover = "eigenvalue %{x:.5g}<br>density %{y:.4g}"
    data.append(points(grid, np.maximum(density, lowest / 10), "density", BLUE, hover, mode="lines"))
    data.append(points(grid[[0, -1]], [single] * 2, "peak of one eigenvalue", GREY, "one eigenvalue", mode="lines"))
    data[-1]["line"]["dash"] = "dot"
    if (eig := beside.get("eig")) is not None:
        data.append(
            points(eig.eigenvalues, [lowest * 2] * len(eig.eigenvalues), "eigenvalues of eig", ORANGE,
                   "eigenvalue %{x:.6g}", marker={"symbol": "line-ns-open", "size": 12, "color": ORANGE})
        )  # fmt: skip
    top = float(np.nanmax(density)) * 10
    reach = [float(np.log10(lowest)), float(np.log10(top))] if top > 0 else None
    axes = layout("density of eigenvalues", "eigenvalue", "density", yaxis={"type": "log", "range": reach})
    charts = [Chart(data, axes, "density of eigenvalues")]
    if result.layer is not None:
        charts.append(layer_bars(result.layer, result.layer_trace, result.layer_trace_se, "trace of the block"))
    return charts


def _trace(result: Any, beside: Mapping[str, Any]) -> list[Chart]:
    del beside
    names = [
        f"{name(one)}<br>{count} products"
        for one, count in zip(result.estimator, result.estimator_products, strict=True)
    ]
    estimates = points(
        [], result.estimator_trace, "estimate", BLUE, "%{x}<br>trace %{y:.6g}<br>standard error %{error_y.array:.3g}",
        error_y=bars(result.estimator_standard_error),
    )  # fmt: skip
    estimates["x"] = names
    low, high = (float(end) for end in result.interval)
    shape = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "y0": low, "y1": high, "fillcolor": BLUE,
             "opacity": BAND, "line": {"width": 0}}  # fmt: skip
    title = f"trace {result.trace:.5g}, strip: 95 % interval"
    shapes = [shape] if np.isfinite([low, high]).all() else []
    axes = layout(title, "estimator", "trace (bars: standard error)", shapes=shapes, xaxis={"type": "category"})
    charts = [Chart([estimates], axes, title)]
    if result.layer is not None:
        charts.append(layer_bars(result.layer, result.layer_trace, result.layer_standard_error, "trace of the block"))
    return charts


def _sharpness(result: Any, beside: Mapping[str, Any]) -> list[Chart]:
    del beside
    data = []
    for radii, rises, errors, label, color in (
        (result.rho, result.s_max, None, "worst case, s_max", BLUE),
        (result.radius, result.radius_s_max, None, "worst case along the curve", BLUE),
        (result.average_rho, result.s_avg, result.s_avg_se, "average case, s_avg", ORANGE),
        (result.radius, result.radius_s_avg, result.radius_s_avg_se, "average case along the curve", ORANGE),
    ):
        if radii is None or rises is None:
            continue
        hover = f"{label}<br>radius %{{x:.4g}}<br>rise %{{y:.5g}}"
        error = {} if errors is None else {"error_y": bars(errors)}
        mode = "lines" if "curve" in label else "markers"
        data.append(points(radii, rises, label, color, hover, mode=mode, **error))
    values = np.concatenate([np.asarray(trace["y"], dtype=float) for trace in data]) if data else np.zeros(0)
    scale = "log" if (values[np.isfinite(values)] > 0).all() else "linear"
    title = f"rise of the loss, loss {result.loss:.4g}"
    axes = layout(title, "radius rho", "rise of the mean loss", xaxis={"type": "log"}, yaxis={"type": scale})
    charts = [Chart(data, axes, title)] if data else []
    if result.start is not None and result.s_max is not None and len(result.start) > 1:
        charts.append(_ascents(result))
    if result.layer is not None:
        charts.append(layer_bars(result.layer, result.layer_share, None, "share in slope times move"))
    return charts


def _ascents(result: Any) -> Chart:
    """The rise that each start reached, relative to the largest at its radius."""
    names = [name(one) for one in result.start]
    data = []
    for place in thin(len(result.rho), MAX_LINES // 2):
        best = result.s_max[place]
        relative = result.start_rises[place] / best if best > 0 else np.full(len(names), np.nan)
        trace = points(relative, [], f"rho {result.rho[place]:g}", BLUE, "%{y}<br>%{x:.4f} of the largest rise")
        data.append({**trace, "y": names})
    axes = layout("ascents", "rise / largest rise", "", yaxis={"autorange": "reversed", "type": "category"})
    return Chart(data, axes, "rise of the loss in each ascent")


DRAWN: Mapping[str, Callable[[Any, Mapping[str, Any]], list[Chart]]] = {
    "eig": _eig,
    "density": _density,
    "trace": _trace,
    "sharpness": _sharpness,
}
