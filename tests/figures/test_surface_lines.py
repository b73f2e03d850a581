"""Lines of one result or of several."""

from __future__ import annotations

from typing import Any

from conftest import tanh_net
from matplotlib.figure import Figure
from torch import Tensor

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.figures import Look, surface

Data = tuple[Tensor, Tensor]


def measured(classification: Data, **options: Any) -> SurfaceResult:
    result: SurfaceResult = landscape.run(
        Surface(**{"grid": "7", **options}), Objective(tanh_net(), [classification], "cross_entropy")
    )
    return result


def test_names_that_are_shared_are_the_title_and_long_ones_are_cut(classification: Data) -> None:
    lines = [measured(classification, dim=1), measured(classification, dim=1, seeds=2)]
    figure = Figure()
    surface.draw_together(lines, [f"{'x' * 90}.pt, by filter", "b.pt, by filter"], [axes := figure.subplots()], Look())
    assert axes.get_title() == "by filter"
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(labels[0]) < 62
    assert labels[1] == "b.pt, mean of 2"
