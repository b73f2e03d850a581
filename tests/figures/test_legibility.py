"""Figures of long names, of one value and of many, as wide as a column and as wide as a screen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figures.conftest import layers
from figures.legibility import faults
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from landscape import figures
from landscape.analyses.eig import EigResult
from landscape.analyses.trace import TraceResult

LOOKS: list[dict[str, Any]] = [{}, {"width": 8.4}, {"width": 17.4, "title": ""}]


@pytest.mark.parametrize("look", LOOKS, ids=["screen", "column", "page"])
@pytest.mark.parametrize("count", [1, 40], ids=["one", "many"])
def test_one_value_and_many_can_be_read(
    eig_result: EigResult, count: int, look: dict[str, Any], tmp_path: Path
) -> None:
    values, history = np.geomspace(100, 0.01, count), np.full((3, count), 0.5)
    columns = {"layer_eigenvalue": values, "layer_residual": 0.1 * values, "eigenvalues": values}
    columns |= {"residuals": 0.1 * values, "converged": np.arange(count) > 3, "ritz_values": history}
    result = replace(eig_result, ritz_residuals=0.1 * history, **layers(count), **columns)  # type: ignore[arg-type]
    figures.save(result, tmp_path / "a.png", heading="a.pt, of a long name, " * 4, fingerprint="", **look)


@pytest.mark.parametrize("look", LOOKS, ids=["screen", "column", "page"])
def test_traces_can_be_read(trace_result: TraceResult, look: dict[str, Any], tmp_path: Path) -> None:
    figures.save(trace_result, tmp_path / "a.png", heading="a.pt", fingerprint="", **look)


def test_faults_are_found() -> None:
    figure = Figure(figsize=(2, 2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([0, 1], label="a line")
    axes.legend(loc="upper left")
    axes.set_xticks([0, 0.01], ["a long name", "another"])
    axes.text(0.5, 0.5, "tiny", fontsize=3)
    figure.text(0.9, 0.9, "out of the figure")
    figure.canvas.draw()
    words = " ".join(faults(figure))
    for part in ("a legend covers its panel", "overprint", "'tiny' is of 3 points", "'out of the figure' leaves"):
        assert part in words
