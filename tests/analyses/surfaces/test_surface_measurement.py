"""Surfaces against closed forms, the Hessian and the plain loss; trials of passes, resuming, notes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import drained, same
from conftest import OnceNet, Splitter, tanh_net
from torch import Tensor, nn

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.axes import make_frame
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.errors import TaskError
from landscape.evaluation.directions import treatments
from landscape.evaluation.pass_settings import PassSettings
from landscape.evaluation.sweep import Plane, Sweep

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> SurfaceResult:
    result: SurfaceResult = landscape.run(Surface(**options), objective)
    return result


@pytest.mark.parametrize("grid", ["11", "10", "9x6", "4x7"], ids=["odd", "even", "wide", "tall"])
def test_a_quadratic_is_reproduced_with_its_coordinates(grid: str, split: Splitter) -> None:
    """Linear regression: the mean of (x'w - y)^2 is a quadratic in w."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(24, n, generator=generator, dtype=torch.float64) for n in (5, 1))
    model = nn.Linear(5, 1, bias=False).double()
    objective = Objective(model, split(x, y), "mse", dtype="float64")
    result = measured(objective, grid=grid, range="-1:2,-0.5:1", normalize="filter", seed=4)
    assert result.beta is not None
    numbers = [int(n) for n in grid.split("x")]
    assert result.loss.shape == (numbers[-1], numbers[0])
    first, second = directions(objective, Surface(grid=grid, seed=4))
    for j, beta in enumerate(result.beta):
        for i, alpha in enumerate(result.alpha):
            w = objective.theta + float(alpha) * first + float(beta) * second
            expected = float(((x @ w - y[:, 0]) ** 2).mean())
            assert result.loss[j, i] == pytest.approx(expected, rel=1e-12, abs=1e-13)
    assert result.alpha[0] >= -1
    assert result.alpha[-1] <= 2
    assert result.beta[-1] <= 1
    center = (int(np.flatnonzero(result.beta == 0)[0]), int(np.flatnonzero(result.alpha == 0)[0]))
    assert result.loss[center] == float(objective.value()) == result.centre_loss
    assert float(first.norm()) == pytest.approx(float(objective.theta.norm()), rel=1e-12)
    assert result.accuracy is None
    assert (result.status == 1).all()


def directions(objective: Objective, analysis: Surface) -> tuple[Tensor, Tensor]:
    settings = analysis.settings
    frame = make_frame(analysis, objective, treatments(objective, settings.normalize, settings.ignore))
    first, second = frame.plane.directions
    return first, second


def test_the_curvature_of_a_quadratic_is_exact(split: Splitter, classification: Data) -> None:
    x = classification[0].double()
    objective = Objective(nn.Linear(5, 1).double(), split(x, x[:, :1]), "mse", dtype="float64")
    result = measured(objective, grid="5", ignore="none")
    assert result.curvature_alpha == pytest.approx(result.hessian_alpha, rel=1e-9)
    assert result.curvature_beta == pytest.approx(result.hessian_beta, rel=1e-9)
    assert result.minima == 1
    assert result.smad == 0


def test_batches_do_not_matter(classification: Data, split: Splitter) -> None:
    one = measured(Objective(tanh_net(), [classification], "cross_entropy", dtype="float64"), grid="5")
    other = measured(Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64"), grid="5")
    assert np.allclose(one.loss, other.loss, rtol=1e-13)
    assert one.accuracy is not None
    assert np.array_equal(one.accuracy, other.accuracy)


def test_several_planes_have_a_spread_and_the_first_is_that_of_one(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    one, three = measured(objective, grid="5"), measured(objective, grid="5", seeds=3)
    assert three.loss.shape == (3, 5, 5)
    assert np.array_equal(three.loss[0], one.loss)
    assert three.curvatures_alpha is not None
    assert three.curvatures_alpha[0] == one.curvature_alpha
    assert three.curvature_alpha == pytest.approx(three.curvatures_alpha.mean())
    assert three.curvature_alpha_se == pytest.approx(three.curvatures_alpha.std(ddof=1) / 3**0.5)
    assert three.lines == 6
    assert one.lines == 2
    assert any("may not be typical" in remark for remark in one.remarks())
    assert not any("may not be typical" in remark for remark in three.remarks())


def test_every_moment_can_be_resumed_bit_for_bit(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each resumed run that has not chosen its passes yet would time its own trial, and might choose differently."""
    monkeypatch.setattr(Sweep, "choose_settings", lambda self, plane: self.use_settings(PassSettings(7)))
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    for options in ({"grid": "9", "seeds": 2}, {"axes": "eigen", "grid": "33", "adaptive": True}):
        analysis = Surface(**options)
        _, whole = drained(analysis.measure(objective))
        for step in analysis.measure(objective):
            state = {name: np.array(values) for name, values in step.state().items()}
            assert same(drained(analysis.measure(objective, resume=state))[1], whole)


def test_the_center_is_the_plain_loss_whatever_the_way(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    exact, chosen = float(objective.value()), []
    for size in range(1, 24):
        sweep = Sweep(objective)
        sweep.use_settings(PassSettings(size))
        if sweep.evaluate(Plane((objective.theta,)), [(0.0,)])[0, 0] != exact:
            chosen.append(size)
    monkeypatch.setattr(Sweep, "choose_settings", lambda self, plane: self.use_settings(PassSettings(chosen[0])))
    result = measured(objective, grid="15")
    assert result.loss[7, 7] == result.centre_loss == exact
    assert any(f"{chosen[0]} samples at once" in note for note in result.notes)
    assert any("the data's own batches" in note for note in measured(objective, grid="15", trial=False).notes)


def test_a_resumed_run_goes_on_in_the_way_that_was_found(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    monkeypatch.setattr(Sweep, "choose_settings", lambda self, plane: self.use_settings(PassSettings(5)))
    analysis = Surface(grid="15")
    steps, whole = drained(analysis.measure(objective))
    monkeypatch.setattr(Sweep, "choose_settings", lambda self, plane: self.use_settings(PassSettings(11)))
    state = {name: values.copy() for name, values in steps[3].state().items()}
    assert same(drained(analysis.measure(objective, resume=state))[1], whole)


def test_a_model_without_second_derivatives_has_a_surface(classification: Data) -> None:
    objective = Objective(OnceNet(), [classification], "cross_entropy")
    result = measured(objective, grid="5")
    assert result.hessian_alpha is None
    assert result.curvature_alpha is not None
    assert any("d'Hd is not known" in note for note in result.notes)


def test_a_metric_must_be_a_mean_and_may_be_a_plain_number(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    plain = measured(objective, grid="3", metric=lambda o, t: float((o.argmax(1) == t).float().mean()))
    assert plain.metric is not None
    assert np.allclose(plain.metric, plain.accuracy)
    with pytest.raises(TaskError, match="is not a mean over samples"):
        measured(objective, grid="3", metric=lambda o, t: (o.argmax(1) == t).sum())
    with pytest.raises(TaskError, match="metric .* fails on a batch: ZeroDivisionError"):
        measured(objective, grid="3", metric=lambda o, t: 1 / 0)
    with pytest.raises(TaskError, match="there is no metric called"):
        measured(objective, grid="3", metric="accuracy")
