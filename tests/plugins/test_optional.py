"""A library that is broken is not called missing: the first cause of the failed import is named, with its remedy."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from landscape.errors import TaskError, UsageError
from landscape.plugins.optional import import_optional, import_problem, is_import_problem, root_cause

NMS = 'raise RuntimeError("operator torchvision::nms does not exist\\nsecond line")\n'
LAZY = """
try:
    import {}
except Exception as error:
    raise ModuleNotFoundError("Could not import module") from error
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def write_package(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(text)
    importlib.invalidate_caches()


def message(name: str) -> str:
    with pytest.raises(UsageError) as caught:
        import_optional(name, "a test", "pip install THIS")
    return str(caught.value)


def test_a_missing_library_is_to_be_installed() -> None:
    assert message("no_such_library.part") == (
        "a test needs no_such_library, which is not installed\n  fix:  pip install THIS"
    )
    with pytest.raises(TaskError):
        import_optional("no_such_library", "a test", "", TaskError)


def test_a_torchvision_of_another_torch_is_named_through_the_chain(packages: Path) -> None:
    write_package(packages, "torchvision", NMS)
    write_package(packages, "lazy_library", LAZY.format("torchvision"))
    text = message("lazy_library")
    assert "lazy_library, which cannot be imported: RuntimeError: operator torchvision::nms does not exist (t" in text
    assert "pip install --upgrade torch torchvision; or, if nothing needs it, pip uninstall torchvision" in text
    assert "THIS" not in text
    assert "second line" not in text


def test_a_library_that_lacks_another_one_says_which(packages: Path) -> None:
    write_package(packages, "needy_library", "import no_such_library.part\n")
    text = message("needy_library")
    assert "No module named 'no_such_library'" in text
    assert text.endswith("fix:  pip install no_such_library, which needy_library needs")


def test_a_name_that_another_version_has_says_of_which_library(packages: Path) -> None:
    write_package(packages, "old_library", "")
    write_package(packages, "new_library", LAZY.format("old_library; from old_library import novelty"))
    text = message("new_library")
    assert "cannot import name 'novelty'" in text
    assert text.endswith("fix:  pip install -U new_library old_library")


def test_an_error_of_an_inner_library_is_that_of_the_library(packages: Path) -> None:
    write_package(packages, "inner_library", "raise OSError('libinner.so: undefined symbol')\n")
    write_package(packages, "outer_library", "import json, inner_library\n")
    text = message("outer_library")
    assert "OSError: libinner.so: undefined symbol (inner_library)" in text
    assert text.endswith("fix:  pip install -U outer_library inner_library")


def test_chains_end_also_in_a_circle() -> None:
    one, two = ValueError("one"), ImportError("two")
    one.__cause__, two.__cause__ = two, one
    assert root_cause(one) is two
    assert is_import_problem(one)
    assert not is_import_problem(ValueError("three"))
    assert import_problem(ValueError("three"), "library", "").what == "cannot be imported: ValueError: three"
