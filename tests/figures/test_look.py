"""The look of a figure: its values, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from landscape.errors import UsageError
from landscape.figures import Look


def test_one_value_stands_for_a_list_of_one() -> None:
    assert Look(panel="loss").panel == ("loss",)
    assert Look(levels=5).levels == (5.0,)
    assert Look(levels=np.array([0.1, 1])).levels == (0.1, 1.0)
    assert Look(range=[0, 1]).range == (0.0, 1.0)


def test_one_whole_number_counts_lines_and_others_are_losses() -> None:
    assert Look(levels=(3,)).line_count == 3
    assert Look(levels=(0.5,)).line_count is None
    assert Look(levels=(3, 4)).line_count is None
    assert Look().line_count is None


def test_the_flags_of_surfaces_are_named_as_they_are_typed() -> None:
    assert Look(form="solid", view=(1, 2), levels=3, width=9).of_surfaces() == ["--solid", "--levels", "--view"]
    assert Look(width=9, style="ggplot", panel="loss", title="a").of_surfaces() == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"width": 2}, "width is 2"),
        ({"width": float("nan")}, "width is nan"),
        ({"form": "cube"}, "form is 'cube'"),
        ({"range": (1,)}, "range is 1"),
        ({"range": (2, 1)}, "range is 2,1"),
        ({"view": (1, 2, 3), "form": "solid"}, "view is 1,2,3"),
        ({"view": (1, 2)}, "view turns solids alone"),
        ({"levels": 0}, "levels is 0"),
        ({"levels": 1000}, "levels is 1000"),
        ({"levels": (1, float("inf"))}, "levels is 1,inf"),
        ({"panel": ("a", "a")}, "names one twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_that_no_figure_can_have_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        Look(**values)
    assert caught.value.fix
