"""What the result of `density` says of itself."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from conftest import SAMPLES

import landscape
from landscape import Density
from landscape.analyses.density import DensityResult


@pytest.fixture
def result() -> DensityResult:
    """A density whose ends have converged."""
    names = [f.name for f in fields(DensityResult) if f.type == "float"]
    numbers = {**dict.fromkeys(names, 1.0), "lambda_max": 10.0, "lambda_max_se": 1e-3, "lambda_min_se": 1e-3}
    return DensityResult(
        **{**numbers, "negative_mass": 0.3, "negative_mass_se": 0.01},
        grid=np.linspace(-1, 11, 5),
        density=np.ones(5),
        density_se=np.zeros(5),
        ritz_nodes=np.zeros((2, 3)),
        ritz_weights=np.full((2, 3), 1 / 3),
        products=6,
        exact_weights=True,
        parameters=100,
        samples=5,
    )


def test_a_density_without_doubts_has_no_remarks(result: DensityResult) -> None:
    assert result.trouble() is None
    assert result.remarks() == []


def test_ends_with_a_large_residual_ask_for_more_steps(result: DensityResult) -> None:
    for name in ("lambda_max_se", "lambda_min_se"):
        (remark,) = replace(result, **{name: 0.2}).remarks()  # 2 % of the largest node
        assert remark.startswith("the ends of the spectrum have not converged: more --steps")


def test_random_weights_are_a_remark(result: DensityResult) -> None:
    (remark,) = replace(result, exact_weights=False).remarks()
    assert "memory did not hold all probes at once" in remark


@pytest.mark.parametrize(("mass", "error", "remarks"), [(0.3, 0.29, 0), (0.3, 0.31, 1), (0.01, 0.05, 0)])
def test_a_negative_mass_below_its_error_is_uncertain(
    result: DensityResult, mass: float, error: float, remarks: int
) -> None:
    assert len(replace(result, negative_mass=mass, negative_mass_se=error).remarks()) == remarks


def test_unconverged_ends_are_a_remark() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt")
    assert any("more --steps" in remark for remark in landscape.run(Density(probes=2, steps=3), objective).remarks())
    assert not any("more --steps" in r for r in landscape.run(Density(probes=2, steps=30), objective).remarks())
