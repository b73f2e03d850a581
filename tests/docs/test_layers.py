"""The picture of the layers is that of the contract that the linter checks."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def layers() -> ModuleType:
    specification = importlib.util.spec_from_file_location("layers", ROOT / "docs" / "layers.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_committed_picture_is_what_the_script_draws(layers: ModuleType) -> None:
    assert layers.PICTURE.read_text() == layers.drawing(), "run `python docs/layers.py` and commit the picture"


def test_every_package_and_module_of_the_root_is_in_the_picture_with_its_sentence(layers: ModuleType) -> None:
    drawn = re.findall(r"font-weight='600' fill='#1b2a4a'>([a-z_]+)<", layers.drawing())
    entries = (ROOT / "landscape").iterdir()
    roots = {entry.stem for entry in entries if entry.suffix == ".py" or (entry / "__init__.py").exists()}
    assert sorted(drawn) == sorted(roots - {"__init__", "__main__"})
    assert all(layers.sentence(name).endswith((".", "...")) for name in drawn)


def test_each_row_is_below_the_rows_that_import_it(layers: ModuleType) -> None:
    rows = layers.layers()
    level = {name: place for place, row in enumerate(rows) for name in row}
    assert level["session"] < level["analyses"] < level["algorithms"] < level["operators"] < level["objective"]
    assert level["errors"] == len(rows) - 1
