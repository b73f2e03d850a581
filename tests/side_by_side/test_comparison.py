"""Results of several checkpoints beside each other: values, errors, differences, and why there are none."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import tanh_net
from torch import Tensor

import landscape
from landscape.errors import OutputError, UsageError
from landscape.side_by_side import Cell, SideBySide, caveats

Data = tuple[Tensor, Tensor]


def measured(folder: Path, name: str, data: Data, scale: float, *analyses: object) -> Path:
    model = tanh_net()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    objective = landscape.Objective(model, [data], "cross_entropy")
    file = folder / f"{name}.landscape.h5"
    file.parent.mkdir(exist_ok=True)
    for analysis in analyses:
        landscape.run(analysis, objective, output=file)  # type: ignore[arg-type]
    return file


@pytest.fixture
def files(classification: Data, tmp_path: Path) -> list[Path]:
    analyses = landscape.Eig(k=4), landscape.Trace(rtol=0.2)
    return [
        measured(tmp_path, "sgd/last", classification, 1.0, *analyses),
        measured(tmp_path, "sam/last", classification, 0.97, *analyses),
    ]


def rows_of(table: SideBySide) -> dict[str, tuple[Cell, ...]]:
    return {row.metric: row.cells for row in table.rows}


def test_differences_are_those_of_the_results_in_their_errors(files: list[Path]) -> None:
    table = landscape.compare(*files)
    assert table.labels == ("sgd/last", "sam/last")
    first, second = (landscape.read(file) for file in files)
    rows = rows_of(table)
    assert list(rows)[:2] == ["loss", "gradient norm"]
    cell = rows["trace.trace"][1]
    assert cell.difference == second.trace.trace - first.trace.trace
    error = math.hypot(first.trace.standard_error, second.trace.standard_error)
    assert cell.in_errors == (pytest.approx(cell.difference / error) if error else None)
    value = rows["eig.eigenvalues[0]"][1]
    assert value.difference == second.eig.eigenvalues[0] - first.eig.eigenvalues[0]
    assert "eig.eigenvalues[3]" not in rows
    assert "eig.eigenvalues[3]" in rows_of(landscape.compare(*files, every=True))
    assert list(rows_of(landscape.compare(*files, metrics=["eig.eigenvalues[3]"]))) == [
        "loss", "gradient norm", "eig.eigenvalues[3]"
    ]  # fmt: skip


def test_bounds_without_errors_are_compared_too(files: list[Path], classification: Data, tmp_path: Path) -> None:
    look = landscape.Sharpness(starts=1, steps=2, draws=4)
    for name, scale in (("sgd/last", 1.0), ("sam/last", 0.97)):
        measured(tmp_path, name, classification, scale, look)
    rows = rows_of(landscape.compare(*files))
    assert {"sharpness.s_max[0]", "sharpness.s_avg[0]"} <= rows.keys()
    assert not {"sharpness.stationarity[0]", "sharpness.starts[0]", "eig.residuals[0]"} & rows.keys()


def test_other_data_and_missing_results_have_no_difference(
    files: list[Path], classification: Data, tmp_path: Path
) -> None:
    few = classification[0][:8], classification[1][:8]
    other = measured(tmp_path, "few", few, 1.0, landscape.Eig(k=4))
    rows = rows_of(landscape.compare(files[0], other))
    assert rows["eig.eigenvalues[0]"][1].difference is None
    assert "eig of few is not the same measurement: data: " in rows["eig.eigenvalues[0]"][1].reason
    assert "in last" in rows["eig.eigenvalues[0]"][1].reason
    assert rows["trace.trace"][1].reason == "trace was not measured: landscape trace"
    assert math.isnan(rows["trace.trace"][1].value)


def test_another_loss_is_said_beside_the_difference(files: list[Path], classification: Data, tmp_path: Path) -> None:
    far = measured(tmp_path, "far", classification, 3.0, landscape.Eig(k=4))
    cell = rows_of(landscape.compare(files[0], far))["eig.eigenvalues[0]"][1]
    assert cell.difference is not None
    assert "the loss of far is" in cell.reason
    assert "of last" in cell.reason
    texts = next(texts for texts in landscape.compare(files[0], far).cells() if texts[0] == "eig.eigenvalues[0]")
    assert texts[-1].endswith("(1)")


def test_the_loss_is_that_of_an_analysis_on_the_same_data(
    files: list[Path], classification: Data, tmp_path: Path
) -> None:
    few = classification[0][:8], classification[1][:8]
    measured(tmp_path, "sam/last", few, 0.97, landscape.Density(probes=2, steps=3))
    measured(tmp_path, "sgd/last", classification, 1.0, landscape.Density(probes=2, steps=3))
    loss = rows_of(landscape.compare(*files))["loss"][1]
    assert loss.value == landscape.read(files[1]).eig.loss


def test_what_cannot_be_compared_is_refused_in_words(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 results cannot be compared"):
        landscape.compare(files[0])
    with pytest.raises(UsageError, match="is named twice"):
        landscape.compare(files[0], files[0])
    with pytest.raises(UsageError, match="1 labels for 2 results"):
        landscape.compare(*files, labels=["a", "a"])
    with pytest.raises(UsageError, match="has no results beside it"):
        landscape.compare(tmp_path / "never.pt", files[0])
    with pytest.raises(OutputError, match="there is no file"):
        landscape.compare(tmp_path / "none.h5", files[0])
    with pytest.raises(UsageError, match="there is no analysis"):
        landscape.compare(*files, metrics=["eigs.x"])


def test_checkpoints_stand_for_the_results_beside_them(files: list[Path]) -> None:
    (files[0].parent / "last.pt").touch()
    (files[1].parent / "last.pt").touch()
    table = landscape.compare(files[0].parent / "last.pt", files[1].parent / "last.pt")
    assert rows_of(table) == rows_of(landscape.compare(*files))
    assert replace(table, rows=()).reasons == ()


def test_results_that_share_only_a_surface_are_compared(classification: Data, tmp_path: Path) -> None:
    files = [
        measured(tmp_path, "a/last", classification, 1.0, landscape.Surface(grid="5"), landscape.Eig(k=1)),
        measured(tmp_path, "b/last", classification, 0.9, landscape.Surface(grid="5")),
    ]
    rows = rows_of(landscape.compare(*files))
    assert "loss" not in rows  # a surface has one for each point
    first, second = rows["gradient norm"]
    assert first.value == landscape.read(files[0]).surface.gradient_norm
    assert second.difference is not None


def test_errors_by_samples_stand_beside_those_of_the_algorithm(classification: Data, tmp_path: Path) -> None:
    resampled = landscape.Eig(k=2, resample=4), landscape.Trace(rtol=0.2, resample=4)
    files = [measured(tmp_path, f"{name}/last", classification, scale, *resampled) for name, scale in SCALES.items()]
    rows, (first, second) = rows_of(landscape.compare(*files)), map(landscape.read, files)
    value = rows["eig.eigenvalues[1]"][1]
    assert value.data_error == second.eig.data_standard_errors[1]
    own = math.hypot(first.eig.data_standard_errors[1], second.eig.data_standard_errors[1])
    assert value.in_data_errors == pytest.approx(value.difference / own)
    assert rows["trace.trace"][1].data_error == second.trace.data_standard_error
    assert rows["loss"][1].data_error is None


SCALES = {"sgd": 1.0, "sam": 0.97}


def test_caveats_are_of_the_analyses_that_all_have_and_of_those_named(
    files: list[Path], classification: Data, tmp_path: Path
) -> None:
    few = classification[0][:8], classification[1][:8]
    other = measured(tmp_path, "few", few, 1.0, landscape.Eig(k=4))
    stored = [landscape.read(file) for file in (files[0], other)]
    (caveat,) = caveats(stored, ["a", "b"], ["eig", "trace"])
    assert caveat.startswith("eig of b is not the same measurement: data: ")
    assert caveats(stored, ["a", "b"], ["trace", "density"]) == []
    assert caveats([landscape.read(file) for file in files], ["a", "b"], ["eig", "trace"]) == []


def test_a_caveat_of_several_analyses_stands_once(files: list[Path], classification: Data, tmp_path: Path) -> None:
    far = measured(tmp_path, "far", classification, 3.0, landscape.Eig(k=4), landscape.Trace(rtol=0.2))
    stored = [landscape.read(file) for file in (files[0], far)]
    (caveat,) = caveats(stored, ["a", "b"], ["eig", "trace"])
    assert caveat.startswith("the loss of b is ")
