"""Surfaces as charts: the loss as a solid that is rotated, as a map, and on a line, with a contour at a chosen loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from landscape.figures.surface_scale import MAX_DECADES, MIN_LOG_RATIO, axis_label
from landscape.report.charts import BLUE, GREEN, INK, ORANGE, RULE, Chart, layout, name, numbers, points, thin

MAX_SIDE = 81  # points along each axis of a chart: a finer grid is thinned, and the picture on paper has all
SCALE = "Viridis"
WHITE = [[0, "#ffffff"], [1, "#ffffff"]]  # a scale of one color
LEVEL_PLACE = 0.3  # of the range of the colors: where the slider stands at first


def surface_charts(result: Any, beside: Mapping[str, Any]) -> list[Chart]:
    """The first plane as a solid and as a map, or the line."""
    del beside
    return [_line(result)] if result.beta is None else _plane(result)


def is_logarithmic(losses: np.ndarray) -> bool:
    """Whether heights are logarithms: as in pictures, where all losses are positive and their range is wide."""
    finite = losses[np.isfinite(losses)]
    return bool(len(finite)) and bool(finite.min() > 0 and finite.max() >= MIN_LOG_RATIO * finite.min())


def heights_of(losses: np.ndarray) -> np.ndarray:
    """The heights that are drawn: losses, or their logarithms to base 10, `MAX_DECADES` of them at most; NaN stays."""
    losses = np.where(np.isfinite(losses), losses, np.nan)
    if not is_logarithmic(losses):
        return losses
    logarithms = np.log10(losses)
    heights: np.ndarray = np.minimum(logarithms, np.nanmin(logarithms) + MAX_DECADES)
    return heights


def level_range(result: Any) -> tuple[float, float, float, bool]:
    """The lowest and the highest level of the slider, where it stands at first, and whether they are logarithms."""
    losses = _first_plane(result)[0]
    heights = heights_of(losses)
    finite = heights[np.isfinite(heights)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    return low, high, low + LEVEL_PLACE * (high - low), is_logarithmic(losses)


def _first_plane(result: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The losses of the first plane and the coordinates, thinned."""
    losses = result.loss[0] if result.seed is not None else result.loss
    rows, columns = thin(len(result.beta), MAX_SIDE), thin(len(result.alpha), MAX_SIDE)
    return losses[np.ix_(rows, columns)], result.alpha[columns], result.beta[rows]


def _plane(result: Any) -> list[Chart]:
    losses, alpha, beta = _first_plane(result)
    heights = heights_of(losses)
    low, high, level, logarithmic = level_range(result)
    words = [["" if np.isnan(value) else f"{value:.5g}" for value in row] for row in losses.tolist()]
    x, y = axis_label(result, "alpha"), axis_label(result, "beta")
    shared = {"x": numbers(alpha), "y": numbers(beta), "z": numbers(heights), "colorscale": SCALE}
    hover = f"{name(x)} %{{x:.4g}}<br>{name(y)} %{{y:.4g}}<br>loss %{{text}}<extra></extra>"
    ticks = _ticks(low, high, logarithmic)
    of = f", plane 0 of {len(result.loss)}" if result.seed is not None else ""
    bar = {"title": {"text": "loss"}, "thickness": 12, "len": 0.8, **ticks}
    contour = {"show": True, "start": level, "end": level + 1, "size": 2, "width": 4, "color": ORANGE,
               "project": {"z": True}}  # fmt: skip
    solid: dict[str, Any] = {"type": "surface", **shared, "text": words, "hovertemplate": hover, "showscale": False,
                             "contours": {"z": contour}}  # fmt: skip
    map_ = {"type": "heatmap", **shared, "text": words, "hovertemplate": hover, "colorbar": bar, "zsmooth": "best"}
    line = {
        **shared, "type": "contour", "meta": "level", "showscale": False, "hoverinfo": "skip", "line": {"width": 3},
        "contours": {"coloring": "lines", "start": level, "end": level, "size": 1}, "colorscale": WHITE,
    }  # fmt: skip
    axes = layout(f"loss{of}", x, y, yaxis={"scaleanchor": None})
    scene_axis = {"gridcolor": RULE, "color": INK, "backgroundcolor": "rgba(0,0,0,0)"}
    scene = {
        "xaxis": {**scene_axis, "title": {"text": name(x)}}, "yaxis": {**scene_axis, "title": {"text": name(y)}},
        "zaxis": {**scene_axis, "title": {"text": "loss"}, **ticks}, "aspectmode": "cube",
        "camera": {"eye": {"x": 1.4, "y": -1.5, "z": 0.9}},
    }  # fmt: skip
    space = {**layout(f"loss{of}", "", "", margin={"l": 0, "r": 0, "t": 40, "b": 0}), "scene": scene}
    extent = f"loss from {np.nanmin(losses):.4g} to {np.nanmax(losses):.4g}" if np.isfinite(losses).any() else "loss"
    return [
        Chart([solid], space, f"{extent} as a surface in three dimensions{of}", level="plane", solid=True),
        Chart([map_, line, *_marks(result)], axes, f"{extent} as a map{of}", level="plane"),
    ]


def _marks(result: Any) -> list[dict[str, Any]]:
    """The checkpoints on the plane."""
    style = {"symbol": "cross", "size": 10, "color": ORANGE, "line": {"color": "#ffffff", "width": 1}}
    if result.mark is None or result.place_alpha is None or result.place_beta is None:
        hover = f"checkpoint<br>loss {result.centre_loss:.5g}"
        return [points([0.0], [0.0], "checkpoint", ORANGE, hover, marker=style, showlegend=False)]
    trace = points(result.place_alpha, result.place_beta, "checkpoints", ORANGE, "%{text}", marker=style)
    return [{**trace, "text": [name(mark) for mark in result.mark], "showlegend": False}]


def _ticks(low: float, high: float, logarithmic: bool) -> dict[str, Any]:
    """Ticks of heights that are logarithms: at losses of one digit."""
    if not logarithmic:
        return {}
    candidates = [
        digit * 10.0**power for power in range(int(np.floor(low)), int(np.ceil(high)) + 1) for digit in (1, 2, 5)
    ]
    inside = [loss for loss in candidates if low <= np.log10(loss) <= high]
    if len(inside) > 8:
        inside = [loss for loss in inside if f"{loss:e}".startswith("1")]
    return {"tickvals": numbers(np.log10(inside)), "ticktext": [f"{loss:.4g}" for loss in inside]}


def _line(result: Any) -> Chart:
    at = thin(len(result.alpha))
    losses = np.atleast_2d(result.loss)[:, at]
    hover = "alpha %{x:.4g}<br>loss %{y:.6g}"
    data = [
        points(result.alpha[at], one, f"line {number}", BLUE, hover, mode="lines", opacity=0.4, showlegend=False)
        for number, one in enumerate(losses[:20] if len(losses) > 1 else ())
    ]
    data.append(points(result.alpha[at], losses.mean(axis=0), "loss" if len(losses) == 1 else "mean loss", BLUE, hover,
                       mode="lines"))  # fmt: skip
    more: dict[str, Any] = {}
    if result.accuracy is not None:
        share = np.atleast_2d(result.accuracy)[:, at].mean(axis=0)
        accuracy = points(
            result.alpha[at], share, "accuracy", GREEN, "alpha %{x:.4g}<br>accuracy %{y:.4g}", mode="lines"
        )
        accuracy["line"]["dash"] = "dash"
        data.append({**accuracy, "yaxis": "y2"})
        right = {"overlaying": "y", "side": "right", "range": [-0.02, 1.02], "showgrid": False, "zeroline": False}
        more["yaxis2"] = {**right, "title": {"text": "accuracy"}, "automargin": True}
    data.append(points([0.0], [result.centre_loss], "checkpoint", ORANGE, "checkpoint<br>loss %{y:.6g}"))
    finite = losses[np.isfinite(losses)]
    wide = len(finite) and finite.min() > 0 and finite.max() > 10 * finite.min()
    axes = layout("loss along a line", name(axis_label(result, "alpha")), "loss",
                  yaxis={"type": "log" if wide else "linear"}, **more)  # fmt: skip
    return Chart(data, axes, "loss along a line")
