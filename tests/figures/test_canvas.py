"""Results on axes and figures of one's own."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import tanh_net
from matplotlib.figure import Figure
from torch import Tensor

import landscape
from landscape import Objective, Surface, figures
from landscape.analyses.density import DensityResult
from landscape.analyses.eig import EigResult
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.errors import UsageError


@pytest.fixture
def plane(classification: tuple[Tensor, Tensor]) -> SurfaceResult:
    result: SurfaceResult = landscape.run(Surface(grid="5"), Objective(tanh_net(), [classification], "cross_entropy"))
    return result


@pytest.fixture(autouse=True)
def _closed() -> Any:
    yield
    plt.close("all")


def test_panels_are_drawn_on_given_axes_in_the_order_of_their_names(eig_result: EigResult) -> None:
    axes = Figure().subplots(1, 2)
    assert figures.draw(eig_result, axes, panel=("convergence", "eigenvalues")) == list(axes)
    assert [one.get_ylabel()[:8] for one in axes] == ["residual", "eigenval"]
    alone = Figure().subplots()
    assert figures.draw(eig_result, alone, panel="eigenvalues", title="mine") is alone
    assert alone.figure.get_suptitle() == "mine"


def test_a_figure_and_a_part_of_one_get_axes(eig_result: EigResult) -> None:
    whole = Figure(layout="constrained")
    left, right = whole.subfigures(1, 2)
    assert len(figures.draw(eig_result, left)) == 2
    assert figures.draw(eig_result, right, panel="convergence").figure is right
    assert [len(part.axes) for part in (left, right)] == [2, 1]


def test_a_new_figure_is_one_of_pyplot_s_of_the_width(eig_result: EigResult) -> None:
    axes = figures.draw(eig_result, width=17.4, title="")
    assert plt.gcf() is axes[0].figure
    assert axes[0].figure.get_figwidth() == pytest.approx(17.4 / 2.54)
    assert axes[0].get_title()  # two panels keep their headings
    assert not figures.draw(eig_result, panel="eigenvalues", title="").get_title()
    assert figures.draw(eig_result, panel="eigenvalues").get_title()


def test_a_style_holds_for_a_new_figure_alone(eig_result: EigResult) -> None:
    assert figures.draw(eig_result, style="dark_background", panel="eigenvalues").get_facecolor()[:3] == (0, 0, 0)
    assert figures.draw(eig_result, panel="eigenvalues").get_facecolor()[:3] == (1, 1, 1)
    for look in ({"width": 9}, {"style": "ggplot"}):
        with pytest.raises(UsageError, match="make a figure of their own"):
            figures.draw(eig_result, Figure().subplots(1, 2), **look)


def test_results_beside_mark_eigenvalues_in_a_density(density_result: DensityResult, eig_result: EigResult) -> None:
    axes = figures.draw(density_result, Figure().subplots(), beside={"eig": eig_result})
    assert any("3 eigenvalues" in str(line.get_label()) for line in axes.lines)


def test_a_solid_needs_axes_in_three_dimensions(plane: SurfaceResult) -> None:
    space = Figure().add_subplot(projection="3d")
    assert figures.draw(plane, space, form="solid", view=(10, 20)) is space
    assert (space.azim, space.elev) == (10, 20)
    assert figures.draw(plane, form="solid").name == "3d"
    with pytest.raises(UsageError, match="three dimensions"):
        figures.draw(plane, Figure().subplots(), form="solid")


def test_levels_and_ends_of_the_colors_are_those_asked_for(plane: SurfaceResult) -> None:
    low, high = float(np.nanmin(plane.loss)), float(np.nanmax(plane.loss))
    middle = (low + high) / 2
    axes = figures.draw(plane, Figure().subplots(), panel="loss", levels=(middle, 1e9), range=(low, high * 2))
    filled, lines = axes.collections[:2]
    assert lines.levels.tolist() == [middle]
    assert filled.get_clim() == (low, high * 2)
    counted = figures.draw(plane, Figure().subplots(), panel="loss", levels=4).collections[1]
    assert len(counted.levels) == 4
    clipped = figures.draw(plane, Figure().subplots(), panel="loss", range=(middle, high * 2))
    assert clipped.figure.axes[1].get_ylabel() == f"loss, clipped at {middle:.3g}"


@pytest.mark.parametrize(
    ("look", "words"),
    [
        ({"levels": (1e8, 1e9)}, "levels: none of 1e.08, 1e.09"),
        ({"form": "barcode", "levels": 3}, "neither contours nor colors: --levels"),
        ({"panel": "layers"}, "there is no panel layers"),
    ],
    ids=["levels-outside", "barcode", "panel"],
)
def test_a_look_that_does_not_apply_to_a_plane_is_refused(
    plane: SurfaceResult, look: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words.replace("--", "-*")) as caught:
        figures.draw(plane, **look)
    assert caught.value.fix


def test_looks_of_surfaces_are_refused_elsewhere(eig_result: EigResult, classification: tuple[Tensor, Tensor]) -> None:
    for look in ({"levels": 3}, {"range": (0, 1)}, {"form": "solid"}):
        with pytest.raises(UsageError, match="is for surfaces"):
            figures.draw(eig_result, **look)
    line = landscape.run(Surface(grid="5", dim=1), Objective(tanh_net(), [classification], "cross_entropy"))
    with pytest.raises(UsageError, match="levels is for planes, and this is a line"):
        figures.draw(line, levels=3)
    assert figures.panel_names(line) == ["line"]


def test_names_of_panels_are_those_of_what_was_measured(eig_result: EigResult, plane: SurfaceResult) -> None:
    assert figures.panel_names(eig_result) == ["eigenvalues", "convergence"]
    assert figures.panel_names(plane) == ["loss", "accuracy"]
    assert figures.panel_names("text") == []
