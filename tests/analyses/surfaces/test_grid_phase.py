"""The evaluation of grids: all points, or some with an interpolation of the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import drained
from conftest import SAMPLES
from torch import Tensor, nn

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.grid_phase import EVALUATED, NOT_A_NUMBER, Grid, GridTask, evaluate_grid
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.evaluation.pass_settings import PassSettings
from landscape.evaluation.sweep import Plane

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> SurfaceResult:
    result: SurfaceResult = landscape.run(Surface(**options), objective)
    return result


@pytest.mark.parametrize("grid", ["19", "51"])
def test_the_center_and_its_curvature_are_never_interpolated(grid: str) -> None:
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


class Bowl:
    """A stand-in for a sweep: 1 + alpha^2 + beta^2, NaN beyond 3; it counts its points."""

    columns = ("loss", "accuracy")
    settings = PassSettings()

    def __init__(self) -> None:
        self.seen: list[tuple[float, ...]] = []

    def evaluate(self, plane: Plane, points: list[tuple[float, ...]]) -> np.ndarray:
        self.seen += points
        losses = np.array([1 + sum(x**2 for x in point) for point in points])
        return np.stack([np.where(losses > 3, np.nan, losses), losses / 10], axis=1)


def task(tol: float | None = None, exact: float | None = None) -> GridTask:
    axis = np.linspace(-1.5, 1.5, 7)
    return GridTask(Plane((torch.ones(2), torch.ones(2))), (axis, axis), tol, exact, before=10, total=100, name="p, ")


def evaluated(sweep: Any, work: GridTask, saved: dict[str, np.ndarray]) -> tuple[list[Any], Grid]:
    steps, grid = drained(evaluate_grid(sweep, work, saved))
    return steps, grid


def test_every_point_is_evaluated_once_and_nan_has_its_status() -> None:
    sweep = Bowl()
    steps, grid = evaluated(sweep, task(), {})
    assert len(sweep.seen) == len(set(sweep.seen)) == 49
    assert (grid.status == np.where(np.isnan(grid.values[0]), NOT_A_NUMBER, EVALUATED)).all()
    assert np.isnan(grid.values[0, 0, 0])
    assert grid.evaluations == 49
    assert [step.done for step in steps] == [26, 42, 58, 59]  # 16 points each, after 10 of earlier planes
    assert steps[0].note == "p, 16 of 49 points"


def test_the_center_takes_the_exact_loss_over() -> None:
    _, grid = evaluated(Bowl(), task(exact=0.875), {})
    assert task().center == (3, 3)
    assert grid.values[0, 3, 3] == 0.875


def test_a_snapshot_spares_its_points() -> None:
    steps, whole = evaluated(Bowl(), task(), {})
    running = evaluate_grid(Bowl(), task(), {})  # type: ignore[arg-type]
    next(running)
    state = dict(next(running).state())
    sweep = Bowl()
    rest, again = evaluated(sweep, task(), state)
    assert len(sweep.seen) == 49 - 32
    assert np.array_equal(again.values, whole.values, equal_nan=True)
    assert len(rest) == len(steps) - 2


def test_interpolated_points_have_an_error_and_the_center_s_neighbors_are_evaluated() -> None:
    axis = np.linspace(-1, 1, 33)
    work = replace(task(tol=0.01), coordinates=(axis, axis))
    sweep = Bowl()
    _, grid = evaluated(sweep, work, {})
    assert grid.errors is not None
    assert grid.evaluations == len(sweep.seen) < 33 * 33
    assert (grid.status[16, 15:18] == EVALUATED).all()
    exact = 1 + axis**2 + axis[:, None] ** 2
    assert np.abs(grid.values[0] - exact).max() <= 0.01 * np.ptp(exact)
    assert (grid.errors[grid.status == EVALUATED] == 0).all()
