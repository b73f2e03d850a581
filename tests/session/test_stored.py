"""Results read from a file, by the names of their analyses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from conftest import tanh_net
from torch import Tensor

import landscape
from landscape.errors import OutputError

Data = tuple[Tensor, Tensor]


@pytest.fixture
def file(classification: Data, tmp_path: Path) -> Path:
    objective = landscape.Objective(tanh_net(), [classification], "cross_entropy")
    for analysis in (landscape.Eig(k=2), landscape.Measures()):
        landscape.run(analysis, objective, output=tmp_path / "a.landscape.h5")
    return tmp_path / "a.landscape.h5"


def test_results_are_found_by_name(file: Path) -> None:
    results = landscape.read(str(file))
    assert list(results) == ["eig", "measures"]
    assert len(results) == 2
    assert results.eig is results["eig"]
    assert {"eig", "measures"} <= set(dir(results))
    with pytest.raises(AttributeError, match="no result of trace: the file holds eig, measures"):
        _ = results.trace
    assert repr(results).startswith(f"<Results of {file}:\n  eig: <EigResult: eigenvalues")
    assert results._repr_html_().count("<div>") == 2


def test_results_are_read_without_torch(file: Path) -> None:
    code = f"import sys, landscape; landscape.read({str(file)!r}).eig; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_files_that_hold_nothing_known_are_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no file"):
        landscape.read(tmp_path / "none.h5")
    with h5py.File(file, "a") as content:
        del content["eig"].attrs["fingerprint"]
    with pytest.raises(OutputError, match="/eig lacks its attributes"):
        landscape.read(file)
    with h5py.File(file, "a") as content:
        content.move("eig", "later")
        del content["measures"]
    with pytest.raises(OutputError, match="no result that this version knows"):
        landscape.read(file)
