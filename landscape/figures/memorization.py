"""The picture of memorization: functional spectrum, curvature mass, activations, layers, and scores of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.choices import CLEAN, MEMORIZED
from landscape.errors import clean
from landscape.figures.style import GREY, population_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.memorization.memorization_result import MemorizationResult

SCORES = ("edit_damage", "edit_kl", "input_curvature", "sample_loss")  # in the order in which they are drawn
MAX_HISTOGRAMS = 2
BINS = 40
MAX_LAYERS = 24  # names of layers that can be read in one panel
MAX_CURVES = 12  # curves of layers that can be told apart in one panel
LINEAR_SHARE = 1e-3  # of the largest change: smaller changes are drawn on a linear scale
SMALLEST_DECADE = 1e-12  # of that scale, where all changes are zero
BARS_WIDTH = 0.8  # of the bars of all populations together, relative to the distance between bands


def panels(result: MemorizationResult) -> int:
    """Three panels, one for the layers if each was measured alone, and one for each histogram of scores."""
    return 3 + (result.layer_delta_loss is not None) + len(_scores(result))


def draw(result: MemorizationResult, axes: Sequence[Axes], beside: Mapping[str, Any]) -> None:  # noqa: ARG001
    """Draws the functional spectrum, the curvature mass, the activations, the layers, and the scores."""
    draw_functional_spectrum(result, axes[0])
    draw_curvature_mass(result, axes[1])
    draw_activation_ratios(result, axes[2])
    rest = list(axes[3:])
    if result.layer_delta_loss is not None:
        draw_layer_changes(result, rest.pop(0))
    for name, panel in zip(_scores(result), rest, strict=True):
        draw_score_histogram(result, name, panel)


def draw_functional_spectrum(result: MemorizationResult, axes: Axes) -> None:
    """Bars of the change of the loss by band, with intervals; crosses are noise, plus signs random components."""
    positions = np.arange(len(result.band))
    width = BARS_WIDTH / len(result.population)
    for row, name in enumerate(result.population):
        x = positions + (row - (len(result.population) - 1) / 2) * width
        change = result.delta_loss[row]
        errors = np.abs(np.stack([change - result.delta_loss_lo[row], result.delta_loss_hi[row] - change]))
        color = population_color(str(name), row)
        axes.bar(x, change, width, yerr=errors, color=color, label=str(name), error_kw={"elinewidth": 0.8})
        for control, mark, label in (
            (result.noise_delta_loss, "x", "same-norm noise"),
            (result.random_delta_loss, "+", "random components"),
        ):
            if control is not None:
                once = label if not row else None  # one entry in the legend for all populations
                axes.plot(x, control[row], mark, color="black", markersize=4.5, label=once, markeredgewidth=0.8)
    _scale_symmetrically(axes, float(np.nanmax(np.abs(result.delta_loss))))
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xticks(positions, [str(band) for band in result.band], fontsize=7, rotation=30)
    axes.set_xlabel("functional spectrum: components removed, by rank (sharpest first)", fontsize=9)
    axes.set_ylabel("change of the loss (symmetric log)")
    axes.legend(fontsize=6.5, edgecolor="none", ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _scale_symmetrically(axes: Axes, largest: float) -> None:
    """A logarithmic scale in both directions up to `largest`, linear near zero."""
    smallest = 10.0 ** np.floor(np.log10(max(largest * LINEAR_SHARE, SMALLEST_DECADE)))
    decades = smallest * 10.0 ** np.arange(1, 6)
    ticks = decades[decades <= largest * 10]
    axes.set_yscale("symlog", linthresh=smallest, linscale=0.3)
    axes.set_yticks([*-ticks, 0, *ticks])


def draw_curvature_mass(result: MemorizationResult, axes: Axes) -> None:
    """The share of the curvature mass in the sharpest components, by layer."""
    from matplotlib import colormaps

    count = min(len(result.layer), MAX_CURVES)
    rows = np.unique(np.linspace(0, len(result.layer) - 1, count).round().astype(int))
    colors = colormaps["viridis"](np.linspace(0, 0.9, len(rows)))
    for row, color in zip(rows, colors, strict=True):
        axes.plot(result.share, result.cumulative_mass[row], color=color, linewidth=1.3, label=str(result.layer[row]))
    axes.plot(result.kept_fraction, result.rho, "--", color="black", linewidth=1, label="all layers, at rho")
    axes.set_xscale("log")
    axes.set_xlim(result.share[0], 1)
    axes.set_xlabel("share of components, the sharpest first", fontsize=9)
    axes.set_ylabel("share of the curvature mass")
    axes.legend(fontsize=6.5, edgecolor="none")
    axes.set_title("curvature mass", fontsize=10)


def draw_activation_ratios(result: MemorizationResult, axes: Axes) -> None:
    """The energy of inputs in the quarters of A's eigenvectors, relative to that of the clean samples."""
    for row, name in enumerate(result.population):
        # samples with their true labels have the inputs of the memorized ones: solid, their line would hide the other
        line = "o--" if str(name) == "truth" else "o-"
        ratio = result.activation_ratio[row]
        axes.plot(result.quarter, ratio, line, color=population_color(str(name), row), markersize=4, label=str(name))
    axes.axhline(1, color=GREY, linewidth=0.8)
    axes.set_xticks(result.quarter, [f"{part}" for part in result.quarter])
    axes.set_xlabel("quarter of A's directions, the largest first", fontsize=9)
    axes.set_ylabel("activation energy / clean")
    axes.legend(fontsize=7, edgecolor="none")
    axes.set_title("activations: rarity, not memorization", fontsize=10)


def draw_layer_changes(result: MemorizationResult, axes: Axes) -> None:
    """The change of the loss when a band is removed from one layer: memorized minus clean, if both were measured."""
    assert result.layer_delta_loss is not None
    names = [str(name) for name in result.population]
    first = names.index(MEMORIZED) if MEMORIZED in names else 0
    values, title = result.layer_delta_loss[first], names[first]
    if CLEAN in names and names.index(CLEAN) != first:
        values, title = values - result.layer_delta_loss[names.index(CLEAN)], f"{names[first]} - {CLEAN}"
    values, labels = values[:MAX_LAYERS], [clean(str(name)) for name in result.layer[:MAX_LAYERS]]
    limit = float(np.nanmax(np.abs(values))) or 1.0
    image = axes.imshow(values, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.figure.colorbar(image, ax=axes, label="change of the loss")
    axes.set_yticks(range(len(labels)), labels, fontsize=7, parse_math=False)
    axes.set_xticks(range(len(result.band)), [str(band) for band in result.band], fontsize=7, rotation=30)
    more = f", {len(labels)} of {len(result.layer)} layers" if len(result.layer) > MAX_LAYERS else ""
    axes.set_title(f"removed from one layer: {title}{more}", fontsize=10)


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
        color = population_color(label, row)
        axes.hist(clipped[mask], list(edges), weights=weights, color=color, alpha=0.6, label=label)
    title = name.replace("_", " ")
    axes.set_xscale("log")
    axes.set_xlabel(title + (" (nonpositive at the left)" if (values <= 0).any() else ""), fontsize=9)
    axes.set_ylabel("share of samples")
    axes.legend(fontsize=8, edgecolor="none")
    area = _auroc(result, name)
    axes.set_title(title if area is None else f"{title}: AUROC {area:.3f}", fontsize=10)


def _scores(result: MemorizationResult) -> list[str]:
    """The scores that are drawn, by the names of their fields."""
    return [name for name in SCORES if getattr(result, name) is not None][:MAX_HISTOGRAMS]


def _auroc(result: MemorizationResult, name: str) -> float | None:
    """The AUROC of the score in a field; None without a memorized population."""
    if result.score is None or result.auroc is None:
        return None
    areas = dict(zip(map(str, result.score), result.auroc, strict=True))
    return areas.get(name.removeprefix("sample_"))
