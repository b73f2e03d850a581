"""Results files are read with suspicion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storage_records import Named, Record, write_record

from landscape.errors import OutputError
from landscape.fields import array
from landscape.storage.paths import MARK
from landscape.storage.read import StoredResult, read_results, to_record
from landscape.storage.write import LIBVER, write_results


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    write_record(tmp_path / "a.landscape.h5")
    stored = read_results(tmp_path / "a.landscape.h5")["demo"]
    del stored.values["heights"]
    with pytest.raises(OutputError, match="lacks heights"):
        to_record(Record, stored)


class TestGuardedReading:
    def hostile(self, path: Path) -> h5py.File:
        write_record(path)
        return h5py.File(path, "r+")

    def test_an_external_link_is_not_followed(self, tmp_path: Path) -> None:
        write_record(tmp_path / "secret.landscape.h5")
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
        "dtype",
        [np.longdouble, np.complex64, "V3", [("re", "f8"), ("im", "f8")], h5py.vlen_dtype(float), h5py.ref_dtype],
        ids=["longdouble", "complex", "opaque", "compound", "ragged", "references"],
    )
    def test_types_that_no_result_has_are_refused(self, tmp_path: Path, dtype: Any) -> None:
        with self.hostile(tmp_path / "a.landscape.h5") as file:
            file["demo"].create_dataset("odd", shape=(2,), dtype=dtype)
        with pytest.raises(OutputError, match="/demo/odd holds .*, which no result does"):
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

    @settings(max_examples=20, deadline=None)  # each starts a process
    @given(position=st.floats(0, 1), byte=st.integers(0, 255))
    def test_a_flipped_byte_never_raises_anything_unplanned(
        self, tmp_path_factory: pytest.TempPathFactory, position: float, byte: int
    ) -> None:
        path = tmp_path_factory.mktemp("flip") / "a.landscape.h5"
        write_record(path)
        content = bytearray(path.read_bytes())
        content[int(position * (len(content) - 1))] = byte
        path.write_bytes(bytes(content))
        try:
            read_results(path)
        except OutputError:
            pass


class TestNames:
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
