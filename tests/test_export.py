"""Surfaces in the formats of other programs."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from conftest import tanh_net
from torch import Tensor

import landscape
from landscape import Objective, Surface
from landscape import export as exports
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.errors import UsageError

Data = tuple[Tensor, Tensor]


@pytest.fixture
def result(classification: Data) -> SurfaceResult:
    found: SurfaceResult = landscape.run(Surface(grid="5x3"), Objective(tanh_net(), [classification], "cross_entropy"))
    return found


def test_a_structured_grid_holds_every_point_with_alpha_innermost(result: SurfaceResult) -> None:
    ((suffix, text),) = exports.vts(result)
    assert suffix == ".vts"
    root = ElementTree.fromstring(text)
    piece = root.find("StructuredGrid/Piece")
    assert piece is not None
    assert piece.get("Extent") == "0 4 0 2 0 0"
    arrays = {array.get("Name"): np.array(str(array.text).split(), float) for array in root.iter("DataArray")}
    places = arrays["points"].reshape(15, 3)
    assert result.beta is not None
    assert np.allclose(places[:5, 0], result.alpha)
    assert np.allclose(places[::5, 1], result.beta)
    assert np.allclose(places[:, 2], result.loss.ravel(), rtol=1e-8)
    assert np.allclose(arrays["loss"], result.loss.ravel(), rtol=1e-8)
    assert np.allclose(arrays["log10_loss"], np.log10(result.loss.ravel()), rtol=1e-7)
    assert set(arrays) == {"points", "loss", "log10_loss", "accuracy", "status"}


def test_what_is_not_finite_stays_so_at_a_finite_height(result: SurfaceResult) -> None:
    losses = result.loss.copy()
    losses[0, 0], losses[1, 1] = np.nan, np.inf
    ((_, text),) = exports.vts(replace(result, loss=losses))
    root = ElementTree.fromstring(text)
    arrays = {array.get("Name"): np.array(str(array.text).split(), float) for array in root.iter("DataArray")}
    assert np.isnan(arrays["loss"][0])
    assert np.isfinite(arrays["points"]).all()


def test_a_table_has_a_line_for_each_point_and_reads_back(result: SurfaceResult) -> None:
    ((suffix, text),) = exports.csv(result)
    lines = text.splitlines()
    assert suffix == ".csv"
    assert lines[0] == "alpha,beta,loss,accuracy,status"
    rows = np.array([line.split(",") for line in lines[1:]], float)
    assert np.array_equal(rows[:, 2].reshape(3, 5), result.loss)


def test_several_planes_make_several_files_and_a_line_no_grid(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    planes = landscape.run(Surface(grid="3", seeds=2), objective)
    assert [suffix for suffix, _ in exports.vts(planes)] == ["-0.vts", "-1.vts"]
    line = landscape.run(Surface(grid="5", dim=1), objective)
    with pytest.raises(UsageError, match="two dimensions"):
        list(exports.vts(line))
    ((_, text),) = exports.csv(line)
    assert text.startswith("alpha,loss,accuracy,status\n")


def test_other_results_have_a_table_for_each_kind_of_quantity(classification: Data) -> None:
    result = landscape.run(landscape.Eig(k=2), Objective(tanh_net(), [classification], "cross_entropy"))
    tables = dict(exports.csv(result))
    assert set(tables) == {".rank.csv", ".iteration.rank.csv", ".csv"}
    head, first, *_ = tables[".rank.csv"].splitlines()
    assert head.startswith("analysis,rank,eigenvalues,residuals")
    assert first.split(",")[:3] == ["eig", "0", str(float(result.eigenvalues[0]))]
    scalars = tables[".csv"].splitlines()
    assert len(scalars) == 2
    assert dict(zip(*(line.split(",") for line in scalars), strict=True))["products"] == str(result.products)
