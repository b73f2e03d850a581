"""Scores of training samples for a query, sorted, and the histogram of self-influences by population."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from landscape.choices import MEMORIZED
from landscape.errors import clean
from landscape.figures.style import BLUE, GREY, ORANGE, population_style
from landscape.figures.texts import draw_legend, set_heading, set_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.influence.influence_result import InfluenceResult
    from landscape.figures.look import Context
    from landscape.figures.registry import Panels

BINS = 40
SMALLEST = 1e-30  # of a self-influence on a logarithmic axis
MAX_BARS = 12  # samples at either end: more numbers cannot be read in one panel
SCORE_DECADES = 3  # of the vertical axis on either side of 0; smaller scores are on a linear scale
DECADES = 12  # of the horizontal axis, below the largest; smaller self-influences are in the first bin


def panels(result: InfluenceResult, context: Context) -> Panels:
    """The scores of queries and the samples at either end, and the self-influences: what was measured of these."""
    found: dict[str, Callable[[Axes], None]] = {}
    if result.scores is not None:
        found |= {"scores": partial(draw_scores, result), "samples": partial(draw_top, result)}
    if result.self_influence is not None:
        found["self-influence"] = partial(draw_self_influences, result)
    return found


def draw_scores(result: InfluenceResult, axes: Axes) -> None:
    """Draws the scores for the mean of the queries by rank, from the most helpful to the most harmful."""
    assert result.scores is not None
    assert result.query is not None
    mean = result.scores.mean(axis=1)
    order = np.argsort(-mean, kind="stable")
    places, sorted_scores = np.arange(1, len(mean) + 1), mean[order]
    if result.score_errors is not None:
        errors = result.score_errors.mean(axis=1)[order]
        axes.fill_between(
            places, sorted_scores - errors, sorted_scores + errors, color=GREY, alpha=0.4, linewidth=0, label="error"
        )
    axes.scatter(places, sorted_scores, c=np.where(sorted_scores < 0, ORANGE, BLUE), s=8)
    axes.axhline(0, color=GREY, linewidth=0.8)
    largest = max(float(np.abs(mean).max()), SMALLEST * 10**SCORE_DECADES)
    smallest = 10.0 ** np.floor(np.log10(largest / 10**SCORE_DECADES))  # a power of ten, or ticks stand on that of 0
    axes.set_yscale("symlog", linthresh=smallest)
    set_label(axes, "x", "training sample by rank: helpful first, harmful last")
    set_label(axes, "y", "rise of the query's loss without it")
    name = clean(str(result.query[0])) if len(result.query) == 1 else f"mean of {len(result.query)} queries"
    set_heading(axes, f"{name}, damping {result.damping:.3g}", math=False)
    draw_legend(axes)


def draw_top(result: InfluenceResult, axes: Axes) -> None:
    """Draws a bar for each of the most helpful samples, with its number, and below for each of the most harmful."""
    ends = (result.helpful_sample, result.helpful_score, result.harmful_sample, result.harmful_score)
    helpful, gain, harmful, loss = (np.asarray(part)[:MAX_BARS] for part in ends)
    values, numbers = np.concatenate([gain, loss[::-1]]), np.concatenate([helpful, harmful[::-1]])
    places = np.concatenate([np.arange(len(gain)), len(gain) + 1 + np.arange(len(loss))])
    axes.barh(places, values, color=np.where(values < 0, ORANGE, BLUE), height=0.8)
    axes.set_yticks(places, [f"{number}" for number in numbers], fontsize="x-small")
    axes.invert_yaxis()
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.ticklabel_format(axis="x", scilimits=(-3, 4))
    set_label(axes, "x", "rise of the query's loss without it")
    axes.set_ylabel("training sample")
    set_heading(axes, "most helpful, and most harmful")


def draw_self_influences(result: InfluenceResult, axes: Axes) -> None:
    """Draws the histogram of self-influences, memorized samples apart."""
    assert result.self_influence is not None
    largest = max(float(np.nanmax(result.self_influence)), SMALLEST)
    positive = result.self_influence[result.self_influence > largest / 10**DECADES]
    lowest = float(positive.min()) if len(positive) else largest / 10
    edges: list[float] = np.geomspace(lowest, max(largest, 10 * lowest), BINS).tolist()
    values = np.maximum(result.self_influence, lowest)
    if result.sample_memorized is None:
        axes.hist(values, edges, color=BLUE, alpha=0.8, label="samples")
    else:
        for name, mask in (("others", ~result.sample_memorized), (MEMORIZED, result.sample_memorized)):
            style = population_style(name, 0)
            axes.hist(
                values[mask], edges, color=style.color, alpha=0.6, hatch=style.hatch, edgecolor="white", linewidth=0,
                label=name,
            )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_xlabel("self-influence")
    axes.set_ylabel("samples")
    title = "self-influence"
    if result.auroc is not None:
        title = f"self-influence finds memorized samples: AUROC {result.auroc[0]:.3f}"
    set_heading(axes, title)
    draw_legend(axes)
