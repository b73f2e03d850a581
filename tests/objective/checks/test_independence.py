"""Losses that depend on where batches end are measured on the batches as they are given, never split or joined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import contract_breakers as breakers
import numpy as np
import pytest
import torch
from contract_breakers import BATCHES, Net, X, Y
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective
from landscape.errors import LandscapeError, TaskError, UsageError

SORTED = torch.argsort(Y)


def split(sizes: list[int], order: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
    x, y = (X, Y) if order is None else (X[order], Y[order])
    return list(zip(x.split(sizes), y.split(sizes), strict=True))


class Centered(nn.Module):
    """Features centered within the batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.tanh(self.a(x))
        out: Tensor = self.b(z - z.mean(0))
        return out


class Normalized(Centered):
    """BatchNorm without running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.b(torch.tanh(self.norm(self.a(x))))
        return out


class Capacity(Centered):
    """An expert that takes the first eighteen samples of a batch; more than the samples of a trial."""

    def forward(self, x: Tensor) -> Tensor:
        taken = (torch.arange(len(x), device=x.device) < 18).to(x)[:, None]
        out: Tensor = self.b(torch.tanh(self.a(x)) * taken)
        return out


class Shrink(nn.Module):
    """A multiple of the inputs."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return self.size * x


class Contrast:
    """A loss object with a total and a count whose terms are each sample against the others."""

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        return len(output) * breakers.contrastive(output, target)

    def count(self, target: Tensor) -> int:
        return len(target)


DEPENDENT: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "batch statistics": (lambda: Normalized(), None),
    "centered in the batch": (Centered, "cross_entropy"),
    "expert with a capacity": (Capacity, "cross_entropy"),
    "class weights in a function": (Net, breakers.class_weighted),
    "contrastive function": (Net, breakers.contrastive),
    "contrastive object": (Net, Contrast()),
    "ranking within the batch": (Net, breakers.pairwise),
}


def given_mean(model: nn.Module, loss: Any, batches: list[tuple[Tensor, Tensor]]) -> float:
    """The mean of the losses of the batches as they are given, weighted by their samples."""
    call = functional.cross_entropy if loss in (None, "cross_entropy") else loss
    total = (lambda o, t: loss.total(o, t) / len(t)) if hasattr(loss, "total") else call
    with torch.no_grad():
        return sum(float(total(model.eval()(x), y)) * len(x) for x, y in batches) / sum(len(x) for x, _ in batches)


@pytest.mark.parametrize("case", DEPENDENT.values(), ids=list(DEPENDENT))
@pytest.mark.parametrize("sizes", [[25, 15], [20, 20], [8, 21, 11]], ids=str)
@pytest.mark.parametrize("micro_batch", [None, 7])
def test_the_objective_is_that_of_the_batches_as_given(
    case: tuple[Callable[[], nn.Module], Any], sizes: list[int], micro_batch: int | None
) -> None:
    build, loss = case
    batches = split(sizes, SORTED)
    objective = Objective(build(), batches, loss, micro_batch=micro_batch)
    assert float(objective.value()) == pytest.approx(given_mean(build(), loss, batches), rel=1e-5)
    assert objective.as_given
    assert any("batches as they are given" in note for note in objective.notes)
    assert [piece.size for piece in objective.micro_batches()] == sizes
    assert any("--micro-batch 7 is not used" in note for note in objective.notes) == (micro_batch is not None)


def test_the_sizes_of_batches_are_part_of_the_fingerprint_where_they_count() -> None:
    one, other = (Objective(Centered(), split(sizes), "cross_entropy").identity() for sizes in ([20, 20], [25, 15]))
    assert one["batches"] != other["batches"]
    free, also = (Objective(Net(), split(sizes), "cross_entropy").identity() for sizes in ([20, 20], [25, 15]))
    assert free == also
    assert "batches" not in free


def test_every_analysis_measures_the_same_objective_or_refuses() -> None:
    batches = split([25, 15])
    objective = Objective(Centered(), batches, "cross_entropy", dtype="float64")
    model = Centered().double()
    parameters = list(model.parameters())
    total = sum(functional.cross_entropy(model(x.double()), y, reduction="sum") for x, y in batches)
    gradients = torch.autograd.grad(total / 40, parameters, create_graph=True)  # type: ignore[operator]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    rows = [torch.autograd.grad(g, parameters, retain_graph=True, materialize_grads=True) for g in flat]
    dense = torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])
    top = float(torch.linalg.eigvalsh(dense)[-1])
    assert landscape.run(landscape.Eig(k=1), objective).eigenvalues[0] == pytest.approx(top, rel=1e-5)
    assert landscape.run(landscape.Eig(k=1, operator="ggn"), objective).trouble() is None
    surface = landscape.run(landscape.Surface(grid=3), objective)
    assert surface.loss[1, 1] == pytest.approx(objective.reference.loss, rel=1e-9)
    for analysis in (landscape.Measures(), landscape.Eig(k=1, operator="empirical-fisher")):
        with pytest.raises(TaskError, match=r"no sample has a loss or a gradient of its own\n.*depend on the others"):
            landscape.run(analysis, objective)
    with pytest.raises(UsageError, match=r"--resample needs samples that can be taken apart\n.*where batches end"):
        landscape.run(landscape.Trace(resample=5), objective)
    with pytest.raises(TaskError, match="parts of 10 samples would cut batches"):
        landscape.run(landscape.Sharpness(m=10, draws=0), objective)


def test_memory_that_runs_out_does_not_cut_such_a_batch() -> None:
    objective = Objective(Centered(), split([25, 15]), "cross_entropy")

    def kernel(batch: Any) -> Tensor:
        raise torch.OutOfMemoryError("no memory")

    with pytest.raises(LandscapeError, match=r"a batch of 25 samples does not fit.*\n.*where batches end"):
        objective.accumulate(kernel)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_next_to_zero_are_no_dependence(dtype: str) -> None:
    """Rounding alone makes the difference: in float64 it is gone."""
    targets = Net()(X).detach()
    batches = list(zip(X.split([25, 15]), targets.split([25, 15]), strict=True))
    assert not Objective(Net(), batches, "mse", dtype=dtype).as_given


def test_samples_of_their_own_are_joined_and_split() -> None:
    objective = Objective(Net(), BATCHES, "cross_entropy", micro_batch=7)
    assert not objective.as_given
    assert objective.joinable
    assert [piece.size for piece in objective.micro_batches()] == [7, 7, 7, 7, 7, 5]
    assert np.isfinite(objective.reference.loss)


@pytest.mark.parametrize("size", [1.0, 0.1, 0.02])
def test_dependence_that_is_weak_in_the_loss_and_strong_in_its_curvature_is_found(size: float) -> None:
    """The variance of the samples' losses, as some add it, of small outputs."""

    def loss(output: Tensor, target: Tensor) -> Tensor:
        losses = functional.cross_entropy(output, target, reduction="none")
        return losses.mean() + losses.var()

    model = nn.Sequential(Net(lambda net, z: size * z), Shrink(size))
    objective = Objective(model, [(X, Y)], loss, micro_batch=7)
    assert objective.as_given
    assert float(objective.value()) == pytest.approx(float(loss(model(X), Y).detach()), rel=1e-6)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kinks_and_deep_nets_are_no_dependence(seed: int, dtype: str) -> None:
    torch.manual_seed(seed)
    layers = [part for _ in range(4) for part in (nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU())]
    model = nn.Sequential(nn.Linear(5, 8), *layers, nn.Linear(8, 3))
    objective = Objective(model, BATCHES, "cross_entropy", dtype=dtype)
    assert [finding.verdict for finding in objective.checks] == ["holds"] * 6


@pytest.mark.parametrize(("group", "samples"), [(2, 6), (2, 12), (2, 16), (2, 18), (3, 6), (3, 12), (3, 18)])
def test_a_loss_of_groups_of_neighbors_is_that_of_the_batches(group: int, samples: int) -> None:
    """Pairs and triplets, as contrastive losses take them from consecutive rows: parts of whole groups agree."""

    def spread(output: Tensor, target: Tensor) -> Tensor:
        groups = output[: len(output) // group * group].view(-1, group, output.shape[1])
        return groups.var(dim=1).sum() / len(output)

    x = torch.randn(samples, 3, generator=torch.Generator().manual_seed(0))
    objective = Objective(nn.Linear(3, 2), [(x, torch.zeros(samples))], spread, dtype="float64")
    assert objective.as_given
