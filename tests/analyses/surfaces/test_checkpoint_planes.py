"""Lines and planes through other checkpoints, and the principal components of a run."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SAMPLES, tanh_net
from torch import Tensor

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.axes import make_frame
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.errors import UsageError
from landscape.evaluation.sweep import Sweep
from landscape.zoo import digits, resnet

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> SurfaceResult:
    result: SurfaceResult = landscape.run(Surface(**options), objective)
    return result


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Objective, str, Objective]:
    """A net with BatchNorm, the path of another one, and that one's objective."""
    x, y = digits(images=True)[0]
    nets = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = resnet(1, 4)
        net.train()
        net(x * (1 + 3 * seed))  # statistics of its own
        with torch.no_grad():
            net.head.weight *= 20
        nets.append(net.eval())
    torch.save(nets[1].state_dict(), tmp_path / "b.pt")
    objectives = [Objective(net, [(x[:64], y[:64])], "cross_entropy") for net in nets]
    return objectives[0], str(tmp_path / "b.pt"), objectives[1]


def test_a_line_ends_at_the_other_checkpoint_with_its_own_statistics(pair: tuple[Objective, str, Objective]) -> None:
    here, path, there = pair
    result = measured(here, towards=path, grid="13")
    at = {round(float(t), 6): loss for t, loss in zip(result.alpha, result.loss, strict=True)}
    assert at[0.0] == float(here.value())
    assert at[1.0] == pytest.approx(float(there.value()), rel=1e-5)
    assert result.own_loss is not None
    assert result.own_loss.tolist() == pytest.approx([at[0.0], at[1.0]], rel=1e-5)
    assert result.hessian_alpha is None  # the statistics move too
    inside = result.loss[(result.alpha >= 0) & (result.alpha <= 1)]
    chord = at[0.0] + np.linspace(0, 1, len(inside)) * (at[1.0] - at[0.0])
    assert result.barrier == pytest.approx((inside - chord).max())
    assert np.isfinite(result.loss).all()
    fixed = measured(here, towards=path, grid="13", batch_norm="fixed")
    assert not np.isclose(fixed.loss[np.isclose(fixed.alpha, 1)][0], float(there.value()), rtol=1e-2)
    recomputed = measured(here, towards=path, grid="13", batch_norm="recompute")
    assert np.isfinite(recomputed.loss).all()
    assert recomputed.loss[np.isclose(recomputed.alpha, 1)][0] != pytest.approx(at[1.0], rel=1e-6)


def test_a_plane_through_three_checkpoints_has_true_distances(tmp_path: Path, classification: Data) -> None:
    base = tanh_net().double()
    objective = Objective(base, [classification], "cross_entropy", dtype="float64")
    generator = torch.Generator().manual_seed(0)
    steps = [torch.randn(len(objective.theta), generator=generator, dtype=torch.float64) for _ in "bc"]
    for name, step in zip("bc", steps, strict=True):
        torch.save(objective.space.unflatten(objective.theta + step), tmp_path / f"{name}.pt")
    paths = tuple(str(tmp_path / f"{name}.pt") for name in "bc")
    result = measured(objective, towards=paths, grid="5")
    assert result.place_alpha is not None
    assert result.place_beta is not None
    spots = np.stack([result.place_alpha, result.place_beta], axis=1) * result.norm_alpha
    assert result.norm_alpha == pytest.approx(result.norm_beta)
    assert np.linalg.norm(spots[2] - spots[1]) == pytest.approx(float((steps[1] - steps[0]).norm()), rel=1e-10)
    assert np.linalg.norm(spots[2]) == pytest.approx(float(steps[1].norm()), rel=1e-10)
    first, second = objective_plane(objective, paths)
    reached = objective.theta + result.place_alpha[2] * first + result.place_beta[2] * second
    assert torch.allclose(reached, objective.theta + steps[1], atol=1e-12)
    torch.save(objective.space.unflatten(objective.theta + 2 * steps[0]), tmp_path / "c.pt")
    with pytest.raises(UsageError, match="on one line"):
        measured(objective, towards=paths, grid="5")


def objective_plane(objective: Objective, paths: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    analysis = Surface(towards=paths)
    first, second = make_frame(analysis, objective, ()).plane.directions
    return first, second


def test_in_a_plane_the_statistics_are_each_checkpoint_s_own(
    pair: tuple[Objective, str, Objective], tmp_path: Path
) -> None:
    here, path, there = pair
    third = copy.deepcopy(there.model)
    with torch.no_grad():
        for tensor in third.state_dict().values():
            if tensor.is_floating_point():
                tensor += 0.3 * torch.rand_like(tensor)
    torch.save(third.state_dict(), tmp_path / "c.pt")
    analysis = Surface(towards=(path, str(tmp_path / "c.pt")))
    frame = make_frame(analysis, here, ())
    assert frame.marks is not None
    found = Sweep(here).evaluate(frame.plane, [tuple(place) for place in frame.marks.places.tolist()])
    assert np.allclose(found[:, 0], frame.marks.losses, rtol=1e-4)
    assert np.ptp(frame.marks.losses) > 0.1


def test_projecting_half_a_step_gives_one_half(tmp_path: Path, classification: Data) -> None:
    """Whatever the length of the step: a peer divides by it once instead of twice."""
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    step = torch.ones_like(objective.theta) * 40
    across = torch.zeros_like(step)
    across[::2], across[1::2] = 1, -1
    folder = tmp_path / "run"
    folder.mkdir()
    for name, theta in {"1": step, "2": 0.5 * step, "3": step + across, "10": across}.items():
        torch.save(objective.space.unflatten(objective.theta + theta), folder / f"step-{name}.pt")
    result = measured(objective, trajectory=str(folder), grid="5")
    assert result.mark is not None
    assert result.mark.tolist() == ["step-1.pt", "step-2.pt", "step-3.pt", "step-10.pt"]
    assert result.place_alpha is not None
    assert result.off_plane is not None
    assert result.place_alpha[1] == pytest.approx(0.5 * result.place_alpha[0], rel=1e-9)
    assert abs(result.place_alpha[0]) == pytest.approx(float(step.norm()), rel=1e-3)
    assert result.off_plane.max() < 1e-7  # they span a plane
    assert result.explained_alpha is not None
    assert result.explained_beta is not None
    assert result.explained_alpha + result.explained_beta == pytest.approx(1)


def test_the_trajectory_s_axes_are_those_of_a_dense_pca() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp-trajectory" / "step-0840.pt")
    result = measured(objective, trajectory=str(SAMPLES / "digits-mlp-trajectory"), grid="5")
    every = sorted((SAMPLES / "digits-mlp-trajectory").iterdir())
    rows = np.stack([landscape.load(path).theta.double().numpy() for path in every]) - objective.theta.double().numpy()
    _, sizes, axes = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    assert [result.explained_alpha, result.explained_beta] == pytest.approx((sizes**2 / (sizes**2).sum())[:2], rel=1e-6)
    places = rows @ axes[:2].T
    assert result.place_alpha is not None
    assert np.allclose(np.abs(result.place_alpha), np.abs(places[:, 0]), rtol=1e-4, atol=1e-4)
    assert result.place_alpha[np.abs(result.place_alpha).argmax()] > 0
    off = np.linalg.norm(rows - places @ axes[:2], axis=1) / np.maximum(np.linalg.norm(rows, axis=1), 1e-12)
    assert result.off_plane is not None
    assert np.allclose(result.off_plane[:-1], off[:-1], atol=1e-4)
    assert result.off_plane[-1] == 0


def test_where_the_measured_checkpoint_is_no_step_of_the_run_it_counts_once_more(tmp_path: Path) -> None:
    folder = SAMPLES / "digits-mlp-trajectory"
    inside = measured(landscape.load(folder / "step-0840.pt", limit=20), trajectory=str(folder), grid="3")
    outside = measured(landscape.load(SAMPLES / "digits-mlp.pt", limit=20), trajectory=str(folder), grid="3")
    rows = np.stack([landscape.load(path).theta.double().numpy() for path in sorted(folder.iterdir())])
    both = np.vstack([rows, landscape.load(SAMPLES / "digits-mlp.pt").theta.double().numpy()])
    for result, every in ((inside, rows), (outside, both)):
        sizes = np.linalg.svd(every - every.mean(0), compute_uv=False) ** 2
        assert result.explained_alpha == pytest.approx(sizes[0] / sizes.sum(), rel=1e-6)


def test_what_stays_behind_on_a_line_is_said(tmp_path: Path, classification: Data) -> None:
    other = tanh_net()
    with torch.no_grad():
        other[0].weight += 1
        other[2].weight += 1
    torch.save(other.state_dict(), tmp_path / "b.pt")
    objective = Objective(tanh_net(), [classification], "cross_entropy", params=("2.*",))
    result = measured(objective, towards=str(tmp_path / "b.pt"), grid="5")
    assert any("0.weight stay as they are here" in note for note in result.notes)
    assert result.own_loss is not None
    assert result.own_loss[1] != pytest.approx(result.loss[-1])
    short = measured(objective, towards=str(tmp_path / "b.pt"), grid="5", range="0:0.5")
    assert short.barrier is None
    assert any("there is no barrier" in note for note in short.notes)
