"""Results in an interpreter and a notebook: a line, a page without foreign markup, a picture, plain values, a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from conftest import tanh_net
from matplotlib import pyplot
from result_samples import sample_result
from torch import Tensor

import landscape
from landscape.analyses.base import Result
from landscape.analyses.eig import EigResult
from landscape.errors import UsageError
from landscape.fields import scalar

Data = tuple[Tensor, Tensor]


class Page(HTMLParser):
    """The tags and the texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_line_has_numbers_with_errors_and_what_is_wrong() -> None:
    line = repr(sample_result())
    assert "mass 2.346 ± 0.012, length 10 ± 20 (not determined), loss 0.25" in line
    assert "inconclusive: it hangs" in repr(sample_result(stuck="it hangs"))
    assert "\n" not in repr(sample_result(attributes={"checkpoint": "a\nb.pt"}))
    assert len(line) < 200


@pytest.mark.parametrize(
    ("options", "size"),
    [({"dim": 1}, "5 points"), ({}, "5 x 5 points"), ({"seeds": 2}, "2 x 5 x 5 points")],
    ids=["line", "plane", "planes"],
)
def test_a_line_about_a_surface_has_its_size_and_range(
    classification: Data, options: dict[str, int], size: str
) -> None:
    result = landscape.run(
        landscape.Surface(grid="5", **options), landscape.Objective(tanh_net(), [classification], "cross_entropy")
    )
    span = f"{result.loss.min():.4g} to {result.loss.max():.4g}"
    assert repr(result) == f"<SurfaceResult: {size}, loss {result.centre_loss:.4g}, on the grid {span}>"
    assert repr(replace(result, barrier=0.25)).endswith(", barrier 0.25>")
    assert ", on the grid nowhere finite>" in repr(replace(result, loss=np.full_like(result.loss, np.nan)))


@dataclass(frozen=True, kw_only=True)
class PlainResult(Result):
    """Scalars without errors, as influence has them."""

    facts: ClassVar[tuple[str, ...]] = ("loss", "share", "whole")

    detail: int = scalar("Not printed in a line.")
    share: float = scalar("A share.")
    whole: bool = scalar("Whether it is whole.")
    loss: float = scalar("Mean loss.")


def test_a_line_about_scalars_without_errors_has_the_first_facts() -> None:
    plain = PlainResult(detail=7, share=0.125, whole=True, loss=0.5)
    assert repr(plain) == "<PlainResult: share 0.125, whole yes, loss 0.5>"


def test_a_page_holds_the_numbers_and_no_markup_of_names() -> None:
    page = Page(sample_result(stuck="<i>hangs</i>")._repr_html_())
    assert set(page.tags) == {"div", "p", "b", "table", "tr", "th", "td"}
    assert page.tags.count("b") == 1  # the page's own
    assert "<script>alert(1)</script>" in page.texts
    assert "inconclusive: <i>hangs</i>; go on" in page.texts
    assert "2.346 ± 0.012" in page.texts
    assert "mass error" not in page.texts
    assert "yes" in page.texts


def test_long_tables_are_cut() -> None:
    many = sample_result(layer=np.array([f"layer {n}" for n in range(50)]), layer_size=np.arange(50))
    page = Page(many._repr_html_())
    assert "layer 19" in page.texts
    assert "layer 20" not in page.texts
    assert "and 30 more" in page.texts


def measured(data: Data) -> EigResult:
    result: EigResult = landscape.run(landscape.Eig(k=2), landscape.Objective(tanh_net(), [data], "cross_entropy"))
    return result


def test_a_result_is_drawn_on_given_axes_and_on_new_ones(classification: Data) -> None:
    result = measured(classification)
    assert "img" in Page(result._repr_html_()).tags
    _, axes = pyplot.subplots(1, 2)
    assert result.plot(axes) == list(axes)
    assert all(one.has_data() for one in axes)
    new = result.plot()
    assert len(new) == 2
    assert new[0].figure in map(pyplot.figure, pyplot.get_fignums())
    with pytest.raises(UsageError, match="1 axes for a figure of 2 panels") as caught:
        result.plot(axes[0])
    assert "subplots(1, 2)" in caught.value.fix
    pyplot.close("all")


def test_a_result_without_a_picture_says_so() -> None:
    with pytest.raises(UsageError, match="no picture"):
        sample_result().plot()


def test_a_result_is_saved_and_read_as_it_was(classification: Data, tmp_path: Path) -> None:
    result = measured(classification)
    result.save(tmp_path / "a.landscape.h5")
    again = landscape.read(tmp_path / "a.landscape.h5").eig
    assert again.to_dict() == result.to_dict()
    assert again.attributes["analysis"] == "eig"
    assert again.attributes["fingerprint"] == result.attributes["fingerprint"]
    again.save(tmp_path / "b.landscape.h5")
    assert landscape.read(tmp_path / "b.landscape.h5").eig.to_dict() == again.to_dict()
    with pytest.raises(UsageError, match="no attributes"):
        replace(result, attributes={}).save(tmp_path / "c.landscape.h5")


def test_plain_values_have_none_for_what_is_not_finite() -> None:
    values = sample_result().to_dict()
    assert values["height"] == [[1.0, 2.0, 3.0], [4.0, 5.0, None]]
    assert values["settled"] is True
    assert "width" not in values
