"""The notebooks in docs/notebooks run from the first cell to the last, and show what their texts say."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def outputs(cell: nbformat.NotebookNode) -> str:
    """All that a cell shows, as text and as HTML."""
    shown = [output.get("text", "") + "".join(output.get("data", {}).values()) for output in cell.get("outputs", [])]
    return "\n".join(shown)


@pytest.mark.filterwarnings("default")  # those of the kernel's own packages
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)  # none is stored
    assert len(notebook.cells) <= 12
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = "\n".join(map(outputs, notebook.cells))
    assert "EigResult" in shown
    assert "eig.eigenvalues[0], last" in shown
    assert sum("image/png" in str(cell.get("outputs")) for cell in notebook.cells) >= 3
    ratios = [float(line.split()[1]) for line in outputs(notebook.cells[10]).splitlines() if line[:1].isdigit()]
    assert ratios[0] == 1.0  # the same initial weights
    assert ratios[-1] < 0.9  # the text says so
