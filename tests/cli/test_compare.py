"""`landscape compare`: a table, files in several formats, and a picture of what all checkpoints have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from landscape_cli.main import status

Captured = pytest.CaptureFixture[str]
FEW = ["--limit", "60", "--no-plot"]


@pytest.fixture
def measured(folder_with_samples: None, capsys: Captured) -> None:
    shutil.copy("run/step-0840.pt", "b.pt")
    for command in (["eig", "-k", "2"], ["trace", "--rtol", "0.5"], ["surface", "--dim", "1", "--grid", "5"]):
        for name in ("a.pt", "b.pt"):
            assert status([command[0], name, *command[1:], *FEW]) in (0, 3)
    capsys.readouterr()


@pytest.mark.usefixtures("measured")
def test_a_table_is_printed_with_its_reasons(capsys: Captured) -> None:
    assert status(["compare", "a.pt", "b.landscape.h5", "--label", "first=a.pt"]) == 0
    out = capsys.readouterr().out
    assert "difference from first" in out
    assert "eig.eigenvalues[0]" in out
    assert "trace.trace" in out


@pytest.mark.usefixtures("measured")
def test_files_are_written_as_their_names_say(capsys: Captured) -> None:
    names = ["c.md", "c.csv", "c.json", "c.html", "c.txt", "c.png"]
    outputs = [word for name in names for word in ("-o", name)]
    assert status(["compare", "a.pt", "b.pt", *outputs]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert all(f"wrote {name}" in err for name in names)
    assert Path("c.md").read_text().startswith("| quantity | a | b | difference from a |")
    assert json.loads(Path("c.json").read_text())["checkpoints"] == ["a", "b"]
    assert Path("c.html").read_text().startswith("<table>")
    assert "quantity" in Path("c.txt").read_text()
    with Image.open("c.png") as picture:
        width, height = picture.size
    assert height > 0.6 * width  # eigenvalues, trace, and the lines of both surfaces: two rows


@pytest.mark.usefixtures("measured")
def test_a_format_is_printed_beside_a_picture(capsys: Captured) -> None:
    assert status(["compare", "a.pt", "b.pt", "-o", "c.pdf", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["analysis"] == "compare"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.pt"], "cannot be compared with each other"),
        (["a.pt", "c.pt"], "there is no"),
        (["a.pt", "b.pt", "-o", "c.xyz"], "says no format"),
        (["a.pt", "b.pt", "--format", "yaml"], "--format is 'yaml'"),
        (["a.pt", "b.pt", "--label", "x=c.pt"], "names no file of this command"),
        (["a.pt", "b.pt", "--metric", "eig.nothing"], "eig has no number nothing"),
    ],
)
@pytest.mark.usefixtures("measured")
def test_slips_are_told_before_anything_is_written(words: list[str], message: str, capsys: Captured) -> None:
    assert status(["compare", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(Path().glob("c.*"))
