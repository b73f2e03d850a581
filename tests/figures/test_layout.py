"""How many panels stand side by side, how wide figures are, and their titles."""

from __future__ import annotations

from typing import Any

import pytest

from landscape.figures import Look
from landscape.figures.layout import DPI, PRINT_DPI, dots_per_inch, new_figure, set_footnotes, set_title


def rows_and_columns(count: int, look: Look) -> tuple[int, int]:
    figure, axes = new_figure([f"p{number}" for number in range(count)], look)
    spec: Any = axes[0].get_subplotspec()
    assert len(axes) == count == len(figure.axes)
    return spec.get_gridspec().nrows, spec.get_gridspec().ncols


@pytest.mark.parametrize(("panels", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (3, 2, 2), (4, 2, 2), (6, 3, 2)])
def test_two_panels_stand_side_by_side_on_a_screen(panels: int, rows: int, columns: int) -> None:
    assert rows_and_columns(panels, Look()) == (rows, columns)
    figure, _ = new_figure(["p"] * panels, Look())
    assert figure.get_figwidth() * DPI <= 1600


@pytest.mark.parametrize(
    ("panels", "width", "columns"), [(1, 8.4, 1), (3, 8.4, 1), (2, 17.4, 2), (3, 17.4, 2), (4, 17.4, 2), (6, 40, 3)]
)
def test_a_figure_has_its_width_and_panels_that_can_be_read(panels: int, width: float, columns: int) -> None:
    figure, _ = new_figure(["p"] * panels, Look(width=width))
    assert figure.get_figwidth() == pytest.approx(width / 2.54)
    assert rows_and_columns(panels, Look(width=width))[1] == columns
    assert figure.get_figheight() > 0.7 * figure.get_figwidth() / columns


def test_images_of_a_given_width_are_for_print() -> None:
    assert dots_per_inch(Look()) == DPI
    assert dots_per_inch(Look(width=9)) == PRINT_DPI == 300


def test_a_title_is_broken_where_it_is_wider_than_the_figure_and_dollars_are_dollars() -> None:
    figure, _ = new_figure(["p"], Look(width=8.4))
    set_title(figure, "a $b " + "long title " * 12)
    assert figure.get_suptitle().startswith(r"a \$b")
    assert "\n" in figure.get_suptitle()
    figure.canvas.draw()
    assert figure._suptitle is not None
    assert figure._suptitle.get_window_extent().width < figure.bbox.width


def test_footnotes_are_broken_where_they_are_wider_than_the_figure_and_more_than_three_are_counted() -> None:
    figure, _ = new_figure(["panel"], Look(width=8.4))
    set_footnotes(figure, ["the loss of $a_b is another " * 4, "second", "third", "fourth", "fifth"])
    lines = figure.get_supxlabel().split("\n")
    assert len(lines) > 4
    assert lines[-3:] == ["second", "third", "and 2 more"]
    widths = [len(line) for line in lines]
    assert max(widths) < 72 * 8.4 / 2.54 / 4  # letters are at least 4 points wide


def test_no_footnotes_leave_the_figure_as_it_is() -> None:
    figure, _ = new_figure(["panel"], Look())
    set_footnotes(figure, [])
    assert figure.get_supxlabel() == ""
