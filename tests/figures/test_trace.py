"""The figure of the trace: its estimators, and bars for layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from figures.conftest import layers
from matplotlib.figure import Figure

from landscape.analyses.trace import TraceResult
from landscape.figures import draw, save
from landscape.figures.registry import panel_count
from landscape.figures.style import MAX_BARS


@pytest.mark.parametrize("count", [1, 5, 60])
def test_estimators_and_layers_are_named(trace_result: TraceResult, count: int, tmp_path: Path) -> None:
    trace = replace(
        trace_result,
        **layers(count),  # type: ignore[arg-type]
        layer_trace=np.linspace(3, -1, count),
        layer_standard_error=np.full(count, 0.1),
        layer_share=np.full(count, 1 / count),
    )
    axes = Figure().subplots(1, panel_count(trace))
    draw(trace, axes)
    assert [text.get_text() for text in axes[0].get_xticklabels()] == ["xtrace\n30 products", "hutchinson\n15 products"]
    assert len(axes[1].patches) == min(count, MAX_BARS)
    save(trace, tmp_path / "b.png", heading="b", fingerprint="f")


def test_dashed_lines_are_the_half_width_asked_for(trace_result: TraceResult) -> None:
    axes = Figure().subplots(1, 1, squeeze=False)[0]
    draw(trace_result, axes)
    dashed = [line.get_ydata()[0] for line in axes[0].lines if line.get_linestyle() == "--"]
    assert dashed == pytest.approx([1.8, 2.2])  # 2 -+ 10 %


def test_a_trace_without_an_estimate_is_drawn(trace_result: TraceResult, tmp_path: Path) -> None:
    empty = replace(trace_result, estimator=np.array([], dtype=str), interval=np.array([np.nan, np.nan]),
                    estimator_trace=np.zeros(0), estimator_standard_error=np.zeros(0),
                    estimator_products=np.zeros(0))  # fmt: skip
    save(empty, tmp_path / "c.png", heading="nothing yet", fingerprint="f")
    assert (tmp_path / "c.png").exists()
