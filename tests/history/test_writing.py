"""Files of histories: everything comes back, other readers open them, and what was there before stays or goes whole."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from result_samples import sample_result
from sample_histories import of_samples

import landscape
from landscape.errors import OutputError
from landscape.history import History, Moment, Quantity, read_history
from landscape.history.writing import DIGESTS, HISTORY, KIND, QUANTITIES, write_history


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


def test_the_root_says_what_the_file_is_and_how_its_columns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "run.landscape.h5"
    write_history(of_samples(), path)
    with h5py.File(path) as file:
        assert file.attrs[KIND] == HISTORY
        assert json.loads(file.attrs[DIGESTS]) == ["", "bb", ""]  # in the order of the steps 10, 20, 30
        about = json.loads(file.attrs[QUANTITIES])
        assert about["sample.layer_size"]["dims"] == ["sample.layer"]
        assert about["sample.mass"]["unit"] == file["sample.mass"].attrs["units"] == "kg"
        assert " landscape" in file.attrs["history"]  # the words of the command line
        assert set(about) <= set(file)


def test_attributes_of_the_run_do_not_hide_what_the_file_is(tmp_path: Path) -> None:
    path = tmp_path / "run.landscape.h5"
    write_history(History(attributes={KIND: "other", QUANTITIES: "{}", "run": "a"}).with_values(1, "a.pt", {}), path)
    again = read_history(path)
    assert again.steps.tolist() == [1]
    assert again.attributes["run"] == "a"


def test_a_history_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "run.landscape.h5"
    write_history(of_samples(), path)
    write_history(History().with_values(5, "z.pt", {"loss": 2.0}), path)
    again = read_history(path)
    assert again.checkpoints == ["z.pt"]
    assert "sample.mass" not in again
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_without_a_checkpoint_there_is_a_file_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "run.landscape.h5"
    write_history(History(attributes={"run": "runs/none"}), path)
    again = read_history(path)
    assert again.moments == ()
    assert again.run == "runs/none"


def test_a_file_of_another_program_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.h5"
    path.write_text("mine")
    with pytest.raises(OutputError):
        write_history(of_samples(), path)
    assert path.read_text() == "mine"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        write_history(of_samples(), tmp_path / "nowhere" / "run.landscape.h5")
