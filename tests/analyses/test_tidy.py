"""Tables in which each column is a quantity and each row an observation, as text, pandas and xarray have them."""

from __future__ import annotations

import csv
import io
import sys

import numpy as np
import pytest
from result_samples import sample_result

import landscape
from landscape.analyses.tidy import tidy_tables
from landscape.errors import UsageError


def test_quantities_are_grouped_by_their_dimensions() -> None:
    tables = tidy_tables(sample_result())
    assert {dims: list(table.columns) for dims, table in tables.items()} == {
        ("radius",): ["radius"],
        ("radius", "start"): ["radius", "start", "height"],
        ("layer",): ["layer", "layer_size"],
        (): ["mass", "mass_error", "length", "length_se", "settled", "loss"],
    }
    heights = tables["radius", "start"].columns
    assert heights["radius"].tolist() == [0.5, 0.5, 0.5, 1.0, 1.0, 1.0]
    assert heights["start"].tolist() == [0, 1, 2, 0, 1, 2]
    np.testing.assert_array_equal(heights["height"], [1, 2, 3, 4, 5, np.nan])


def test_text_of_a_table_is_read_back_by_the_standard_library() -> None:
    text = tidy_tables(sample_result())["layer",].to_csv()
    rows = list(csv.reader(io.StringIO(text)))
    assert rows == [["layer", "layer_size"], ["<script>alert(1)</script>", "7"], ['a "b", c', "8"]]


def test_frames_have_the_dimensions_that_are_asked_for() -> None:
    result = sample_result()
    assert result.to_dataframe().columns.tolist() == ["layer", "layer_size"]  # of the first printed table
    frame = result.to_dataframe(["radius", "start"])
    assert len(frame) == 6
    assert frame.attrs["mass"] == 2.34567
    assert result.to_dataframe(()).loc[0, "length"] == 10.0
    assert len(result.to_dataframe("radius")) == 2
    with pytest.raises(UsageError, match="no quantity has the dimensions depth") as caught:
        result.to_dataframe("depth")
    assert caught.value.fix == "one of radius; radius, start; layer; ()"


def test_data_sets_have_coordinates_units_and_attributes() -> None:
    data = sample_result().to_xarray()
    assert data.height.dims == ("radius", "start")
    assert data.height.attrs == {"long_name": "Heights.", "units": "m"}
    assert data.height.sel(radius=1.0).values.tolist()[:2] == [4.0, 5.0]
    assert float(data.mass) == 2.34567
    assert "width" not in data
    assert data.attrs["checkpoint"] == "runs/<b>net</b>.pt"


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="needs pandas, which is not installed") as caught:
        sample_result().to_dataframe()
    assert caught.value.fix == "pip install pandas"


def test_pandas_and_xarray_are_imported_only_when_asked() -> None:
    modules = {"pandas", "xarray"} & set(sys.modules)
    tidy_tables(sample_result())
    assert {"pandas", "xarray"} & set(sys.modules) == modules
    assert "read" in landscape.__all__
