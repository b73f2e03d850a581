"""Style sheets of matplotlib, and fonts that journals take."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from matplotlib import rcParams

from landscape.errors import UsageError
from landscape.figures import Look
from landscape.figures.style_sheets import settings


def test_a_file_and_a_name_are_followed_and_nothing_stays(tmp_path: Path) -> None:
    sheet = tmp_path / "paper.mplstyle"
    sheet.write_text("font.size: 6.5  # small\naxes.grid: True\n")
    before = dict(rcParams)
    with settings(Look(style=str(sheet), width=9)):
        assert rcParams["font.size"] == 6.5  # of the sheet, not of print
        assert rcParams["axes.grid"]
        assert rcParams["pdf.fonttype"] == 42
    with settings(Look(style="ggplot")):
        assert rcParams["axes.facecolor"] == "#E5E5E5"
    assert dict(rcParams) == before


def test_a_figure_of_a_width_has_text_of_print() -> None:
    with settings(Look(width=9)):
        assert rcParams["font.size"] == 9
    with settings(Look(), {"text.color": "#010203"}):
        assert (rcParams["font.size"], rcParams["text.color"]) == (10, "#010203")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"font.size: huge\n", "huge"),
        (b"font.sise: 8\n", "font.sise"),
        (b"font.size 8\n", "Missing colon"),
        (b"\xff\xfe\x00", "decode"),
        (b"# nothing\n", "it sets nothing"),
        (b"backend: svg\n", "a style has no backend"),
    ],
    ids=["value", "key", "colon", "encoding", "empty", "backend"],
)
def test_a_file_that_is_no_style_sheet_is_refused_with_its_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    sheet = tmp_path / "wrong.mplstyle"
    sheet.write_bytes(content)
    with pytest.raises(UsageError, match="wrong.mplstyle") as caught, settings(Look(style=str(sheet))):
        pass
    assert reason in caught.value.why
    assert caught.value.fix
    assert logging.getLogger("matplotlib").propagate


def test_a_style_that_is_nowhere_is_refused_with_names_that_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no file") as caught, settings(Look(style="papper")):
        pass
    assert "ggplot" in caught.value.fix
    with pytest.raises(UsageError, match="is a folder"), settings(Look(style=str(tmp_path))):
        pass
