"""Remarks on a surface."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import SAMPLES, tanh_net
from torch import Tensor

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.result import SurfaceResult

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> SurfaceResult:
    result: SurfaceResult = landscape.run(Surface(**options), objective)
    return result


def test_a_coarse_grid_and_a_lower_point_are_said(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    coarse = measured(landscape.load(SAMPLES / "digits-mlp.pt", limit=100), grid="3")
    assert "the grid is too coarse" in " ".join(coarse.remarks())
    assert "not the lowest point: " in " ".join(measured(objective, axes="gradient", grid="3").remarks())
    assert "basin leaves the grid" in " ".join(measured(objective, grid="3", range="0.01").remarks())


def bowl(**changes: Any) -> SurfaceResult:
    """1 + alpha^2 on a line, without anything to remark on."""
    alpha = np.linspace(-2, 2, 9)
    values: dict[str, Any] = {
        "alpha": alpha,
        "loss": 1 + alpha**2,
        "status": np.ones(9, np.int8),
        "level": np.array([2.0]),
        "basin_width_alpha": np.array([2.0]),
        "basin_open": np.array([False]),
        "basin_coarse": np.array([False]),
        "minimum_loss": np.array([1.0]),
        "minimum_persistence": np.array([np.nan]),
        "minimum_alpha": np.array([0.0]),
        "centre_loss": 1.0,
        "curvature_alpha": 2.0,
        "hessian_alpha": 2.0,
        "norm_alpha": 1.0,
        "variation": 2.0,
        "lines": 1,
        "smad": 0.0,
        "rounding": 1e-9,
        "minima": 1,
        "evaluations": 9,
        "points": 9,
        "gradient_norm": 0.0,
        "parameters": 5,
        "samples": 8,
    }
    return SurfaceResult(**{**values, **changes})


def test_a_surface_as_it_should_be_has_no_remarks() -> None:
    assert bowl().remarks() == []
    assert bowl().reference_loss() == 1
    assert bowl().trouble() is None


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({"status": np.array([2, 3, 1, 1, 1, 1, 1, 1, 1])}, "2 of 9 points are NaN or infinite"),
        (
            {"evaluations": 3, "largest_error": 0.005},
            "33.3 % of the points were evaluated; the others are interpolated, to an estimated 0.5 % of the range",
        ),
        ({"basin_open": np.array([True])}, "the basin leaves the grid at level 2"),
        ({"basin_coarse": np.array([True])}, "narrower than 3 steps of the grid at level 2"),
        ({"hessian_alpha": 1.0}, "the second difference is 2 along alpha, and d'Hd 1: the grid is too coarse"),
        ({"rounding": 0.2}, "along alpha the second difference may be rounding"),
        ({"centre_loss": 1.5}, "the checkpoint is not the lowest point: 1 at alpha 0"),
        ({"kind": np.array(["weight"])}, "one random direction, or pair of them, may not be typical"),
    ],
    ids=["not-finite", "interpolated", "open", "coarse-basin", "coarse-grid", "rounding", "lower", "one-direction"],
)
def test_each_remark_has_its_cause(changes: dict[str, Any], remark: str) -> None:
    remarks = bowl(**changes).remarks()
    assert len(remarks) == 1
    assert remark in remarks[0]


def test_differences_within_the_tolerances_are_not_remarked_on() -> None:
    assert bowl(hessian_alpha=1.7).remarks() == []  # 18 %
    assert bowl(hessian_alpha=None).remarks() == []
    assert bowl(centre_loss=1.0005).remarks() == []
    assert bowl(kind=np.array(["weight"]), lines=3).remarks() == []


def test_one_basin_is_named_if_every_point_is_known() -> None:
    assert bowl().meaning() == "the grid shows one basin: no second minimum is deeper than rounding"
    for doubt in ({"minima": 2}, {"evaluations": 8}, {"status": np.array([1, 1, 1, 1, 2, 1, 1, 1, 1])}):
        assert bowl(**doubt).meaning() == ""


@pytest.mark.parametrize(
    ("barrier", "words"),
    [
        (0.0, "no barrier: at no point between the checkpoints the loss lies above the straight line"),
        (0.25, "a barrier: between the checkpoints the loss rises by 0.25 above the straight line"),
    ],
)
def test_a_barrier_is_named_or_that_there_is_none(barrier: float, words: str) -> None:
    assert bowl(barrier=barrier).meaning() == f"{words} between the losses of both checkpoints"
    assert bowl(barrier=barrier, evaluations=8).meaning() == ""
