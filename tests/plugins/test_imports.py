"""The user's own objects: from files and modules, without changing what else can be imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from landscape.errors import TaskError
from landscape.plugins.imports import append_import_folder, import_object, importing_from


@pytest.fixture(autouse=True)
def _own_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_file_and_a_module_give_the_same_object(tmp_path: Path) -> None:
    (tmp_path / "landscape_own.py").write_text("answer = [6 * 7]\n")
    assert import_object("landscape_own:answer") == [42]
    assert import_object(f"{tmp_path}/landscape_own.py:answer") == [42]


def test_a_file_finds_its_neighbors_while_it_is_imported(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "landscape_neighbor.py").write_text("width = 3\n")
    (folder / "landscape_main.py").write_text("from landscape_neighbor import width\n")
    assert import_object("inner/landscape_main.py:width") == 3


def test_the_folder_is_first_during_the_import_and_last_afterwards(tmp_path: Path) -> None:
    with importing_from(tmp_path):
        assert sys.path[0] == str(tmp_path.resolve())
    assert sys.path[-1] == str(tmp_path.resolve())
    assert sys.path.count(str(tmp_path.resolve())) == 1


def test_a_folder_is_appended_once(tmp_path: Path) -> None:
    before = [*sys.path]
    append_import_folder(tmp_path)
    append_import_folder(tmp_path)
    assert sys.path == [*before, str(tmp_path.resolve())]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("landscape_nosuch:name", "landscape_nosuch cannot be imported: ModuleNotFoundError"),
        ("nosuch.py:name", "there is no file nosuch.py"),
        ("landscape_exits.py:name", "landscape_exits.py cannot be imported: SystemExit: 3"),
        ("landscape_full.py:buid", "landscape_full.py has no buid.*build"),
    ],
)
def test_what_cannot_be_imported_is_told(tmp_path: Path, reference: str, message: str) -> None:
    (tmp_path / "landscape_exits.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "landscape_full.py").write_text("def build():\n    pass\n")
    with pytest.raises(TaskError, match=message):
        import_object(reference)
