"""The results file: atomic, honest, guarded, and readable by others."""

from __future__ import annotations

import json
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from landscape.errors import OutputError
from landscape.fields import array, scalar
from landscape.storage import paths
from landscape.storage.array_files import load_arrays, save_arrays
from landscape.storage.atomic_files import replace_file
from landscape.storage.paths import MARK
from landscape.storage.read import StoredResult, read_results, to_record
from landscape.storage.write import LIBVER, write_results


@dataclass(frozen=True)
class Record:
    grid: np.ndarray = array("grid", help="A coordinate.", unit="m")
    heights: np.ndarray = array("row", "grid", help="Values over it.")
    flags: np.ndarray = array("row", help="Yes or no.")
    total: float = scalar("A number.")
    extra: np.ndarray | None = array("row", help="May be absent.", optional=True)


def record(rows: int = 3, columns: int = 4, **changes: Any) -> Record:
    heights = np.arange(rows * columns, dtype=float).reshape(rows, columns)
    values = {"grid": np.linspace(0, 1, columns), "heights": heights, "flags": np.arange(rows) % 2 == 0, "total": 1.5}
    return Record(**{**values, **changes})


def write(path: Path, name: str = "demo", **changes: Any) -> Record:
    written = record(**changes)
    write_results(path, name, written, {"status": "complete", "absent": None})
    return written


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
        write(path, rows=rows, columns=columns, heights=heights, total=total)
        again = to_record(Record, read_results(path)["demo"])
        assert again.heights.tobytes() == heights.tobytes()
        assert np.array_equal(again.total, total, equal_nan=True)
        assert again.flags.dtype == bool
        assert again.extra is None

    def test_every_axis_has_a_scale_and_a_coordinate_is_its_own(self, tmp_path: Path) -> None:
        write(tmp_path / "a.landscape.h5")
        with h5py.File(tmp_path / "a.landscape.h5") as file:
            group = file["demo"]
            assert group["grid"].is_scale
            assert group["row"].is_scale
            assert [group["heights"].dims[axis][0].name for axis in (0, 1)] == ["/demo/row", "/demo/grid"]
            assert group["grid"].attrs["units"] == "m"
            assert file.attrs["Conventions"] == "CF-1.11"
            assert "torch" in json.loads(file.attrs["environment"])

    def test_a_missing_field_is_named(self, tmp_path: Path) -> None:
        write(tmp_path / "a.landscape.h5")
        stored = read_results(tmp_path / "a.landscape.h5")["demo"]
        del stored.values["heights"]
        with pytest.raises(OutputError, match="lacks heights"):
            to_record(Record, stored)

    def test_another_group_stays_and_the_same_one_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "a.landscape.h5"
        write(path, "first", total=1.0)
        write(path, "second", total=2.0)
        write(path, "first", total=3.0)
        groups = read_results(path)
        assert {name: group.values["total"] for name, group in groups.items()} == {"first": 3.0, "second": 2.0}
        with h5py.File(path) as file:
            assert len(file.attrs["history"].splitlines()) == 3

    def test_snapshots_keep_scalars_and_shapes(self, tmp_path: Path) -> None:
        state = {"count": np.asarray(3), "rows": np.zeros((0, 4)), "values": np.array([np.nan, -0.0])}
        save_arrays(tmp_path / "s", state, {"note": "a 'quoted' word"})
        again, about = load_arrays(tmp_path / "s")
        assert about == {"note": "a 'quoted' word"}
        assert all(again[name].shape == value.shape for name, value in state.items())
        assert again["values"].tobytes() == state["values"].tobytes()


class TestAtomic:
    def test_the_bytes_are_on_the_disk_before_the_name_is(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order: list[str] = []
        fsync, replace = os.fsync, Path.replace
        monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("fsync"), fsync(descriptor)))
        monkeypatch.setattr(Path, "replace", lambda self, to: (order.append("replace"), replace(self, to)))
        replace_file(tmp_path / "a", b"content")
        assert order == ["fsync", "replace", "fsync"]  # the file, its name, the folder

    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "a.landscape.h5").symlink_to(tmp_path / "real" / "a.landscape.h5")
        write(tmp_path / "a.landscape.h5")
        assert (tmp_path / "a.landscape.h5").is_symlink()
        assert "demo" in read_results(tmp_path / "real" / "a.landscape.h5")

    def test_companions_of_different_outputs_differ(self) -> None:
        names = {paths.beside(Path(name), "eig.png").name for name in ("lr0.1", "lr0.5", "lr0.5.h5x", "b.landscape.h5")}
        assert names == {"lr0.1.eig.png", "lr0.5.eig.png", "lr0.5.h5x.eig.png", "b.eig.png"}

    def test_a_full_disk_leaves_the_old_file_and_says_so(self, tmp_path: Path) -> None:
        """The file-size limit of the process stands for the disk: the write fails in the middle."""
        path = tmp_path / "a.landscape.h5"
        write(path)
        before = path.read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
        try:
            with pytest.raises(OutputError, match=r"cannot be written: File too large\n.*untouched\n.*-o FILE"):
                write(path, rows=200, columns=200, heights=np.random.default_rng(0).normal(size=(200, 200)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == [path.name]

    @pytest.mark.parametrize("content", [b"", b"notes", b"\x89HDF\r\n\x1a\n"], ids=["empty", "text", "broken-hdf5"])
    def test_a_file_that_is_not_ours_is_not_touched(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "a.landscape.h5"
        path.write_bytes(content)
        with pytest.raises(OutputError, match="was not written by landscape"):
            write(path)
        assert path.read_bytes() == content


class TestGuardedReading:
    def hostile(self, path: Path) -> h5py.File:
        write(path)
        return h5py.File(path, "r+")

    def test_an_external_link_is_not_followed(self, tmp_path: Path) -> None:
        write(tmp_path / "secret.landscape.h5")
        with self.hostile(tmp_path / "a.landscape.h5") as file:
            file["demo/stolen"] = h5py.ExternalLink(str(tmp_path / "secret.landscape.h5"), "/demo/total")
        with pytest.raises(OutputError, match="/demo/stolen is a link to elsewhere"):
            read_results(tmp_path / "a.landscape.h5")

    def test_a_soft_link_is_not_followed(self, tmp_path: Path) -> None:
        with self.hostile(tmp_path / "a.landscape.h5") as file:
            file["again"] = h5py.SoftLink("/demo")
        with pytest.raises(OutputError, match="/again is a link"):
            read_results(tmp_path / "a.landscape.h5")

    def test_declared_petabytes_are_refused(self, tmp_path: Path) -> None:
        with self.hostile(tmp_path / "a.landscape.h5") as file:
            file["demo"].create_dataset("huge", shape=(10**14,), dtype="f8", chunks=(1024,))
        with pytest.raises(OutputError, match="declares 8e\\+14 bytes"):
            read_results(tmp_path / "a.landscape.h5")

    def test_external_storage_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "raw").write_bytes(bytes(80))
        with self.hostile(tmp_path / "a.landscape.h5") as file:
            file["demo"].create_dataset("raw", shape=(10,), dtype="f8", external=[(str(tmp_path / "raw"), 0, 80)])
        with pytest.raises(OutputError, match="not a plain data set"):
            read_results(tmp_path / "a.landscape.h5")

    def test_a_virtual_data_set_is_refused(self, tmp_path: Path) -> None:
        with self.hostile(tmp_path / "a.landscape.h5") as file:
            layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
            layout[:] = h5py.VirtualSource("other.h5", "x", shape=(3,))
            file["demo"].create_virtual_dataset("v", layout)
        with pytest.raises(OutputError, match="not a plain data set"):
            read_results(tmp_path / "a.landscape.h5")

    @pytest.mark.parametrize(
        ("content", "message"),
        [(None, "there is no file"), (b"hello", "not an HDF5 file"), (b"\x89HDF\r\n\x1a\n" + bytes(90), "damaged")],
        ids=["absent", "text", "broken"],
    )
    def test_what_is_not_a_results_file_is_said(self, tmp_path: Path, content: bytes | None, message: str) -> None:
        path = tmp_path / "a.landscape.h5"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(OutputError, match=message):
            read_results(path)

    def test_another_program_s_hdf5_and_a_newer_schema_are_said(self, tmp_path: Path) -> None:
        path = tmp_path / "a.landscape.h5"
        with h5py.File(path, "w"):
            pass
        with pytest.raises(OutputError, match="not one of landscape's"):
            read_results(path)
        with h5py.File(path, "r+") as file:
            file.attrs[MARK] = 99
        with pytest.raises(OutputError, match="newer landscape"):
            read_results(path)

    @settings(max_examples=60, deadline=None)
    @given(position=st.floats(0, 1), byte=st.integers(0, 255))
    def test_a_flipped_byte_never_raises_anything_unplanned(
        self, tmp_path_factory: pytest.TempPathFactory, position: float, byte: int
    ) -> None:
        path = tmp_path_factory.mktemp("flip") / "a.landscape.h5"
        write(path)
        content = bytearray(path.read_bytes())
        content[int(position * (len(content) - 1))] = byte
        path.write_bytes(bytes(content))
        try:
            read_results(path)
        except OutputError:
            pass

    def test_a_damaged_snapshot_names_the_remedy(self, tmp_path: Path) -> None:
        (tmp_path / "s").write_bytes(b"\xff" * 40)
        with pytest.raises(OutputError, match="--restart discards it"):
            load_arrays(tmp_path / "s")


@dataclass(frozen=True)
class Named:
    layer: np.ndarray = array("layer", help="Names.")
    size: np.ndarray = array("layer", help="A number each.")
    often: float | None = scalar("May be absent.", optional=True)


class TestNames:
    def test_words_come_back_and_are_a_scale(self, tmp_path: Path) -> None:
        names = np.array(["conv.1", "käse", "", "x" * 300])
        write_results(tmp_path / "a.landscape.h5", "demo", Named(names, np.arange(4)), {"status": "complete"})
        again = to_record(Named, read_results(tmp_path / "a.landscape.h5")["demo"])
        assert again.layer.tolist() == names.tolist()
        assert again.often is None
        with h5py.File(tmp_path / "a.landscape.h5") as file:
            assert file["demo/layer"].is_scale
            assert file["demo/size"].dims[0][0] == file["demo/layer"]
            assert "often" not in file["demo"]

    def test_an_optional_number_that_is_there_is_stored(self, tmp_path: Path) -> None:
        write_results(tmp_path / "a.landscape.h5", "demo", Named(np.array(["a"]), np.arange(1), 2.5), {})
        assert to_record(Named, read_results(tmp_path / "a.landscape.h5")["demo"]).often == 2.5

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        write_results(tmp_path / "a.landscape.h5", "demo", Named(np.array(["a", "b"]), np.arange(2)), {})
        return tmp_path / "a.landscape.h5"

    def test_more_text_than_the_file_can_hold_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Elements may point at one and the same long text: what is read is weighed, not what is declared."""
        path = tmp_path / "a.landscape.h5"
        write_results(path, "demo", Named(np.array(["x" * 3000] * 2), np.arange(2)), {})
        monkeypatch.setattr("landscape.storage.read.DEFLATE_LIMIT", 4000 / path.stat().st_size)
        with pytest.raises(OutputError, match="more text than its file can hold"):
            read_results(path)

    def test_names_that_are_not_text_are_damage(self, path: Path) -> None:
        with h5py.File(path, "r+", libver=LIBVER) as file:
            del file["demo/layer"]
            file["demo"].create_dataset("layer", data=np.array([b"\xff\xfe", b"b"], dtype=h5py.string_dtype()))
        with pytest.raises(OutputError, match="is damaged"):
            read_results(path)

    def test_names_in_a_table_are_of_another_kind(self, path: Path) -> None:
        with h5py.File(path, "r+", libver=LIBVER) as file:
            del file["demo/layer"]
            file["demo"].create_dataset("layer", data=np.array([["a", "b"]], dtype=h5py.string_dtype()))
        with pytest.raises(OutputError):
            to_record(Named, read_results(path)["demo"])


def test_every_group_of_a_file_opens_in_xarray_after_others_were_added(tmp_path: Path) -> None:
    """References to scales point into the file they were made in: a plain copy of a group loses them."""
    import xarray

    path = tmp_path / "a.landscape.h5"
    names = Named(np.array(["a", "b"]), np.arange(2))
    for group in ("one", "two", "three"):
        write_results(path, group, record(rows=60, columns=70), {"status": group})
        write_results(path, f"{group}-named", names, {})
    for group in ("one", "two", "three"):
        with xarray.open_dataset(path, group=group, engine="h5netcdf") as dataset:
            assert dataset["heights"].dims == ("row", "grid")
            assert dataset["heights"].values.tolist() == record(rows=60, columns=70).heights.tolist()
            assert dataset.attrs["status"] == group
        with xarray.open_dataset(path, group=f"{group}-named", engine="h5netcdf") as dataset:
            assert dataset["layer"].values.tolist() == ["a", "b"]
    with h5py.File(path) as file:
        assert file["one/heights"].compression == "gzip"
        assert file["one/heights"].dims[1][0].name == "/one/grid"


@dataclass(frozen=True)
class Tabled(Named):
    tables = ("layer",)
    layer_trace: np.ndarray | None = array("layer", help="A column.", optional=True)
    layer_share: np.ndarray | None = array("layer", help="Another.", optional=True)


@pytest.mark.parametrize(
    "damage",
    [
        {"layer_trace": np.zeros(1)},
        {"layer_trace": np.zeros((2, 2))},
        {"layer_trace": np.array(["a", "b"])},
        {"layer_share": None},
        {"size": np.zeros(3)},
    ],
    ids=["short", "two-axes", "words", "a-column-missing", "longer"],
)
def test_columns_that_do_not_fit_together_are_damage(damage: dict[str, Any]) -> None:
    whole = {"layer": np.array(["a", "b"]), "size": np.arange(2), "layer_trace": np.ones(2), "layer_share": np.ones(2)}
    values = {name: value for name, value in {**whole, **damage}.items() if value is not None}
    assert to_record(Tabled, StoredResult(whole, {})).layer_trace is not None
    with pytest.raises(OutputError):
        to_record(Tabled, StoredResult(values, {}))
