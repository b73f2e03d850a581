"""Pictures are drawn for every kind of result, carry the run's fingerprint, and show what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from landscape.analyses.eig import EigResult
from landscape.figures import FIGURES, save


@pytest.fixture
def result() -> EigResult:
    values = np.array([3.0, 1.0, -0.5])
    history = np.array([[2.0, np.nan, np.nan], [2.9, 0.5, np.nan], [3.0, 1.0, -0.5]])
    return EigResult(
        eigenvalues=values,
        residuals=np.array([0.0, 1e-4, 0.2]),
        error_bounds=np.array([0.0, 1e-6, 0.2]),
        converged=np.array([True, True, False]),
        ritz_values=history,
        ritz_residuals=np.abs(history) * 0.1,
        tol=1e-3,
        rounding=1e-6,
        products=3,
        search_products=0,
        confirmed=False,
        loss=0.1,
        gradient_norm=0.2,
        parameters=10,
        samples=5,
    )


def test_a_file_carries_the_fingerprint(result: EigResult, tmp_path: Path) -> None:
    save(result, tmp_path / "a.png", title="odd $name_[x].pt", fingerprint="abc123")
    with Image.open(tmp_path / "a.png") as image:
        assert "abc123" in image.text["Description"]
        assert image.width > image.height
        assert len(np.unique(np.asarray(image))) > 50
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pyhessian_eigenvalues": np.array([3.0, 1.1, 0.4])},
        {"search_products": 2},
        {"eigenvalues": np.zeros(3)},
        {"eigenvalues": np.array([1.0, 0.5, np.nan])},
    ],
    ids=["plain", "pyhessian", "searched", "all-zero", "unknown"],
)
def test_every_variant_draws(result: EigResult, changes: dict[str, object]) -> None:
    panels, draw = FIGURES[EigResult]
    axes = Figure().subplots(1, panels(result))
    draw(replace(result, **changes), axes, {})  # type: ignore[arg-type]
    labels = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert {"converged", "not converged"} <= set(labels)
    assert ("PyHessian" in labels) == ("pyhessian_eigenvalues" in changes)
    assert len(axes[1].lines) == 4  # three ranks and the tolerance
