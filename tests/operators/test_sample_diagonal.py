"""Diagonals from single samples' gradients against Jacobians, for layers of every kind, and the errors of draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Splitter, tanh_net
from oracles.diagonals import (
    TextNet,
    fisher_diagonal,
    ggn_diagonal,
    output_matrix_diagonal,
    summed_cross_entropy,
    summed_squares,
)
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.network.space import ParameterGroup
from landscape.operators import operator
from landscape.operators import sample_diagonal as module
from landscape.operators.output_vectors import (
    LabelVectors,
    OutputVectors,
    OwnLabelVectors,
    RootVectors,
    SignVectors,
    choose_vectors,
)
from landscape.operators.sample_diagonal import DiagonalPass

GENERATOR = torch.Generator()


@pytest.fixture(autouse=True)
def _seed() -> None:
    GENERATOR.manual_seed(3)
    torch.manual_seed(3)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR)


def classes(*shape: int, of: int = 3) -> Tensor:
    return torch.randint(0, of, shape, generator=GENERATOR)


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.GroupNorm(2, 4),
        nn.Tanh(), nn.Conv2d(4, 6, 2, stride=2, padding_mode="reflect", padding=1), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip


class Pooled(nn.Module):
    """The text net's logits, averaged over positions: few outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.net = TextNet()

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.net(ids).mean(dim=1)
        return logits


class Shared(nn.Module):
    """Two layers with one weight, one of which runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.tanh(self.second(torch.tanh(self.first(torch.tanh(self.first(x)))))))
        return logits


class AlsoFunctional(nn.Module):
    """A layer whose weight the model multiplies by elsewhere too, for late samples."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.inner(x)
        late = x[:, :1] > 0.5
        logits: Tensor = self.head(torch.where(late, torch.tanh(hidden) @ self.inner.weight, hidden))
        return logits


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, Tensor]], set[str]]] = {
    "tanh": (tanh_net, lambda: (normal(12, 5), classes(12)), set()),
    "convolutions": (conv_net, lambda: (normal(9, 2, 6, 6), classes(9)), set()),
    "shared": (Shared, lambda: (normal(10, 5), classes(10)), set()),
    "functional": (AlsoFunctional, lambda: (normal(24, 5), classes(24)), {"inner.weight"}),
    "text": (
        Pooled,
        lambda: (classes(9, 6, of=5), classes(9, of=5)),
        {"net.table.weight", "net.positions.weight", "net.attention.in_proj_weight", "net.attention.in_proj_bias"},
    ),
}


@pytest.mark.parametrize("name", list(MODELS))
def test_the_gauss_newton_diagonal_of_a_net_is_as_by_jacobians(name: str) -> None:
    build, draw, unknown = MODELS[name]
    model, data = build(), draw()
    data[0][:5] = data[0][:5].clamp(max=0) if data[0].is_floating_point() else data[0][:5]
    objective = Objective(model, data, "cross_entropy", dtype="float64", micro_batch=8)
    vectors = choose_vectors(objective, "ggn")
    assert isinstance(vectors, RootVectors)
    found = DiagonalPass(objective, vectors).run()
    assert unknown <= found.unknown
    expected = ggn_diagonal(model, data, summed_cross_entropy) / len(data[0])
    np.testing.assert_allclose(found.diagonal, expected, rtol=1e-9, atol=1e-12 * float(expected.max()))
    np.testing.assert_allclose(found.diagonal, operator("ggn", objective).to_dense().diag(), rtol=1e-7, atol=1e-12)
    assert not len(found.variance)


def test_a_scripted_model_has_the_same_diagonal() -> None:
    data = normal(10, 5), classes(10)
    model = tanh_net()
    scripted = torch.jit.script(tanh_net())
    objective = Objective(scripted, data, "cross_entropy", dtype="float64")
    vectors = choose_vectors(objective, "ggn")
    assert vectors is not None
    found = DiagonalPass(objective, vectors).run()
    assert found.unknown == set(objective.space.names)
    expected = ggn_diagonal(model, data, summed_cross_entropy) / 10
    np.testing.assert_allclose(found.diagonal, expected, rtol=1e-9)


def test_batches_and_columns_at_a_time_do_not_matter(
    classification: tuple[Tensor, Tensor], split: Splitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")
    expected = ggn_diagonal(tanh_net(), classification, summed_cross_entropy) / 24
    for of_columns in (module.COLUMN_BYTES, 2 * objective.activation_bytes):
        monkeypatch.setattr(module, "COLUMN_BYTES", of_columns)
        found = DiagonalPass(objective, RootVectors(objective, 3)).run()
        np.testing.assert_allclose(found.diagonal, expected, rtol=1e-9)


def saddle(z: Tensor, t: Tensor) -> Tensor:
    """A loss with curvatures of both signs that mixes its outputs."""
    return (torch.sin(z) * t + z.roll(1, -1) * z).mean()


@pytest.mark.parametrize(
    ("loss", "of_sample"),
    [
        ("mse", summed_squares),
        (lambda z, t: functional.huber_loss(z, t, delta=0.5), lambda z, t: functional.huber_loss(z, t, delta=0.5) * 3),
        (saddle, lambda z, t: saddle(z, t) * 3),
        ("bce", lambda z, t: functional.binary_cross_entropy_with_logits(z, t, reduction="sum")),
    ],
    ids=["mse", "huber", "of-both-signs", "bce"],
)
def test_losses_of_numbers(loss: Any, of_sample: Any) -> None:
    data = normal(10, 5), (normal(10, 3) > 0).float() if loss == "bce" else normal(10, 3)
    objective = Objective(tanh_net(), data, loss, dtype="float64")
    vectors = choose_vectors(objective, "ggn")
    assert vectors is not None
    expected = ggn_diagonal(tanh_net(), data, of_sample) / 30
    found = DiagonalPass(objective, vectors).run()
    np.testing.assert_allclose(found.diagonal, expected, rtol=1e-8, atol=1e-12)


def test_weights_of_classes_and_weight_decay() -> None:
    data = normal(10, 5), classes(10)
    weights = torch.tensor([1.0, 2.0, 0.5])
    module = nn.CrossEntropyLoss(weight=weights, label_smoothing=0.1)
    objective = Objective(tanh_net(), data, module, dtype="float64", weight_decay=0.1, decay_params=("*.weight",))
    same = nn.CrossEntropyLoss(weight=weights.double(), label_smoothing=0.1, reduction="sum")
    expected = ggn_diagonal(tanh_net(), data, lambda z, t: same(z, t)) / objective.count
    for block, part in zip(
        objective.space.blocks, expected.split([b.size for b in objective.space.blocks]), strict=True
    ):
        part += 0.1 * block.name.endswith("weight")
    vectors = choose_vectors(objective, "ggn")
    assert vectors is not None
    np.testing.assert_allclose(DiagonalPass(objective, vectors).run().diagonal, expected, rtol=1e-8)
    np.testing.assert_allclose(expected, operator("ggn", objective).to_dense().diag(), rtol=1e-6)


def test_the_empirical_fisher_is_that_of_the_data_s_own_labels() -> None:
    data = normal(10, 5), classes(10)
    objective = Objective(tanh_net(), data, "cross_entropy", dtype="float64")

    def outer(output: Tensor, target: Tensor) -> Tensor:
        gradient = (output.softmax(-1) - functional.one_hot(target, 3))[0]
        return torch.outer(gradient, gradient)

    vectors = choose_vectors(objective, "empirical-fisher")
    assert isinstance(vectors, OwnLabelVectors)
    expected = output_matrix_diagonal(tanh_net(), data, outer) / 10
    np.testing.assert_allclose(DiagonalPass(objective, vectors).run().diagonal, expected, rtol=1e-9)


def test_the_fisher_matrix_of_classes_is_the_gauss_newton_matrix() -> None:
    data = normal(10, 5), classes(10)
    objective = Objective(tanh_net(), data, "cross_entropy", dtype="float64")
    vectors = choose_vectors(objective, "fisher")
    assert isinstance(vectors, RootVectors)
    np.testing.assert_allclose(
        DiagonalPass(objective, vectors).run().diagonal, fisher_diagonal(tanh_net(), data) / 10, rtol=1e-9
    )


def text_objective(**changes: Any) -> tuple[Objective, Tensor]:
    """A net with 30 outputs a text, some of which do not count, and its exact diagonal."""
    ids, targets = classes(40, 6, of=5), classes(40, 6, of=5)
    targets[::3, 4:] = -100
    model = TextNet()
    objective = Objective(model, (ids, targets), "cross_entropy", dtype="float64", **changes)
    exact = ggn_diagonal(model, (ids, targets), summed_cross_entropy) / objective.count
    return objective, exact


KINDS: dict[str, Callable[[Objective, int], OutputVectors]] = {
    "signs": lambda objective, seed: SignVectors(objective, 8, seed),
    "labels": lambda objective, seed: LabelVectors(objective, 16, seed),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_errors_of_draws_are_honest_entry_by_entry_and_for_sums(kind: str) -> None:
    objective, exact = text_objective()
    groups = (*objective.space.layers(), objective.space.whole_group())
    entries, sums = [], []
    for seed in range(60):
        found = DiagonalPass(objective, KINDS[kind](objective, seed), groups).run()
        entries.append((found.diagonal - exact.numpy()) / np.sqrt(found.variance + 1e-300))
        of_groups = [_sum(group, found.diagonal) - _sum(group, exact.numpy()) for group in groups]
        sums.append(of_groups / np.sqrt(found.group_variance))
    varying = exact.numpy() > 1e-9 * float(exact.max())
    z = np.array(entries)[:, varying]
    assert np.abs(z.mean()) < 0.2
    assert 0.9 < (np.abs(z) < 1.96).mean() < 0.97
    assert np.abs(np.array(sums).mean(axis=0)).max() < 4 / 60**0.5  # unbiased
    assert 0.9 < (np.abs(sums) < 1.96).mean() < 0.985


def _sum(group: ParameterGroup, values: np.ndarray) -> float:
    return float(sum(values[begin:end].sum() for begin, end in group.ranges))


@pytest.mark.parametrize("kind", list(KINDS))
def test_draws_depend_on_places_in_the_data_and_not_on_batches(kind: str) -> None:
    whole = text_objective()[0]
    first = DiagonalPass(whole, KINDS[kind](whole, 1)).run(2)
    again = DiagonalPass(whole, KINDS[kind](whole, 1)).run(2)
    other = DiagonalPass(whole, KINDS[kind](whole, 1)).run(3)
    assert np.array_equal(first.diagonal, again.diagonal)
    assert not np.allclose(first.diagonal, other.diagonal, rtol=1e-3)
    data = [(piece.inputs, piece.targets) for batch in whole.batches for piece in batch.split(9)]
    same = Objective(whole.model, data, "cross_entropy", dtype="float64", micro_batch=7)
    cut = DiagonalPass(same, KINDS[kind](same, 1)).run(2)
    np.testing.assert_allclose(cut.diagonal, first.diagonal, rtol=1e-9)
    np.testing.assert_allclose(cut.variance, first.variance, rtol=1e-9)
