"""The barcode of a surface: a bar for each minimum, with its depth and error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import tanh_net
from torch import Tensor

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.errors import UsageError
from landscape.figures import save
from landscape.figures.surface_barcode import MAX_BARS, draw_barcode


@pytest.fixture
def result(classification: tuple[Tensor, Tensor]) -> SurfaceResult:
    """A plane with three minima: one without a pass, and two of depth .5 and 1."""
    plane: SurfaceResult = landscape.run(Surface(grid="5"), Objective(tanh_net(), [classification], "cross_entropy"))
    return replace(
        plane,
        minima=3,
        minimum_loss=np.array([0.1, 1.0, 2.0]),
        minimum_death=np.array([np.nan, 1.5, 3.0]),
        minimum_persistence=np.array([np.nan, 0.5, 1.0]),
        minimum_error=np.array([0.0, 0.01, 0.02]),
        minimum_alpha=np.array([0.0, 0.5, -0.5]),
        minimum_beta=np.array([0.0, 0.25, -0.25]),
    )


def drawn(result: SurfaceResult) -> tuple[list[str], list[str], str]:
    """The labels of the bars from the top, the texts beside them, and the title."""
    figure, axes = plt.subplots()
    draw_barcode(result, axes)
    figure.canvas.draw()
    labels = [label.get_text() for label in axes.get_yticklabels()]
    texts = [text.get_text() for text in axes.texts]
    title = axes.get_title()
    plt.close(figure)
    return labels, texts, title


def test_the_most_persistent_bars_are_on_top(result: SurfaceResult) -> None:
    labels, texts, title = drawn(result)
    assert labels == ["(0, 0)", "(-0.5, -0.25)", "(0.5, 0.25)"]
    assert texts == ["1 ± 0.02", "0.5 ± 0.01"]
    assert title == "3 minima beyond rounding"


def test_a_bowl_has_one_bar(result: SurfaceResult) -> None:
    names = [name for name in vars(result) if name.startswith("minimum_") and getattr(result, name) is not None]
    one = replace(result, minima=1, **{name: getattr(result, name)[:1] for name in names})
    assert drawn(one) == (["(0, 0)"], [], "1 minimum beyond rounding")


def test_of_many_minima_the_most_persistent_are_drawn(result: SurfaceResult) -> None:
    count = 100
    many = replace(
        result,
        minima=count,
        minimum_loss=np.zeros(count),
        minimum_death=np.linspace(0.1, 1, count),
        minimum_persistence=np.linspace(0.1, 1, count),
        minimum_error=np.zeros(count),
        minimum_alpha=np.arange(count),
        minimum_beta=np.zeros(count),
    )
    labels, _, title = drawn(many)
    assert len(labels) == MAX_BARS
    assert labels[0] == "(99, 0)"
    assert title.endswith("the 40 most persistent")


def test_without_any_minimum_there_is_an_empty_panel(result: SurfaceResult) -> None:
    names = [name for name in vars(result) if name.startswith("minimum_") and getattr(result, name) is not None]
    assert drawn(replace(result, minima=0, **{name: getattr(result, name)[:0] for name in names}))[0] == []


def test_results_of_earlier_versions_have_no_barcode(result: SurfaceResult, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no barcode"):
        save(replace(result, minimum_error=None), tmp_path / "a.png", heading="a", fingerprint="f", form="barcode")
    save(result, tmp_path / "b.png", heading="b", fingerprint="f", form="barcode")
    assert (tmp_path / "b.png").exists()
