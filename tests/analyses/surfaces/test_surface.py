"""Surfaces against closed forms, symmetries that leave the loss alone, and the Hessian."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract, drained, same
from conftest import SAMPLES, OnceNet, Splitter, tanh_net
from torch import Tensor, nn

import landscape
from landscape import Eig, Objective, Surface, session
from landscape.analyses.surfaces.grid_phase import Grid
from landscape.analyses.surfaces.plane_view import PlaneView
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.analyses.surfaces.surface_measurement import make_frame
from landscape.errors import CheckpointError, Interrupted, TaskError, UsageError
from landscape.evaluation.directions import treatments
from landscape.evaluation.pass_settings import PassSettings
from landscape.evaluation.sweep import Plane, Sweep
from landscape.storage.read import read_results
from landscape.zoo import digits, mlp, resnet

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> SurfaceResult:
    result: SurfaceResult = landscape.run(Surface(**options), objective)
    return result


class TestPlane(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Surface:
        return Surface(grid="7x5")

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


class TestSeveralAdaptiveLines(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Surface:
        return Surface(grid="33", dim=1, seeds=3, adaptive=True, normalize="layer", ignore=("none",))

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


class TestEigenvectors(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Surface:
        return Surface(axes="eigen", grid="5")

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")


class TestWithATrial(AnalysisContract):
    """Enough points for a trial, whose timings must not decide here."""

    @pytest.fixture
    def analysis(self) -> Surface:
        return Surface(grid="15")

    @pytest.fixture
    def objective(self, classification: Data, monkeypatch: pytest.MonkeyPatch) -> Objective:
        monkeypatch.setattr(Sweep, "choose_settings", lambda self, plane: self.use_settings(PassSettings(7)))
        return Objective(tanh_net(), [classification], "cross_entropy")


# -- closed forms ----------------------------------------------------------------------------------------------------


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
    centre = (int(np.flatnonzero(result.beta == 0)[0]), int(np.flatnonzero(result.alpha == 0)[0]))
    assert result.loss[centre] == float(objective.value()) == result.centre_loss
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


def test_along_the_top_eigenvector_the_second_difference_is_lambda_1(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    eig = landscape.run(Eig(k=2, tol=1e-8), objective)
    result = measured(objective, axes="eigen", grid="5", range="1e-3")
    assert result.curvature_alpha == pytest.approx(eig.eigenvalues[0], rel=1e-5)
    assert result.curvature_beta == pytest.approx(eig.eigenvalues[1], rel=1e-4)
    assert result.norm_alpha == pytest.approx(1)
    assert result.cosine == pytest.approx(0, abs=1e-8)


def test_along_the_gradient_the_slope_is_its_norm(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    line = measured(objective, axes="gradient", grid="5", range="1e-4")
    assert line.beta is None
    slope = (line.loss[3] - line.loss[1]) / (line.alpha[3] - line.alpha[1])
    assert slope == pytest.approx(objective.reference.gradient_norm, rel=1e-6)
    plane = measured(objective, axes="gradient", grid="5", dim=2, range="1e-4")
    assert plane.cosine == pytest.approx(0, abs=1e-12)
    across = (plane.loss[3, 2] - plane.loss[1, 2]) / (2e-4 / 2)
    assert across == pytest.approx(0, abs=1e-6 * objective.reference.gradient_norm + 1e-8)


# -- symmetries ------------------------------------------------------------------------------------------------------


def test_batchnorm_rescaling_leaves_the_filter_normalized_line_alone_and_changes_the_other() -> None:
    x, y = digits(images=True)[0]
    x = x.double()
    torch.manual_seed(0)
    net = resnet(1, 4, skip=False).double().eval()
    with torch.no_grad():
        for buffer in net.buffers():
            if buffer.is_floating_point():
                buffer += torch.rand_like(buffer)
    scaled = copy.deepcopy(net)
    generator = torch.Generator().manual_seed(1)
    pairs = [(scaled.stem, scaled.bn)] + [
        (getattr(b, f"conv{i}"), getattr(b, f"bn{i}")) for b in scaled.blocks for i in (1, 2)
    ]
    with torch.no_grad():
        for convolution, norm in pairs:
            s = torch.exp(2 * torch.randn(len(convolution.weight), generator=generator, dtype=torch.float64))
            convolution.weight *= s[:, None, None, None]
            norm.running_mean *= s
            norm.running_var.copy_(s**2 * (norm.running_var + norm.eps) - norm.eps)
    found = {}
    for normalize in ("filter", "none"):
        lines = [
            measured(
                Objective(n, [(x, y)], "cross_entropy", dtype="float64"), dim=1, grid="9", normalize=normalize
            ).loss
            for n in (net, scaled)
        ]
        found[normalize] = np.abs(lines[0] / lines[1] - 1).max()
    assert found["filter"] < 1e-11
    assert found["none"] > 0.1


def test_relu_layer_rescaling_leaves_the_line_alone_and_neuron_rescaling_does_not(classification: Data) -> None:
    x, y = classification[0].double(), classification[1]
    torch.manual_seed(0)
    net = mlp([5, 6, 3], "relu").double()

    def line(factor: Tensor | float) -> np.ndarray:
        other = copy.deepcopy(net)
        with torch.no_grad():
            other[0].weight *= factor if isinstance(factor, float) else factor[:, None]
            other[0].bias *= factor
            other[2].weight /= factor
        loss: np.ndarray = measured(Objective(other, [(x, y)], "cross_entropy", dtype="float64"), dim=1, grid="9").loss
        return loss

    assert np.allclose(line(1.0), line(7.5), rtol=1e-13)
    assert not np.allclose(line(1.0), line(torch.linspace(0.1, 5, 6).double()), rtol=1e-2)


def test_batches_do_not_matter(classification: Data, split: Splitter) -> None:
    one = measured(Objective(tanh_net(), [classification], "cross_entropy", dtype="float64"), grid="5")
    other = measured(Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64"), grid="5")
    assert np.allclose(one.loss, other.loss, rtol=1e-13)
    assert one.accuracy is not None
    assert np.array_equal(one.accuracy, other.accuracy)


# -- between checkpoints ---------------------------------------------------------------------------------------------


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


def test_lines_within_rounding_have_no_variation(classification: Data) -> None:
    values = 1 + 1e-9 * np.array([[0.0, 1, 0, 1, 0]])
    grid = Grid(values, np.ones(5, np.int8), None)
    flat = PlaneView((np.linspace(-1, 1, 5),), grid, np.array([0.0]), (1.0,), None, rounding=1e-7)
    assert np.isnan(flat.variations()[0])
    assert len(flat.tree().places) == 1
    rough = replace(flat, rounding=1e-10)
    assert rough.variations()[0] == pytest.approx(4)
    assert len(rough.tree().places) == 3


def test_an_alignment_that_changes_the_other_is_refused(tmp_path: Path) -> None:
    class Ranked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.relu(self.a(x))
            out: Tensor = self.b(hidden * torch.arange(hidden.shape[1]))
            return out

    torch.manual_seed(0)
    one, other = Ranked(), Ranked()
    torch.save(other.state_dict(), tmp_path / "b.pt")
    objective = Objective(one, [(torch.randn(9, 5), torch.zeros(9).long())], "cross_entropy")
    with pytest.raises(UsageError, match="changes what the model computes"):
        measured(objective, towards=str(tmp_path / "b.pt"), align=True, grid="5")


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


class TestAlignment:
    @pytest.fixture
    def net(self) -> nn.Sequential:
        torch.manual_seed(0)
        return mlp([64, 20, 12, 10], "relu")

    def test_a_permuted_copy_has_no_barrier_at_all(self, net: nn.Sequential, tmp_path: Path) -> None:
        other = copy.deepcopy(net)
        with torch.no_grad():
            order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
            other[0].weight.copy_(net[0].weight[order])
            other[0].bias.copy_(net[0].bias[order])
            other[2].weight.copy_(net[2].weight[:, order])
        torch.save(other.state_dict(), tmp_path / "b.pt")
        objective = Objective(net, digits("test"), "cross_entropy")
        result = measured(objective, towards=str(tmp_path / "b.pt"), align=True)
        assert result.barrier == 0
        assert result.norm_alpha == 0
        assert result.unaligned_loss is not None
        assert np.ptp(result.unaligned_loss) > 0
        assert (result.loss == result.centre_loss).all()

    def test_it_lowers_the_barrier_between_two_trained_nets(self, net: nn.Sequential, tmp_path: Path) -> None:
        inputs, labels = (torch.cat(parts) for parts in zip(*digits(), strict=True))
        nets = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            one = mlp([64, 128, 10], "relu")
            adam = torch.optim.Adam(one.parameters(), 0.01)
            for _ in range(60):
                adam.zero_grad()
                nn.functional.cross_entropy(one(inputs), labels).backward()
                adam.step()
            nets.append(one)
        torch.save(nets[1].state_dict(), tmp_path / "b.pt")
        objective = Objective(nets[0], [(inputs, labels)], "cross_entropy")
        result = measured(objective, towards=str(tmp_path / "b.pt"), align=True, grid="21")
        plain = measured(objective, towards=str(tmp_path / "b.pt"), grid="21")
        assert result.unaligned_barrier == plain.barrier
        assert result.unaligned_loss is not None
        assert np.array_equal(result.unaligned_loss, plain.loss)
        assert result.barrier is not None
        assert plain.barrier is not None
        assert result.barrier < 0.5 * plain.barrier
        assert result.loss[-1] != plain.loss[-1]

    def test_a_part_of_the_parameters_cannot_be_aligned(self, net: nn.Sequential, tmp_path: Path) -> None:
        torch.save(net.state_dict(), tmp_path / "b.pt")
        objective = Objective(net, digits("test"), "cross_entropy", params=("0.*",))
        with pytest.raises(UsageError, match="frozen or left out by --params"):
            measured(objective, towards=str(tmp_path / "b.pt"), align=True)


# -- what is said and kept -------------------------------------------------------------------------------------------


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
    assert any("anecdote" in remark for remark in one.remarks())
    assert not any("anecdote" in remark for remark in three.remarks())


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


def test_the_centre_is_the_plain_loss_whatever_the_way(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_stored_eigenvectors_are_used_if_they_fit(tmp_path: Path, classification: Data) -> None:
    output = tmp_path / "run.landscape.h5"
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    plain = landscape.run(Surface(axes="eigen", grid="5"), objective)
    assert not any("eigenvectors" in note for note in plain.notes)
    landscape.run(Eig(k=3, save_vectors=True, tol=1e-5), objective, output=output)
    seen: list[str] = []
    reused = session.execute(
        Surface(axes="eigen", grid="5"), objective, output=output, report=lambda step: seen.append(step.note)
    )
    assert "the eigenvectors are those in run.eig.safetensors" in reused.result.notes
    assert not any("products" in note for note in seen)
    assert np.allclose(reused.result.loss, plain.loss, rtol=1e-3)
    assert set(read_results(output)) == {"eig", "surface"}
    few = tmp_path / "few.landscape.h5"
    landscape.run(Eig(k=1, save_vectors=True), objective, output=few)
    fresh = session.execute(Surface(axes="eigen", grid="5"), objective, output=few)
    assert not any("eigenvectors are those" in note for note in fresh.result.notes)
    other = Objective(tanh_net(), [(classification[0] * 2, classification[1])], "cross_entropy")
    fresh = session.execute(Surface(axes="eigen", grid="5"), other, output=output)
    assert not any("eigenvectors are those" in note for note in fresh.result.notes)


def test_another_end_is_another_run(tmp_path: Path, classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    for name, scale in (("b", 1.5), ("c", 2.0)):
        torch.save(objective.space.unflatten(objective.theta * scale), tmp_path / f"{name}.pt")
    output = tmp_path / "run.landscape.h5"
    with pytest.raises(Interrupted):
        session.execute(
            Surface(towards=str(tmp_path / "b.pt")), objective, output=output, stop=session.StopSignals(requested=2)
        )
    with pytest.raises(UsageError, match="others: "):
        session.execute(Surface(towards=str(tmp_path / "c.pt")), objective, output=output)


def test_a_model_without_second_derivatives_has_a_surface(classification: Data) -> None:
    objective = Objective(OnceNet(), [classification], "cross_entropy")
    result = measured(objective, grid="5")
    assert result.hessian_alpha is None
    assert result.curvature_alpha is not None
    assert any("d'Hd is not known" in note for note in result.notes)


def test_a_coarse_grid_and_a_lower_point_are_said(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    coarse = measured(landscape.load(SAMPLES / "digits-mlp.pt", limit=100), grid="3")
    assert "the grid is too coarse" in " ".join(coarse.remarks())
    assert "not the lowest point: " in " ".join(measured(objective, axes="gradient", grid="3").remarks())
    assert "basin leaves the grid" in " ".join(measured(objective, grid="3", range="0.01").remarks())


def test_options_that_contradict_each_other_are_refused(tmp_path: Path, classification: Data) -> None:
    for options, message in [
        ({"grid": "0"}, "--grid is '0'"),
        ({"grid": "5x"}, "--grid"),
        ({"grid": "5x5x5"}, "--grid"),
        ({"range": "1:2"}, "lies at 0"),
        ({"range": "nan"}, "--range"),
        ({"range": "a"}, "--range"),
        ({"range": "1e300"}, "--range"),
        ({"level": "nan"}, "--level"),
        ({"level": ("0.5", "x")}, "--level"),
        ({"axes": "random", "towards": "b.pt"}, "--towards leads between checkpoints"),
        ({"axes": "eigen", "trajectory": "run"}, "--trajectory has axes of its own"),
        ({"dim": 1, "grid": "5x5"}, "--dim 1 has one axis"),
        ({"towards": "b.pt", "normalize": "filter"}, "checkpoints are where they are"),
        ({"axes": "eigen", "seeds": 2}, "--seeds draws random directions"),
        ({"align": True}, "--axes checkpoints, or --towards B"),
        ({"batch_norm": "interpolate"}, "needs checkpoints to lie between"),
        ({"towards": ("a", "b", "c")}, "one checkpoint, or two"),
        ({"axes": "sideways"}, "--axes is 'sideways'"),
    ]:
        with pytest.raises(UsageError, match=message):
            Surface(**options)
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    with pytest.raises(UsageError, match="none is named"):
        measured(objective, axes="checkpoints")
    with pytest.raises(UsageError, match="--trajectory FOLDER"):
        measured(objective, axes="trajectory")
    with pytest.raises(UsageError, match="not a folder"):
        measured(objective, trajectory=str(tmp_path / "none"))
    with pytest.raises(UsageError, match="holds 0 checkpoints"):
        measured(objective, trajectory=str(tmp_path))
    torch.save({"w": torch.zeros(3)}, tmp_path / "alien.pt")
    with pytest.raises(CheckpointError, match="does not fit the model that is measured"):
        measured(objective, towards=str(tmp_path / "alien.pt"))
    torch.save(tanh_net().state_dict(), tmp_path / "same.pt")
    with pytest.raises(UsageError, match="--grid or --range name two"):
        measured(objective, towards=str(tmp_path / "same.pt"), grid="5x5")
    torch.save(tanh_net().state_dict(), tmp_path / "also.pt")
    (tmp_path / "alien.pt").unlink()
    with pytest.raises(UsageError, match="span no plane"):
        measured(objective, trajectory=str(tmp_path))


def test_where_the_measured_checkpoint_is_no_step_of_the_run_it_counts_once_more(tmp_path: Path) -> None:
    folder = SAMPLES / "digits-mlp-trajectory"
    inside = measured(landscape.load(folder / "step-0840.pt", limit=20), trajectory=str(folder), grid="3")
    outside = measured(landscape.load(SAMPLES / "digits-mlp.pt", limit=20), trajectory=str(folder), grid="3")
    rows = np.stack([landscape.load(path).theta.double().numpy() for path in sorted(folder.iterdir())])
    both = np.vstack([rows, landscape.load(SAMPLES / "digits-mlp.pt").theta.double().numpy()])
    for result, every in ((inside, rows), (outside, both)):
        sizes = np.linalg.svd(every - every.mean(0), compute_uv=False) ** 2
        assert result.explained_alpha == pytest.approx(sizes[0] / sizes.sum(), rel=1e-6)


def test_a_flat_line_is_flat_and_not_rough(classification: Data) -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(5, 3))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = x @ (self.w * 1e-12)
            return out

    for options in ({}, {"adaptive": True}):
        result = measured(Objective(Constant(), [classification], "cross_entropy"), grid="15", **options)
        assert result.minima == 1
        assert result.smad == 0
        assert np.isnan(result.variation)
        assert result.roughness_index is None
        assert any("may be rounding" in remark for remark in result.remarks())


def test_levels_where_the_loss_is_not_positive(classification: Data) -> None:
    def negative(output: Tensor, target: Tensor) -> Tensor:
        return output.square().sum(1) - 5

    result = measured(Objective(tanh_net(), [classification], negative), grid="11", range="2")
    assert result.centre_loss < 0
    assert (result.level > result.centre_loss).all()
    assert (result.basin_width_alpha > 0).all()


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


def test_tied_layers_are_aligned_together(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(12, 3)
            self.b.weight = self.a.weight
            self.again = self.head

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.b(torch.relu(self.a(x)) + x))
            out: Tensor = self.again(torch.cat([x, x], 1))
            return out

    x, y = torch.randn(20, 6), torch.randint(0, 3, (20,))
    objective = Objective(Tied(), [(x, y)], "cross_entropy")
    torch.save(Tied().state_dict(), tmp_path / "b.pt")
    result = measured(objective, towards=str(tmp_path / "b.pt"), align=True, grid="5")
    assert result.barrier == 0


def test_stored_eigenvectors_that_are_rough_are_not_used(tmp_path: Path, classification: Data) -> None:
    objective, output = Objective(tanh_net(), [classification], "cross_entropy"), tmp_path / "run.landscape.h5"
    landscape.run(Eig(k=2, tol=0.5, save_vectors=True), objective, output=output)
    measurement = session.execute(Surface(axes="eigen", grid="3"), objective, output=output)
    assert not any("eigenvectors are those" in note for note in measurement.result.notes)


def test_basins_of_several_planes_have_a_mean_and_a_spread(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    ones = [measured(objective, grid="15", range="6", seed=0, level=1.4) for _ in range(1)]
    several = measured(objective, grid="15", range="6", seeds=3, level=1.4)
    assert ones[0].basin_width_alpha_sd is None
    assert several.basin_width_alpha_sd is not None
    assert several.basin_area_sd is not None
    assert several.basin_width_alpha[0] != ones[0].basin_width_alpha[0]
    assert several.hessian_alpha_se is not None
    assert several.basin_coarse.shape == (1,)
    tiny = measured(objective, grid="3", range="50", level=float(objective.value()) * 1.01)
    assert any("narrower than 3 steps" in remark for remark in tiny.remarks())


def test_how_many_units_change_places_is_said(tmp_path: Path) -> None:
    net = mlp([64, 6, 10], "relu")
    order = torch.tensor([1, 0, 2, 3, 4, 5])
    other = {n: t.clone() for n, t in net.state_dict().items()}
    other["0.weight"], other["0.bias"] = other["0.weight"][order], other["0.bias"][order]
    other["2.weight"] = other["2.weight"][:, order]
    torch.save(other, tmp_path / "b.pt")
    objective = Objective(net, digits("test")[:1], "cross_entropy")
    aligned = measured(objective, towards=str(tmp_path / "b.pt"), align=True, grid="5")
    assert any("2 of 6 units change places" in note for note in aligned.notes)
    ends = measured(objective, towards=str(tmp_path / "b.pt"), grid="2")
    assert any("no point lies between" in note for note in ends.notes)


def test_numbers_of_numpy_are_numbers(classification: Data) -> None:
    options: dict[str, Any] = {
        "grid": np.array([5, 3]),
        "seeds": np.int64(2),
        "tol": np.float32(0.5),
        "level": np.array(1.5),
    }
    analysis = Surface(**options, adaptive=np.bool_(True), range=np.array([-0.5, 1]))  # type: ignore[arg-type]
    assert analysis.identity()["seeds"] == 2
    assert analysis.settings.grid == "5x3"
    assert analysis.settings.range == "-0.5:1.0"
    assert analysis.settings.level == (1.5,)
    result = landscape.run(analysis, Objective(tanh_net(), [classification], "cross_entropy"))
    assert result.loss.shape == (2, 3, 5)
    assert Surface(level="2,3").settings.level == (2.0, 3.0)  # type: ignore[arg-type]


def test_python_s_own_forms_of_the_options() -> None:
    assert Surface(grid=(51, 31)).settings.grid == "51x31"  # type: ignore[arg-type]
    assert Surface(grid=21).settings.grid == "21"  # type: ignore[arg-type]
    assert Surface(towards=Path("b.pt")).settings.towards == ("b.pt",)  # type: ignore[arg-type]
    assert Surface(ignore="bias,norm").settings.ignore == ("bias", "norm")  # type: ignore[arg-type]
    assert Surface(range=(-1, 2)).settings.range == "-1:2"  # type: ignore[arg-type]
    assert Surface(range=((-1, 2), (-3, 3))).settings.range == "-1:2,-3:3"  # type: ignore[arg-type]
    assert Surface(range=0.5).settings.range == "0.5"  # type: ignore[arg-type]
    assert Surface(level=0.5, towards=None, ignore=None).settings.level == (0.5,)  # type: ignore[arg-type]
    assert Surface().settings.normalize == "filter"
    assert Surface(axes="eigen").settings.normalize == "none"
    assert Surface().identity()["ignore"] == ("bias", "norm", "position")
