"""What `compare` prints and writes: the format of each file, labels, and what is refused before anything is written."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import tanh_net
from gate_folders import Captured
from sample_histories import of_samples
from torch import Tensor

import landscape
from landscape import Eig, Objective, Trace, run
from landscape.errors import UsageError
from landscape.history.description import MEASUREMENT
from landscape_cli.compared_results import compare_files


def data() -> tuple[Tensor, Tensor]:
    return torch.randn(8, 5, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Results files of two runs of the same data, in the working directory: eigenvalues of both."""
    monkeypatch.chdir(tmp_path)
    for name, scale in (("a", 1.0), ("b", 1.1)):
        net = tanh_net()
        with torch.no_grad():
            net[2].weight.mul_(scale)
        run(Eig(k=1), Objective(net, [data()], "cross_entropy"), output=Path(f"{name}.landscape.h5"))
    return [Path("a.landscape.h5"), Path("b.landscape.h5")]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Histories of two runs."""
    monkeypatch.chdir(tmp_path)
    for name in ("sgd", "sam"):
        of_samples().save(Path(f"{name}.landscape.h5"))
    return [Path("sgd.landscape.h5"), Path("sam.landscape.h5")]


def compare(
    files: list[Path], *names: str, form: str | None = None, labels: tuple[str, ...] = (), every: bool = False
) -> None:
    compare_files(files, metrics=None, every=every, labels=labels, form=form, outputs=[Path(name) for name in names])


def written() -> set[str]:
    """The files in the working directory that are no results."""
    return {path.name for path in Path().iterdir() if path.suffix != ".h5"}


def test_a_table_as_text_has_columns_of_one_width(files: list[Path]) -> None:
    compare(files, "c.txt")
    header, *rows = Path("c.txt").read_text().splitlines()
    assert header.split() == ["quantity", "a", "b", "difference", "from", "a"]
    cells = [line for line in rows if not line.startswith("(")]
    assert {len(line) for line in cells} == {len(header)}
    assert [line.split()[0] for line in cells] == ["loss", "gradient", "eig.eigenvalues[0]"]


def test_every_format_holds_the_same_cells(files: list[Path]) -> None:
    compare(files, "c.md", "c.csv", "c.json", "c.html")
    document = json.loads(Path("c.json").read_text())
    records = list(csv.DictReader(io.StringIO(Path("c.csv").read_text())))
    values = [cell["value"] for row in document["rows"] for cell in row["cells"]]
    assert [float(record["value"]) for record in records] == values
    for name in ("c.md", "c.html"):
        assert all(row["metric"] in Path(name).read_text() for row in document["rows"])


def test_a_format_that_is_named_goes_before_the_name_of_the_file(files: list[Path]) -> None:
    compare(files, "c.txt", "c.unknown", form="json")
    assert Path("c.txt").read_text() == Path("c.unknown").read_text()
    assert json.loads(Path("c.txt").read_text())["checkpoints"] == ["a", "b"]


def test_a_table_is_printed_where_no_file_holds_it(files: list[Path], capsys: Captured) -> None:
    compare(files)
    assert "difference from a" in capsys.readouterr().out
    compare(files, "c.png")
    assert "difference from a" in capsys.readouterr().out  # a picture says nothing of reasons
    compare(files, "c.svg", form="csv")
    assert capsys.readouterr().out.startswith("metric,checkpoint,value")
    compare(files, "c.svg", "c.md", form="markdown")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["c.md", "c.png"])
def test_a_format_that_does_not_exist_is_refused_before_a_file_is_written(files: list[Path], name: str) -> None:
    with pytest.raises(UsageError, match=r"--format is 'yaml'.*\n.*table, markdown, csv, json, html"):
        compare(files, name, form="yaml")
    assert not written()


def test_a_name_that_says_no_format_is_refused_before_another_file_is_written(files: list[Path]) -> None:
    with pytest.raises(UsageError, match=r"-o c\.PNG says no format"):
        compare(files, "c.md", "c.PNG")
    assert not written()


def test_nothing_to_draw_is_refused_before_a_table_is_written(files: list[Path]) -> None:
    files[1].unlink()
    run(Trace(rtol=0.5), Objective(tanh_net(), [data()], "cross_entropy"), output=files[1])
    with pytest.raises(UsageError, match="nothing in common that can be drawn"):
        compare(files, "c.md", "c.png")
    assert not written()
    compare(files, "c.md")
    assert written() == {"c.md"}


def test_labels_stand_in_tables_and_name_files_of_the_command(files: list[Path]) -> None:
    compare(files, "c.json", labels=("SAM=b.landscape.h5",))
    assert json.loads(Path("c.json").read_text())["checkpoints"] == ["a", "SAM"]
    with pytest.raises(UsageError, match="names no file of this command"):
        compare(files, "d.json", labels=("SAM=c.landscape.h5",))
    assert written() == {"c.json"}


def test_runs_are_compared_by_their_files_where_their_folders_are_the_same(runs: list[Path]) -> None:
    compare(runs, "c.json", "c.png")
    document = json.loads(Path("c.json").read_text())
    assert document["checkpoints"] == ["sgd", "sam"]
    first, second = document["rows"][0]["cells"]
    assert first["value"] == second["value"] == 30  # the last step
    assert Path("c.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_says_why_what_it_shows_may_not_be_compared(files: list[Path], tmp_path: Path) -> None:
    compare(files, "near.svg")
    assert "the loss of" not in text_of_picture("near.svg")
    net = tanh_net()
    with torch.no_grad():
        net[2].weight.mul_(3)
    run(Eig(k=1), Objective(net, [data()], "cross_entropy"), output=files[1])
    compare(files, "far.svg")
    assert "the loss of b is " in text_of_picture("far.svg")


def text_of_picture(name: str) -> str:
    """The words of a picture, whose lines are elements of their own."""
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", Path(name).read_text()))


def test_a_picture_of_runs_says_in_what_they_were_measured_otherwise(runs: list[Path]) -> None:
    for file in runs:
        history = landscape.read(file)
        replace(history, attributes={**history.attributes, MEASUREMENT: json.dumps({"data": file.name})}).save(file)
    compare(runs, "runs.svg")
    assert "was measured otherwise: data: " in text_of_picture("runs.svg")
