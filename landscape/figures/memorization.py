"""The picture of memorization: functional spectrum, curvature mass, activations, layers, and scores of samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from landscape.choices import CLEAN, MEMORIZED
from landscape.errors import clean
from landscape.figures.style import (
    GREY,
    MAX_NAMED,
    SIGNED_MAP,
    bars_that_fit,
    draw_shades_bar,
    ink,
    name_size,
    population_style,
    series_style,
    shades,
)
from landscape.figures.texts import draw_legend, legend_text, set_heading, set_label, tell_apart, tick_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.memorization.memorization_result import MemorizationResult
    from landscape.figures.look import Context
    from landscape.figures.registry import Panels

SCORES = ("edit_damage", "edit_kl", "input_curvature", "sample_loss")  # in the order in which they are drawn
BINS = 40
LETTERS_OF_A_LAYER = 24  # in a legend
MAX_CURVES = 12  # curves of layers that can be told apart in one panel, with a color bar
LINEAR_SHARE = 1e-3  # of the largest change: smaller changes are drawn on a linear scale
SMALLEST_DECADE = 1e-12  # of that scale, where all changes are zero
BARS_WIDTH = 0.8  # of the bars of all populations together, relative to the distance between bands


def panels(result: MemorizationResult, context: Context) -> Panels:
    """The functional spectrum, the curvature mass, the activations, the layers, and the scores of samples."""
    found: dict[str, Callable[[Axes], None]] = {
        "spectrum": partial(draw_functional_spectrum, result),
        "mass": partial(draw_curvature_mass, result),
        "activations": partial(draw_activation_ratios, result),
    }
    if result.layer_delta_loss is not None:
        found["layers"] = partial(draw_layer_changes, result)
    scores = [name for name in SCORES if getattr(result, name) is not None]
    return found | {name.replace("_", "-"): partial(draw_score_histogram, result, name) for name in scores}


def draw_functional_spectrum(result: MemorizationResult, axes: Axes) -> None:
    """Bars of the change of the loss by band, with intervals; crosses are noise, plus signs random components."""
    positions = np.arange(len(result.band))
    width = BARS_WIDTH / len(result.population)
    for row, name in enumerate(result.population):
        x = positions + (row - (len(result.population) - 1) / 2) * width
        change = result.delta_loss[row]
        errors = np.abs(np.stack([change - result.delta_loss_lo[row], result.delta_loss_hi[row] - change]))
        style = population_style(str(name), row)
        axes.bar(
            x, change, width, yerr=errors, color=style.color, hatch=style.hatch, edgecolor="white", linewidth=0,
            label=legend_text(str(name)), error_kw={"elinewidth": 0.8, "ecolor": ink()},
        )  # fmt: skip
        for control, mark, label in (
            (result.noise_delta_loss, "x", "same-norm noise"),
            (result.random_delta_loss, "+", "random components"),
        ):
            if control is not None:
                once = label if not row else None  # one entry in the legend for all populations
                axes.plot(x, control[row], mark, color=ink(), markersize=4.5, label=once, markeredgewidth=0.8)
    _scale_symmetrically(axes, float(np.nanmax(np.abs(result.delta_loss))))
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xticks(
        positions,
        [str(band) for band in result.band],
        fontsize="small",
        rotation=45,
        ha="right",
        rotation_mode="anchor",
    )
    set_label(axes, "x", "components removed, by rank (sharpest first)")
    axes.set_ylabel("change of the loss (symmetric log)")
    set_heading(axes, "functional spectrum")
    draw_legend(axes)


def _scale_symmetrically(axes: Axes, largest: float) -> None:
    """A logarithmic scale in both directions up to `largest`, linear near zero."""
    smallest = 10.0 ** np.floor(np.log10(max(largest * LINEAR_SHARE, SMALLEST_DECADE)))
    decades = smallest * 10.0 ** np.arange(1, 6)
    ticks = decades[decades <= largest * 10]
    axes.set_yscale("symlog", linthresh=smallest, linscale=0.3)
    axes.set_yticks([*-ticks, 0, *ticks])


def draw_curvature_mass(result: MemorizationResult, axes: Axes) -> None:
    """The share of the curvature mass in the sharpest components, by layer."""
    layers = len(result.layer)
    rows = np.unique(np.linspace(0, layers - 1, min(layers, MAX_CURVES)).round().astype(int))
    named = layers <= MAX_NAMED
    names = tell_apart([clean(str(name)) for name in result.layer], LETTERS_OF_A_LAYER)
    for row, color in zip(rows, shades(layers)[rows], strict=True):
        label = legend_text(names[row]) if named else None
        line = series_style(row).line if named else "-"
        axes.plot(result.share, result.cumulative_mass[row], color=color, linestyle=line, linewidth=1.3, label=label)
    axes.plot(
        result.kept_fraction, result.rho, ".--", color=ink(), linewidth=1, markersize=5, label="all layers, at rho"
    )
    axes.set_xscale("log")
    axes.set_xlim(result.share[0], 1)
    set_label(axes, "x", "share of components, the sharpest first")
    axes.set_ylabel("share of the curvature mass")
    set_heading(axes, "curvature mass")
    draw_legend(axes)
    if not named:
        draw_shades_bar(axes, layers, "layer, in the order of the model")


def draw_activation_ratios(result: MemorizationResult, axes: Axes) -> None:
    """The energy of inputs in the quarters of A's eigenvectors, relative to that of the clean samples."""
    for row, name in enumerate(result.population):
        # samples with their true labels have the inputs of the memorized ones: one of the two lines is dashed
        style, ratio = population_style(str(name), row), result.activation_ratio[row]
        axes.plot(
            result.quarter, ratio, linestyle=style.line, marker=style.mark, color=style.color, markersize=4,
            label=legend_text(str(name)),
        )  # fmt: skip
    axes.axhline(1, color=GREY, linewidth=0.8)
    axes.set_xticks(result.quarter, [f"{part}" for part in result.quarter])
    set_label(axes, "x", "quarter of A's directions, the largest first")
    axes.set_ylabel("activation energy / clean")
    set_heading(axes, "activations: rarity, not memorization")
    draw_legend(axes)


def draw_layer_changes(result: MemorizationResult, axes: Axes) -> None:
    """The change of the loss when a band is removed from one layer: memorized minus clean, if both were measured."""
    assert result.layer_delta_loss is not None
    names = [str(name) for name in result.population]
    first = names.index(MEMORIZED) if MEMORIZED in names else 0
    values, title = result.layer_delta_loss[first], names[first]
    if CLEAN in names and names.index(CLEAN) != first:
        values, title = values - result.layer_delta_loss[names.index(CLEAN)], f"{names[first]} - {CLEAN}"
    shown = bars_that_fit(axes, len(result.layer))
    size = name_size(shown)
    values, labels = values[:shown], tick_names(axes, list(map(str, result.layer[:shown])), size)
    limit = float(np.nanmax(np.abs(values))) or 1.0
    image = axes.imshow(values, aspect="auto", cmap=SIGNED_MAP, vmin=-limit, vmax=limit)
    axes.figure.colorbar(image, ax=axes, label="change of the loss")
    axes.set_yticks(range(len(labels)), labels, fontsize=size, parse_math=False)
    bands = [str(band) for band in result.band]
    axes.set_xticks(range(len(bands)), bands, fontsize="small", rotation=45, ha="right", rotation_mode="anchor")
    more = f", {shown} of {len(result.layer)} layers" if len(result.layer) > shown else ""
    set_heading(axes, f"removed from one layer: {title}{more}", math=False)


def draw_score_histogram(result: MemorizationResult, name: str, axes: Axes) -> None:
    """The distribution of a score over samples, memorized samples apart; nonpositive values are in the first bin."""
    values = np.asarray(getattr(result, name))
    lowest = values[values > 0].min() if (values > 0).any() else SMALLEST_DECADE
    clipped = np.maximum(values, lowest)
    edges = np.geomspace(lowest, max(float(clipped.max()), lowest * 10), BINS)
    memorized = result.sample_memorised
    kinds = (
        [("samples", np.ones(len(values), bool), 0)]
        if memorized is None
        else [("others", ~memorized, 1), (MEMORIZED, memorized, 0)]
    )
    for label, mask, row in kinds:
        weights = np.full(int(mask.sum()), 1 / max(int(mask.sum()), 1))
        style = population_style(label, row)
        axes.hist(
            clipped[mask], list(edges), weights=weights, color=style.color, alpha=0.6, hatch=style.hatch,
            edgecolor="white", linewidth=0, label=label,
        )  # fmt: skip
    title = name.replace("_", " ")
    axes.set_xscale("log")
    set_label(axes, "x", title + (" (nonpositive at the left)" if (values <= 0).any() else ""))
    axes.set_ylabel("share of samples")
    area = _auroc(result, name)
    set_heading(axes, title if area is None else f"{title}: AUROC {area:.3f}")
    draw_legend(axes)


def _auroc(result: MemorizationResult, name: str) -> float | None:
    """The AUROC of the score in a field; None without a memorized population."""
    if result.score is None or result.auroc is None:
        return None
    areas = dict(zip(map(str, result.score), result.auroc, strict=True))
    return areas.get(name.removeprefix("sample_"))
