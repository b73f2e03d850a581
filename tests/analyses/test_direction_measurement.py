"""Slope, curvature and safe steps along a direction."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract
from conftest import SAMPLES, OnceNet, Splitter, tanh_net
from oracles.dense import dense_hessian
from torch import Tensor, nn
from torch.func import functional_call, jvp

import landscape
from landscape import Direction, Objective
from landscape.analyses.direction import DirectionResult
from landscape.errors import CheckpointError, NumericalError, TaskError, UsageError

Data = tuple[Tensor, Tensor]


class Seedless(AnalysisContract):
    """Nothing is random: another run differs by its step."""

    def test_a_snapshot_of_another_run_is_refused_until_discarded(
        self, analysis: Direction, objective: Objective, tmp_path: Path
    ) -> None:
        from landscape import session
        from landscape.errors import Interrupted

        output = tmp_path / "run.landscape.h5"
        with pytest.raises(Interrupted):
            session.execute(analysis, objective, output=output, stop=session.StopSignals(requested=2))
        with pytest.raises(UsageError, match=r"lr: 9\.0 here"):
            session.execute(Direction(lr=9.0), objective, output=output)
        session.execute(Direction(lr=9.0), objective, output=output, restart=True)


class TestDirection(Seedless):
    @pytest.fixture
    def analysis(self) -> Direction:
        return Direction(lr=0.5)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


def measured(objective: Objective, analysis: Direction) -> DirectionResult:
    result: DirectionResult = landscape.run(analysis, objective)
    return result


def test_slope_and_curvature_are_those_of_a_dense_solver(classification: Data, split: Splitter) -> None:
    objective = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")
    gradient = objective.gradient().numpy()
    unit = -gradient / np.linalg.norm(gradient)
    result = measured(objective, Direction(lr=0.1))
    hessian = dense_hessian(tanh_net(), [classification]).numpy()
    assert result.slope == pytest.approx(-np.linalg.norm(gradient), rel=1e-12)
    assert result.curvature == pytest.approx(unit @ hessian @ unit, rel=1e-10)
    assert result.length == pytest.approx(0.1 * np.linalg.norm(gradient), rel=1e-12)
    assert result.change == pytest.approx(result.predicted_change, rel=0.01)
    assert result.change is not None
    assert result.change < 0


def test_a_step_to_another_checkpoint(tmp_path: Path, classification: Data) -> None:
    here, there = tanh_net(), tanh_net()
    with torch.no_grad():
        for parameter in there.parameters():
            parameter += 0.01 * torch.ones_like(parameter)
    torch.save({f"module.{name}": tensor for name, tensor in there.state_dict().items()}, tmp_path / "there.pt")
    objective = Objective(here, [classification], "cross_entropy")
    result = measured(objective, Direction(towards=str(tmp_path / "there.pt")))
    other = Objective(there, [classification], "cross_entropy")
    assert result.length == pytest.approx(0.01 * objective.space.size**0.5, rel=1e-4)
    assert result.change == pytest.approx(float(other.value() - objective.value()), rel=1e-4)
    with pytest.raises(UsageError, match="has the same weights"):
        measured(other, Direction(towards=str(tmp_path / "there.pt")))
    torch.save({"w": torch.zeros(3)}, tmp_path / "alien.pt")
    with pytest.raises(CheckpointError, match="does not fit the model that is measured"):
        measured(objective, Direction(towards=str(tmp_path / "alien.pt")))


def test_the_safe_radius_is_pi_over_the_range_of_the_logits_motion(classification: Data, split: Splitter) -> None:
    model = tanh_net().double()
    objective = Objective(model, split(*classification), "cross_entropy", dtype="float64")
    gradient = objective.space.unflatten(objective.gradient())
    size = torch.stack([g.square().sum() for g in gradient.values()]).sum().sqrt()
    weights = {name: p.detach() for name, p in model.named_parameters()}
    tangents = {name: -g / size for name, g in gradient.items()}
    _, moves = jvp(lambda w: functional_call(model, w, (classification[0].double(),)), (weights,), (tangents,))
    radii = np.sort((math.pi / (moves.amax(1) - moves.amin(1))).numpy())
    result = measured(objective, Direction(lr=1.0))
    assert result.safe_radius == pytest.approx(radii[0], rel=1e-10)
    assert result.length is not None
    assert result.limiting_fraction == pytest.approx((radii < result.length).mean())
    assert result.step_ratio == pytest.approx(result.length / radii[0])
    assert result.quantile_radius is not None
    assert result.quantile_radius[-1] == pytest.approx(radii[int(0.5 * 23)])
    alone = measured(objective, Direction())
    assert alone.limiting_fraction == pytest.approx((radii < 2 * radii[0]).mean())
    assert alone.length is None


@pytest.mark.parametrize("loss", ["bce", "cross_entropy"])
def test_with_two_classes_the_radius_is_that_of_the_complex_zeros(loss: str) -> None:
    """log(1 + exp(z + t a)) is singular where z + t a = i pi (2 k + 1): no nearer than sqrt(z^2 + pi^2) / |a|."""
    x = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    model = nn.Linear(2, 1 if loss == "bce" else 2, bias=False).double()
    target = torch.ones(1, 1).double() if loss == "bce" else torch.tensor([1])
    objective = Objective(model, [(x, target)], loss, dtype="float64")
    z = model(x).detach()[0]
    unit = -objective.gradient() / objective.gradient().norm()
    a = unit.view(-1, 2) @ x[0]
    gap, pace = (float(z), float(a)) if loss == "bce" else (float(z[1] - z[0]), float(a[1] - a[0]))
    zeros = [abs((1j * math.pi * k - gap) / pace) for k in (-3, -1, 1, 3)]
    assert measured(objective, Direction()).safe_radius == pytest.approx(min(zeros), rel=1e-12)


def test_a_long_step_is_a_remark(classification: Data) -> None:
    result = measured(Objective(tanh_net(), [classification], "cross_entropy"), Direction(lr=1000.0))
    assert result.step_ratio is not None
    assert result.step_ratio > 1
    assert "times the safe radius" in result.remarks()[0]


def test_regression_has_no_safe_radius(generator: torch.Generator) -> None:
    x = torch.randn(10, 4, generator=generator)
    result = measured(Objective(nn.Linear(4, 2), [(x, x[:, :2])], "mse"), Direction())
    assert result.safe_radius is None
    assert result.quantile is None
    assert math.isfinite(result.curvature)


def test_tokens_that_do_not_count_have_no_radius() -> None:
    objective = landscape.load(SAMPLES / "charlm.pt", limit=2)
    (batch,) = objective.batches
    batch.targets[:, 10:] = -100
    result = measured(objective, Direction())
    assert result.safe_radius is not None
    assert math.isfinite(result.safe_radius)
    assert objective.loss.count(batch.targets) == 20


def test_a_state_dict_is_an_end_too_and_the_file_s_name_does_not_matter(tmp_path: Path, classification: Data) -> None:
    from landscape import session

    here, there = tanh_net(), tanh_net()
    with torch.no_grad():
        there[0].weight += 0.1  # type: ignore[operator]
    for name in ("a.pt", "b.pt"):
        torch.save(there.state_dict(), tmp_path / name)
    objective = Objective(here, [classification], "cross_entropy")
    ends = [str(tmp_path / "a.pt"), str(tmp_path / "b.pt"), there.state_dict()]
    runs = [session.execute(Direction(towards=end), objective) for end in ends]
    assert len({run.attributes["fingerprint"] for run in runs}) == 1
    assert len({run.result.change for run in runs}) == 1
    assert any("the step ends at" in note for note in runs[0].result.notes)
    assert "the step ends at" in runs[0].attributes["notes"]
    json_ready = runs[2].document()
    assert json_ready["analysis"] == "direction"
    with pytest.raises(UsageError, match="towards is a int"):
        Direction(towards=3)  # type: ignore[arg-type]


def test_statistics_that_differ_at_the_end_are_noted(generator: torch.Generator) -> None:
    x, y = torch.randn(8, 4, generator=generator), torch.randint(0, 3, (8,), generator=generator)
    here, there = (nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)) for _ in range(2))
    there.train()(x)
    objective = Objective(here, [(x, y)], "cross_entropy")
    result = measured(objective, Direction(towards=there.state_dict()))
    assert any("1.running_mean, 1.running_var stay as they are here" in note for note in result.notes)


def test_outputs_of_several_parts_have_no_safe_radius(classification: Data) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tanh_net()

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            out = self.net(x)
            return out, out.sum()

    def loss(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output[0], target)

    result = measured(Objective(Two(), [classification], loss), Direction())
    assert result.safe_radius is None
    assert math.isfinite(result.curvature)


def test_torch_s_own_binary_loss_has_a_radius() -> None:
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model, target = nn.Linear(3, 1), torch.tensor([[0.0], [1.0]]).repeat(3, 1)
    pair = [
        measured(Objective(model, [(x, target)], loss), Direction()).safe_radius
        for loss in ("bce", nn.BCEWithLogitsLoss())
    ]
    assert pair[0] == pytest.approx(pair[1])


def test_a_wrong_second_derivative_is_no_curvature(classification: Data) -> None:
    with pytest.raises((NumericalError, TaskError), match="symmetric|second derivative"):
        measured(Objective(OnceNet(), [classification], "cross_entropy"), Direction())
