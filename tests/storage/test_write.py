"""Results files are written whole, beside the groups that are there, as others read them."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from storage_records import Named, Record, make_record, write_record

from landscape.errors import OutputError
from landscape.storage.read import read_results, read_root, to_record
from landscape.storage.write import Variable, write_results, write_root


class TestRoundTrip:
    @settings(max_examples=40, deadline=None)
    @given(
        heights=arrays.arrays(np.float64, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)),
        total=st.floats(allow_nan=True, allow_infinity=True),
    )
    def test_any_array_comes_back_bit_for_bit(
        self, tmp_path_factory: pytest.TempPathFactory, heights: np.ndarray, total: float
    ) -> None:
        path = tmp_path_factory.mktemp("store") / "a.landscape.h5"
        rows, columns = heights.shape
        write_record(path, rows=rows, columns=columns, heights=heights, total=total)
        again = to_record(Record, read_results(path)["demo"])
        assert again.heights.tobytes() == heights.tobytes()
        assert np.array_equal(again.total, total, equal_nan=True)
        assert again.flags.dtype == bool
        assert again.extra is None

    def test_every_axis_has_a_scale_and_a_coordinate_is_its_own(self, tmp_path: Path) -> None:
        write_record(tmp_path / "a.landscape.h5")
        with h5py.File(tmp_path / "a.landscape.h5") as file:
            group = file["demo"]
            assert group["grid"].is_scale
            assert group["row"].is_scale
            assert [group["heights"].dims[axis][0].name for axis in (0, 1)] == ["/demo/row", "/demo/grid"]
            assert group["grid"].attrs["units"] == "m"
            assert file.attrs["Conventions"] == "CF-1.11"
            assert "torch" in json.loads(file.attrs["environment"])

    def test_another_group_stays_and_the_same_one_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "a.landscape.h5"
        write_record(path, "first", total=1.0)
        write_record(path, "second", total=2.0)
        write_record(path, "first", total=3.0)
        groups = read_results(path)
        assert {name: group.values["total"] for name, group in groups.items()} == {"first": 3.0, "second": 2.0}
        with h5py.File(path) as file:
            assert len(file.attrs["history"].splitlines()) == 3


class TestReplacing:
    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "a.landscape.h5").symlink_to(tmp_path / "real" / "a.landscape.h5")
        write_record(tmp_path / "a.landscape.h5")
        assert (tmp_path / "a.landscape.h5").is_symlink()
        assert "demo" in read_results(tmp_path / "real" / "a.landscape.h5")

    def test_a_full_disk_leaves_the_old_file_and_says_so(self, tmp_path: Path) -> None:
        """The file-size limit of the process stands for the disk: the write fails in the middle."""
        path = tmp_path / "a.landscape.h5"
        write_record(path)
        before = path.read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
        try:
            with pytest.raises(OutputError, match=r"cannot be written: File too large\n.*untouched\n.*-o FILE"):
                write_record(path, rows=200, columns=200, heights=np.random.default_rng(0).normal(size=(200, 200)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == [path.name]

    @pytest.mark.parametrize("content", [b"", b"notes", b"\x89HDF\r\n\x1a\n"], ids=["empty", "text", "broken-hdf5"])
    def test_a_file_that_is_not_ours_is_not_touched(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "a.landscape.h5"
        path.write_bytes(content)
        with pytest.raises(OutputError, match="was not written by landscape"):
            write_record(path)
        assert path.read_bytes() == content


def test_words_come_back_and_are_a_scale(tmp_path: Path) -> None:
    names = np.array(["conv.1", "käse", "", "x" * 300])
    write_results(tmp_path / "a.landscape.h5", "demo", Named(names, np.arange(4)), {"status": "complete"})
    again = to_record(Named, read_results(tmp_path / "a.landscape.h5")["demo"])
    assert again.layer.tolist() == names.tolist()
    assert again.often is None
    with h5py.File(tmp_path / "a.landscape.h5") as file:
        assert file["demo/layer"].is_scale
        assert file["demo/size"].dims[0][0] == file["demo/layer"]
        assert "often" not in file["demo"]


def test_an_optional_number_that_is_there_is_stored(tmp_path: Path) -> None:
    write_results(tmp_path / "a.landscape.h5", "demo", Named(np.array(["a"]), np.arange(1), 2.5), {})
    assert to_record(Named, read_results(tmp_path / "a.landscape.h5")["demo"]).often == 2.5


def test_every_group_of_a_file_opens_in_xarray_after_others_were_added(tmp_path: Path) -> None:
    """References to scales point into the file they were made in: a plain copy of a group loses them."""
    import xarray

    path = tmp_path / "a.landscape.h5"
    names = Named(np.array(["a", "b"]), np.arange(2))
    for group in ("one", "two", "three"):
        write_results(path, group, make_record(rows=60, columns=70), {"status": group})
        write_results(path, f"{group}-named", names, {})
    for group in ("one", "two", "three"):
        with xarray.open_dataset(path, group=group, engine="h5netcdf") as dataset:
            assert dataset["heights"].dims == ("row", "grid")
            assert dataset["heights"].values.tolist() == make_record(rows=60, columns=70).heights.tolist()
            assert dataset.attrs["status"] == group
        with xarray.open_dataset(path, group=f"{group}-named", engine="h5netcdf") as dataset:
            assert dataset["layer"].values.tolist() == ["a", "b"]
    with h5py.File(path) as file:
        assert file["one/heights"].compression == "gzip"
        assert file["one/heights"].dims[1][0].name == "/one/grid"


def test_the_root_of_results_lists_them_for_readers_without_groups(tmp_path: Path) -> None:
    import xarray

    path = tmp_path / "a.landscape.h5"
    write_results(path, "first", make_record(), {"loss_value": 0.5, "status": "complete", "wall_time_s": 2.0})
    write_results(path, "second", make_record(), {"status": "partial"})
    with xarray.open_dataset(path, engine="h5netcdf") as overview:
        assert overview["analysis"].values.tolist() == ["first", "second"]
        assert overview["loss"].values[0] == 0.5
        assert np.isnan(overview["loss"].values[1])
        assert overview["conclusive"].values.tolist() == [True, False]
    with xarray.open_datatree(path, engine="h5netcdf") as tree:
        assert set(tree.children) == {"first", "second"}


def test_variables_in_the_root_come_back_with_their_dimensions(tmp_path: Path) -> None:
    import xarray

    path = tmp_path / "run.landscape.h5"
    variables = {
        "step": Variable(("step",), np.array([0, 10]), "Step."),
        "name": Variable(("step",), np.array(["a", "b\0c"])),
        "eig.eigenvalues": Variable(("step", "rank"), np.array([[3.0, 1.0, np.nan], [2.0, 0.5, 0.1]]), "Top.", "1"),
    }
    write_root(path, variables, {"kind": "history", "note": "x\0y"})
    stored = read_root(path)
    assert stored.attributes["kind"] == "history"
    assert stored.attributes["note"] == r"x\x00y"
    assert stored.values["name"].tolist() == ["a", r"b\x00c"]
    assert np.array_equal(stored.values["eig.eigenvalues"], variables["eig.eigenvalues"].values, equal_nan=True)
    assert read_results(path) == {}
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        assert data["eig.eigenvalues"].sel(step=10).values.tolist() == [2.0, 0.5, 0.1]
        assert data["eig.eigenvalues"].attrs["long_name"] == "Top."
