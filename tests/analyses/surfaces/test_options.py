"""The forms in which options of a surface may be given."""

from __future__ import annotations

from pathlib import Path

from landscape import Surface


def test_python_s_own_forms_of_the_options() -> None:
    assert Surface(grid=(51, 31)).settings.grid == "51x31"  # type: ignore[arg-type]
    assert Surface(grid=21).settings.grid == "21"  # type: ignore[arg-type]
    assert Surface(towards=Path("b.pt")).settings.towards == ("b.pt",)  # type: ignore[arg-type]
    assert Surface(ignore="bias,norm").settings.ignore == ("bias", "norm")  # type: ignore[arg-type]
    assert Surface(range=(-1, 2)).settings.range == "-1:2"  # type: ignore[arg-type]
    assert Surface(range=((-1, 2), (-3, 3))).settings.range == "-1:2,-3:3"  # type: ignore[arg-type]
    assert Surface(range=0.5).settings.range == "0.5"  # type: ignore[arg-type]
    assert Surface(level=0.5, towards=None, ignore=None).settings.level == (0.5,)  # type: ignore[arg-type]
    assert Surface().settings.normalize == "filter"
    assert Surface(axes="eigen").settings.normalize == "none"
    assert Surface().identity()["ignore"] == ("bias", "norm", "position")
