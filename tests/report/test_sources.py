"""Which files a page is made of, and what is said of those that cannot be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import pytest

from landscape.errors import OutputError, UsageError
from landscape.report.sources import read_sources, results_at, work_in_progress
from landscape.storage.paths import MARK


def test_folders_give_all_files_below_in_natural_order_each_once(measured: Path, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for file in measured.glob("*.landscape.h5"):
        shutil.copy(file, tmp_path / "inner")
    (tmp_path / "inner" / ".draft.landscape.h5").write_bytes(b"")
    names = [file.name for file in results_at(tmp_path)]
    assert names == ["run-2.landscape.h5", "run-10.landscape.h5"]
    sources = read_sources([tmp_path, tmp_path / "inner" / "run-10.landscape.h5"])
    assert [one.file.name for one in sources.results] == names
    assert sources.unread == ()


def test_checkpoints_and_their_folders_stand_for_the_results_beside_them(measured: Path, tmp_path: Path) -> None:
    shutil.copy(measured / "run-2.landscape.h5", tmp_path / "a.landscape.h5")
    shutil.copy(measured / "run-2.landscape.h5", tmp_path / "model.landscape.h5")
    (tmp_path / "model").mkdir()
    assert results_at(tmp_path / "a.pt") == [tmp_path / "a.landscape.h5"]
    assert results_at(tmp_path / "model") == [(tmp_path / "model.landscape.h5").resolve()]


def test_one_bad_file_is_named_and_the_others_are_read(measured: Path, tmp_path: Path) -> None:
    good = measured / "run-2.landscape.h5"
    (tmp_path / "half.landscape.h5").write_bytes(good.read_bytes()[:2000])
    shutil.copy(good, tmp_path / "newer.landscape.h5")
    with h5py.File(tmp_path / "newer.landscape.h5", "r+") as file:
        file.attrs[MARK] = 99
    sources = read_sources([good, tmp_path, tmp_path / "missing.landscape.h5"])
    assert [one.file for one in sources.results] == [good]
    reasons = {Path(one.file).name: one.reason for one in sources.unread}
    assert "damaged" in reasons["half.landscape.h5"]
    assert "written by a newer landscape" in reasons["newer.landscape.h5"]
    assert "there is no file" in reasons["missing.landscape.h5"]


@pytest.mark.parametrize(("key", "value"), [("options", "[1]"), ("notes", "{}"), ("wall_time_s", "long")])
def test_attributes_of_another_kind_are_a_reason(key: str, value: str, measured: Path, tmp_path: Path) -> None:
    file = shutil.copy(measured / "run-2.landscape.h5", tmp_path / "odd.landscape.h5")
    with h5py.File(file, "r+") as stored:
        stored["surface"].attrs[key] = value
    (unread,) = read_sources([measured / "run-2.landscape.h5", file]).unread
    assert "/surface lacks its attributes, or they are damaged" in unread.reason


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no results are named"):
        read_sources([])
    with pytest.raises(UsageError, match="holds no results"):
        read_sources([tmp_path])
    (tmp_path / "bad.landscape.h5").write_bytes(b"\x89HDF")
    with pytest.raises(OutputError, match="not an HDF5 file"):
        read_sources([tmp_path])


def test_unfinished_work_is_found_by_its_own_name_alone(tmp_path: Path) -> None:
    for name in ("a.eig.partial", "ab.eig.partial", "a.trace.partial", "a.eig.png"):
        (tmp_path / name).touch()
    found = work_in_progress(tmp_path / "a.landscape.h5")
    assert [file.name for file in found] == ["a.eig.partial", "a.trace.partial"]
