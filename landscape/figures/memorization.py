"""The functional spectrum with its controls, layers, activations, curvature mass, and scores of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.choices import MEMORIZED
from landscape.figures.style import GREY, population_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.memorization.memorization_result import MemorizationResult

SHOWN = ("edit_damage", "edit_kl", "input_curvature", "sample_loss")  # scores, the first that are there
HISTOGRAMS = 2
BINS = 40
NAMED = 24  # layers that can be told apart in one panel
LINEAR = 1e-3  # of the largest change: what is smaller is drawn on a linear scale


def panels(result: MemorizationResult) -> int:
    return 3 + (result.layer_delta_loss is not None) + len(_scores(result))


def draw(result: MemorizationResult, axes: Sequence[Axes], beside: Mapping[str, Any]) -> None:  # noqa: ARG001
    """The panels in that order."""
    functional(result, axes[0])
    mass(result, axes[1])
    activations(result, axes[2])
    rest = list(axes[3:])
    if result.layer_delta_loss is not None:
        layers(result, rest.pop(0))
    for name, panel in zip(_scores(result), rest, strict=True):
        histogram(result, name, panel)


def functional(result: MemorizationResult, axes: Axes) -> None:
    """The change of the loss by band, with intervals; noise and random components as crosses and plusses."""
    places = np.arange(len(result.band))
    width = 0.8 / len(result.population)
    for row, name in enumerate(result.population):
        at = places + (row - (len(result.population) - 1) / 2) * width
        change = result.delta_loss[row]
        errors = np.abs(np.stack([change - result.delta_loss_lo[row], result.delta_loss_hi[row] - change]))
        shade = population_color(str(name), row)
        axes.bar(at, change, width, yerr=errors, color=shade, label=str(name), error_kw={"elinewidth": 0.8})
        for control, mark, label in (
            (result.noise_delta_loss, "x", "same-norm noise"),
            (result.random_delta_loss, "+", "random components"),
        ):
            if control is not None:
                said = label if not row else None
                axes.plot(at, control[row], mark, color="black", markersize=4.5, label=said, markeredgewidth=0.8)
    largest = float(np.nanmax(np.abs(result.delta_loss)))
    smallest = 10.0 ** np.floor(np.log10(max(largest * LINEAR, 1e-12)))
    decades = smallest * 10.0 ** np.arange(1, 6)
    axes.set_yscale("symlog", linthresh=smallest, linscale=0.3)
    axes.set_yticks([*-decades[decades <= largest * 10], 0, *decades[decades <= largest * 10]])
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xticks(places, [str(band) for band in result.band], fontsize=7, rotation=30)
    axes.set_xlabel("functional spectrum: components removed, by rank (sharpest first)", fontsize=9)
    axes.set_ylabel("change of the loss (symmetric log)")
    axes.legend(fontsize=6.5, edgecolor="none", ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def mass(result: MemorizationResult, axes: Axes) -> None:
    """The share of the curvature mass in the sharpest components, by layer."""
    from matplotlib import colormaps

    shown = np.unique(np.linspace(0, len(result.layer) - 1, min(len(result.layer), NAMED // 2)).round().astype(int))
    shades = colormaps["viridis"](np.linspace(0, 0.9, len(shown)))
    for place, shade in zip(shown, shades, strict=True):
        axes.plot(
            result.share, result.cumulative_mass[place], color=shade, linewidth=1.3, label=str(result.layer[place])
        )
    axes.plot(result.kept_fraction, result.rho, "--", color="black", linewidth=1, label="all layers, at rho")
    axes.set_xscale("log")
    axes.set_xlim(result.share[0], 1)
    axes.set_xlabel("share of components, the sharpest first", fontsize=9)
    axes.set_ylabel("share of the curvature mass")
    axes.legend(fontsize=6.5, edgecolor="none")
    axes.set_title("curvature mass", fontsize=10)


def activations(result: MemorizationResult, axes: Axes) -> None:
    """Energy of inputs in quarters of A's eigenvectors, relative to the clean samples'."""
    for row, name in enumerate(result.population):
        ratio = result.activation_ratio[row]
        line = "o--" if str(name) == "truth" else "o-"  # the inputs of memorized samples: it would hide theirs
        axes.plot(result.quarter, ratio, line, color=population_color(str(name), row), markersize=4, label=str(name))
    axes.axhline(1, color=GREY, linewidth=0.8)
    axes.set_xticks(result.quarter, [f"{part}" for part in result.quarter])
    axes.set_xlabel("quarter of A's directions, the largest first", fontsize=9)
    axes.set_ylabel("activation energy / clean")
    axes.legend(fontsize=7, edgecolor="none")
    axes.set_title("activations: rarity, not memorization", fontsize=10)


def layers(result: MemorizationResult, axes: Axes) -> None:
    """The change of the loss when a band is removed from one layer: memorized less clean, where both are there."""
    assert result.layer_delta_loss is not None
    names = [str(name) for name in result.population]
    first = names.index(MEMORIZED) if MEMORIZED in names else 0
    others = [place for place in range(len(names)) if names[place] == "clean"]
    values, title = result.layer_delta_loss[first], names[first]
    if others and others[0] != first:
        values, title = values - result.layer_delta_loss[others[0]], f"{names[first]} - clean"
    values, labels = values[:NAMED], [str(name) for name in result.layer[:NAMED]]
    limit = float(np.nanmax(np.abs(values))) or 1.0
    image = axes.imshow(values, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.figure.colorbar(image, ax=axes, label="change of the loss")
    axes.set_yticks(range(len(labels)), labels, fontsize=7, parse_math=False)
    axes.set_xticks(range(len(result.band)), [str(band) for band in result.band], fontsize=7, rotation=30)
    more = f", {len(labels)} of {len(result.layer)} layers" if len(result.layer) > NAMED else ""
    axes.set_title(f"removed from one layer: {title}{more}", fontsize=10)


def histogram(result: MemorizationResult, name: str, axes: Axes) -> None:
    """How the samples' scores spread, memorized ones apart."""
    values = np.asarray(getattr(result, name))
    low = values[values > 0].min() if (values > 0).any() else 1e-12
    clipped = np.maximum(values, low)
    edges = np.geomspace(low, max(float(clipped.max()), low * 10), BINS)
    known = result.sample_memorised
    kinds = (
        [("samples", np.ones(len(values), bool), 0)]
        if known is None
        else [("others", ~known, 1), (MEMORIZED, known, 0)]
    )
    for label, mask, row in kinds:
        weights = np.full(int(mask.sum()), 1 / max(int(mask.sum()), 1))
        axes.hist(
            clipped[mask], list(edges), weights=weights, color=population_color(label, row), alpha=0.6, label=label
        )
    axes.set_xscale("log")
    axes.set_xlabel(name.replace("_", " ") + (" (nonpositive at the left)" if (values <= 0).any() else ""), fontsize=9)
    axes.set_ylabel("share of samples")
    axes.legend(fontsize=8, edgecolor="none")
    found = _auroc(result, name)
    title = name.replace("_", " ")
    axes.set_title(title if found is None else f"{title}: AUROC {found:.3f}", fontsize=10)


def _scores(result: MemorizationResult) -> list[str]:
    return [name for name in SHOWN if getattr(result, name) is not None][:HISTOGRAMS]


def _auroc(result: MemorizationResult, name: str) -> float | None:
    if result.score is None or result.auroc is None:
        return None
    known = dict(zip(map(str, result.score), result.auroc, strict=True))
    return known.get(name.removeprefix("sample_"))
