"""The figure of a run's history: a panel over the steps for the loss, and for each quantity that was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.figures.overlay import MARKERS
from landscape.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, YELLOW, legend_text
from landscape.history.summary import headline_numbers, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.history import History

COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW, "#000000")
MAX_PANELS, MAX_LINES = 6, 7
DECADES = 1.0  # over which positive values have a logarithmic axis
BARS: Any = {"elinewidth": 1.0, "capsize": 0}
DRAWN_APART = ("eig", "trace", "sharpness", "critical")  # analyses with panels of their own


def panels(history: History) -> int:
    """The number of panels; 0 without a checkpoint that was measured."""
    return len(_panels(history))


def draw(history: History, axes: Sequence[Axes], beside: Mapping[str, Any]) -> None:
    """Draws every panel; steps whose numbers are missing or inconclusive have a dotted line."""
    del beside
    troubled = [moment.step for moment in history.moments if moment.trouble]
    for number, (draw_panel, one) in enumerate(zip(_panels(history), axes, strict=True)):
        draw_panel(one)
        for place, step in enumerate(troubled):
            label = "missing or inconclusive" if number == place == 0 else None
            one.axvline(step, color=GREY, linewidth=0.8, linestyle=":", label=label)
        one.set_xlabel("step")
        if one.get_legend_handles_labels()[1]:
            one.legend(fontsize=8, framealpha=0.85, edgecolor="none")


def _panels(history: History) -> list[Callable[[Any], None]]:
    """The functions that draw a panel each."""
    found: list[Callable[[Any], None]] = []
    if "loss" in history:
        found.append(partial(_draw_lines, history, "loss", "mean loss"))
    if "eig.eigenvalues" in history:
        found.append(partial(_draw_eigenvalues, history))
    if "trace.trace" in history:
        found.append(partial(_draw_lines, history, "trace.trace", "trace"))
    found += [
        partial(_draw_lines, history, name, title)
        for name, title in (("sharpness.s_max", "worst-case sharpness"), ("sharpness.s_avg", "average-case sharpness"))
        if name in history
    ]
    if "critical.critical_sharpness" in history:
        found.append(partial(_draw_critical, history))
    if "eig.cosines" in history and np.isfinite(history["eig.cosines"]).any():
        found.append(partial(_draw_cosines, history))
    found += [partial(_draw_lines, history, name, name) for name in _others(history)]
    return found[:MAX_PANELS]


def _others(history: History) -> list[str]:
    """The numbers with errors of analyses that have no panel of their own."""
    named = [name for name, about in history.quantities.items() if about.error and name in history]
    return [name for name in named if name.partition(".")[0] not in DRAWN_APART and history[name].ndim == 1]


def _draw_lines(history: History, name: str, title: str, axes: Axes) -> None:
    """One quantity over the steps: a line for each place of its other dimension."""
    values, errors = history[name], history.error_of(name)
    table = values.reshape(len(values), -1)
    bars = None if errors is None else errors.reshape(table.shape)
    labels = _labels(history, name, table.shape[1])
    for place in range(min(table.shape[1], MAX_LINES)):
        drawn = None if bars is None else np.nan_to_num(np.abs(bars[:, place]))
        axes.errorbar(
            history.steps, table[:, place], drawn, fmt="o-", markersize=3.5, linewidth=1.2,
            color=COLORS[place], label=labels[place], **BARS,
        )  # fmt: skip
    _set_scale(axes, table)
    axes.set(ylabel=title + (" (bars: standard error)" if bars is not None else ""), title=title)


def _draw_eigenvalues(history: History, axes: Axes) -> None:
    """The eigenvalues, largest first, with the edge of stability where the learning rate is known."""
    values, errors = history["eig.eigenvalues"], history.error_of("eig.eigenvalues")
    for rank in range(min(values.shape[1], MAX_LINES)):
        bars = None if errors is None else np.nan_to_num(np.abs(errors[:, rank]))
        axes.errorbar(
            history.steps, values[:, rank], bars, fmt="o-", markersize=3.5, linewidth=1.2, color=COLORS[rank],
            label=rf"$\lambda_{{{rank + 1}}}$", **BARS,
        )  # fmt: skip
    scaled = [values]
    if "edge" in history:
        words = legend_text(str(history.attributes.get("edge", "edge of stability")))
        axes.plot(history.steps, history["edge"], "--", color="#000000", linewidth=1.2, label=words)
        scaled.append(history["edge"])
    _set_scale(axes, np.concatenate([np.ravel(each) for each in scaled]))
    axes.set(ylabel="eigenvalue (bars: error bound)", title="largest eigenvalues")


def _draw_critical(history: History, axes: Axes) -> None:
    """The critical sharpness, with 2 / learning rate where that is known."""
    name = "critical.critical_sharpness"
    _draw_lines(history, name, "critical sharpness", axes)
    if "learning_rate" in history:
        edge = 2 / history["learning_rate"]
        axes.plot(history.steps, edge, "--", color="#000000", linewidth=1.2, label="2 / learning rate")
        _set_scale(axes, np.concatenate([history[name], edge]))


def _draw_cosines(history: History, axes: Axes) -> None:
    """How far eigenvectors turned since the checkpoint before."""
    cosines = history["eig.cosines"]
    for rank in range(min(cosines.shape[1], MAX_LINES)):
        label = rf"$v_{{{rank + 1}}}$"
        axes.plot(history.steps, cosines[:, rank], "o-", markersize=3.5, linewidth=1.2, color=COLORS[rank], label=label)
    if "eig.overlap" in history and cosines.shape[1] > 1:
        axes.plot(history.steps, history["eig.overlap"], "--", color=GREY, linewidth=1.2, label="their span")
    axes.set_ylim(-0.03, 1.05)
    axes.set(ylabel="|cosine| with the checkpoint before", title="eigenvectors")


def _labels(history: History, name: str, count: int) -> list[str | None]:
    """What the lines of a quantity are called; None for a single one."""
    if count == 1:
        return [None]
    dims = history.columns[name].dims[1:]
    words = history[dims[0]].tolist() if len(dims) == 1 and dims[0] in history else list(range(count))
    short = dims[0].rpartition(".")[2] if len(dims) == 1 else ""
    texts = [word if isinstance(word, str) else f"{short} {word:.3g}".strip() for word in words]
    return [legend_text(text) for text in texts]


def _set_scale(axes: Axes, values: np.ndarray) -> None:
    """A logarithmic axis for positive values over more than a decade; else one that shows 0 where signs differ."""
    finite = values[np.isfinite(values)]
    if len(finite) and finite.min() > 0 and finite.max() > 10**DECADES * finite.min():
        axes.set_yscale("log")
    elif len(finite) and finite.min() < 0 < finite.max():
        axes.axhline(0, color=GREY, linewidth=0.8)


def together(histories: Sequence[History]) -> list[tuple[str, int | None]]:
    """The numbers that several histories all have, and that one panel each shows: names and places."""
    numbers = [(name, place) for name, place, _ in headline_numbers(histories) if name != "gradient_norm"]
    return numbers[:MAX_PANELS]


def draw_runs(histories: Sequence[History], labels: Sequence[str], axes: Sequence[Axes]) -> None:
    """Draws several runs over each other: a panel for each number, a line with its errors for each run."""
    for (name, place), one in zip(together(histories), axes, strict=True):
        for number, (history, label) in enumerate(zip(histories, labels, strict=True)):
            values, errors = series(history, name, place)
            bars = None if errors is None else np.nan_to_num(np.abs(errors))
            color, words = COLORS[number % len(COLORS)], legend_text(label)
            one.errorbar(
                history.steps, values, bars, fmt=f"{MARKERS[number % len(MARKERS)]}-", markersize=4, linewidth=1.2,
                color=color, label=words, **BARS,
            )  # fmt: skip
            if name == "eig.eigenvalues" and "edge" in history:
                one.plot(history.steps, history["edge"], "--", color=color, linewidth=1.0)
        _set_scale(one, np.concatenate([series(history, name, place)[0] for history in histories]))
        title = name + (f"[{place}]" if place is not None else "")
        one.set(xlabel="step", ylabel=title, title=title)
        one.legend(fontsize=8, framealpha=0.85, edgecolor="none")
