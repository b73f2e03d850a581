"""TODO"""

from __future__ import annotations
import json
from pathlib import Path
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from result_samples import sample_result
from sample_histories import of_samples
import landscape
from landscape.errors import OutputError, UsageError
from landscape.history import History, Moment, Quantity, read_history
from landscape.session import read_measurements


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    history, path = of_samples(), tmp_path / "run.landscape.h5"
    history.save(path)
    again = landscape.read(path)
    assert isinstance(again, History)
    assert set(again) == set(history)
    for name in history:
        assert np.array_equal(again[name], history[name], equal_nan=again[name].dtype.kind == "f"), name
    assert [moment.sha256 for moment in again.moments] == ["", "bb", ""]
    assert again.run == "runs/sgd"
    more = again.with_results(15, "d.pt", {"sample": sample_result(mass=9.0)}, {"loss": 0.6})
    more.save(path)
    assert read_history(path)["sample.mass"].tolist()[:3] == [2.34567, 9.0, 3.0]
    assert read_history(path)["sample.layer_size"].tolist()[1][:2] == [7, 8]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-5, 10**12), st.lists(st.floats(allow_nan=False), min_size=1, max_size=4)),
        min_size=1,
        max_size=6,
    )
)
def test_any_numbers_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, list[float]]]) -> None:
    history = History()
    for number, (step, values) in enumerate(rows):
        moment = Moment(step, f"{number}.pt", {"x.values": np.array(values)})
        history = history.with_moment(moment, {"x.values": Quantity(("x.rank",))})
    path = tmp_path_factory.mktemp("run") / "run.landscape.h5"
    history.save(path)
    again = read_history(path)
    assert again.steps.tolist() == sorted(step for step, _ in rows)
    assert np.array_equal(again["x.values"], history["x.values"], equal_nan=True)
    assert np.isfinite(again["x.values"]).sum() == sum(np.isfinite(values).sum() for _, values in rows)


def test_it_opens_in_xarray_with_and_without_this_package(tmp_path: Path) -> None:
    import xarray

    history, path = of_samples(), tmp_path / "run.landscape.h5"
    history.save(path)
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        assert data["sample.mass"].sel(step=20) == 3.0
        assert data["sample.layer_size"].sel({"step": 10, "sample.layer": 'a "b", c'}) == 8
    assert history.to_xarray()["sample.mass"].sel(step=10) == 2.34567
