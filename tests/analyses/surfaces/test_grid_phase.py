"""The evaluation of grids: all points, or some with an interpolation of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import drained
from conftest import SAMPLES
from torch import Tensor, nn

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.result import SurfaceResult

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> SurfaceResult:
    result: SurfaceResult = landscape.run(Surface(**options), objective)
    return result


@pytest.mark.parametrize("grid", ["19", "51"])
def test_the_centre_and_its_curvature_are_never_interpolated(grid: str) -> None:
    objective = landscape.load(SAMPLES / "digits-noisy.pt", limit=100)
    whole = measured(objective, grid=f"{grid}x3", adaptive=False, trial=False)
    some = measured(objective, grid=f"{grid}x3", adaptive=True, trial=False)
    assert some.centre_loss == whole.centre_loss == float(objective.value())
    assert some.curvature_alpha == pytest.approx(whole.curvature_alpha, rel=1e-12)
    assert some.curvature_beta == pytest.approx(whole.curvature_beta, rel=1e-12)


def test_adaptive_sampling_is_close_to_the_whole_surface_and_says_so() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt", limit=300)
    whole, some = (measured(objective, grid="41", adaptive=adaptive) for adaptive in (False, True))
    span = np.ptp(whole.loss)
    assert np.abs(some.loss - whole.loss).max() <= 0.01 * span
    assert some.evaluations <= 0.4 * some.points
    assert (some.status == 1).sum() == some.evaluations
    assert some.error is not None
    evaluated = some.status == 1
    assert np.allclose(some.loss[evaluated], whole.loss[evaluated], rtol=1e-5)
    assert some.largest_error == pytest.approx(some.error.max() / np.ptp(some.loss))
    assert some.largest_error is not None
    assert some.largest_error <= 0.01
    assert some.accuracy is not None
    assert whole.accuracy is not None
    assert np.abs(some.accuracy - whole.accuracy).mean() < 0.02
    assert any("were evaluated" in remark for remark in some.remarks())


def test_nan_is_a_result_with_a_status_and_is_not_evaluated_again(classification: Data) -> None:
    class Overflowing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(5, 3))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = x @ self.w + torch.log(2.5 - self.w.sum() / 15 * 1.5)
            return out

    objective = Objective(Overflowing(), [classification], "cross_entropy")
    result = measured(objective, grid="9", range="3", ignore="none", seed=1)
    assert np.isnan(result.loss).any()
    assert np.array_equal(result.status == 2, np.isnan(result.loss))
    assert any("NaN or infinite" in remark for remark in result.remarks())
    analysis = Surface(grid="9", range="3", ignore="none", seed=1)
    steps, whole = drained(analysis.measure(objective))
    state = {name: values.copy() for name, values in steps[-1].state().items()}
    calls = []
    objective.batch_total = lambda *a: calls.append(1)  # type: ignore[method-assign, assignment, return-value]
    assert not whole.trouble()
    assert np.isnan(state["plane 0.values"]).any()
    assert state["plane 0.done"].all()
