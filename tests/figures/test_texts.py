"""Names, headings, labels and legends that fit."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from landscape.figures.texts import (
    MAX_LETTERS,
    cut,
    draw_legend,
    legend_text,
    set_heading,
    set_label,
    shorten,
    tell_apart,
    tick_names,
)


def panel(width: float = 5.0) -> Axes:
    """One panel of a figure of so many inches."""
    figure = Figure(figsize=(width, 3.75), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.subplots()


def drawn(axes: Axes) -> Axes:
    axes.figure.canvas.draw()
    return axes


def test_long_names_lose_their_middle_and_short_ones_nothing() -> None:
    assert shorten("a" * MAX_LETTERS) == "a" * MAX_LETTERS
    assert shorten("a" * 40 + "b" * 40) == "a" * 26 + "..." + "b" * 26
    assert cut("abcdefghijkl", 9) == "abc...jkl"


def test_dollars_do_not_begin_math() -> None:
    assert shorten("$5") == r"\$5"


def test_names_in_legends_are_shown_whatever_they_begin_with() -> None:
    axes = panel()
    for name in ("_ema", "$5$", "plain"):
        axes.plot([0, 1], label=legend_text(name))
    draw_legend(axes)
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [" _ema", r"\$5\$", "plain"]


def test_names_beside_a_panel_take_no_more_than_half_of_it() -> None:
    narrow, wide = (tick_names(panel(width), ["x" * 200], "small")[0] for width in (2.0, 5.0))
    assert 10 < len(narrow) < len(wide) < 50
    assert "..." in narrow


def test_headings_and_labels_break_where_they_are_wider_than_the_panel() -> None:
    axes = panel(3.3)
    set_heading(axes, "loss 0.00123, 2,950 parameters, 1,300 samples of one run\nsecond")
    assert axes.get_title().count("\n") == 2
    set_label(axes, "x", "the rise of the loss in each ascent over the largest (shaded: within one percent)")
    assert "\n" in axes.get_xlabel()
    set_label(axes, "y", "short")
    assert axes.get_ylabel() == "short"
    drawn(axes)
    frame = axes.figure.bbox
    for text in (axes.title, axes.xaxis.label):
        box = text.get_window_extent()
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("letters", [3, 90], ids=["short", "long"])
@pytest.mark.parametrize("width", [3.3, 5.0])
def test_a_legend_stands_between_panel_and_heading(count: int, letters: int, width: float) -> None:
    axes = panel(width)
    for number in range(count):
        axes.plot(np.arange(3), label=f"{number}" + "x" * letters)
    set_heading(axes, "heading")
    draw_legend(axes)
    drawn(axes)
    legend = axes.get_legend()
    assert legend is not None
    box, inside, heading = (part.get_window_extent() for part in (legend, axes, axes.title))
    assert box.y0 >= inside.y1 - 0.5
    assert heading.y0 >= box.y1 - 2
    assert heading.y1 <= axes.figure.bbox.y1
    assert box.x0 >= axes.figure.bbox.x0 - 1
    assert box.x1 <= axes.figure.bbox.x1 + 1
    assert inside.width > 0.5 * axes.figure.bbox.width


def test_nothing_to_name_has_no_legend() -> None:
    axes = panel()
    draw_legend(axes)
    assert axes.get_legend() is None


LLAMA = [
    *(
        f"model.layers.{layer}.{place}"
        for layer in range(12)
        for place in ("self_attn.q_proj", "self_attn.k_proj", "mlp.gate_proj", "mlp.down_proj")
    ),
    "model.embed_tokens",
    "lm_head",
]
DEEP = [
    *(f"encoder.block.{n}.layer.{m}.DenseReluDense.wi" for n in range(3) for m in range(2)), "decoder.final_layer_norm"
]  # fmt: skip


@pytest.mark.parametrize("names", [LLAMA, DEEP], ids=["llama", "t5"])
@pytest.mark.parametrize("letters", [16, 18, 24, 60])
def test_layers_of_a_transformer_are_told_apart_where_there_is_little_room(names: list[str], letters: int) -> None:
    short = tell_apart(names, letters)
    assert len(set(short)) == len(names)
    assert max(map(len, short)) <= letters
    numbers = [[part for part in name.split(".") if part.isdecimal()] for name in names]
    assert all(
        [part for part in text.split(".") if part.isdecimal()] == own for text, own in zip(short, numbers, strict=True)
    )
    assert tell_apart(names, 200) == names


def test_what_cannot_be_told_apart_by_parts_loses_its_middle() -> None:
    assert tell_apart(["a" * 30, "b" * 30], 11) == ["aaaa...aaaa", "bbbb...bbbb"]
    assert tell_apart([], 10) == []
    assert tell_apart(["fc1", "fc1"], 10) == ["fc1", "fc1"]
