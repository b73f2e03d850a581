"""Objectives in parts on one rank: loss, gradient and products are those of whole weights, or refused in words."""

from __future__ import annotations

import numpy as np
import pytest
import sharded_models
import torch
from torch import Tensor, nn

import landscape
from landscape import operators
from landscape.analyses.density_measurement import FIRST_LOOKS
from landscape.compute.strategy import ProductSettings
from landscape.data.survey import Batches
from landscape.errors import LandscapeError, TaskError, UsageError
from landscape.objective.sharded.objective import ShardedObjective


def pair(name: str, **options: object) -> tuple[ShardedObjective, landscape.Objective]:
    """The same objective in parts and whole, in float64."""
    data = sharded_models.MODELS[name][1]
    asked = {"dtype": "float64", **options}
    parts = ShardedObjective(sharded_models.build(name), data, "cross_entropy", **asked)
    whole = landscape.Objective(sharded_models.build(name), data, "cross_entropy", **asked)  # type: ignore[arg-type]
    return parts, whole


def gathered(objective: ShardedObjective, vector: Tensor) -> Tensor:
    """The whole vector `(P,)`."""
    shards = objective.shards
    return torch.cat(shards.gather(vector, range(len(shards.sizes))))


def cut(objective: ShardedObjective, whole: Tensor) -> Tensor:
    """What one rank holds of a whole vector."""
    vector = torch.zeros(objective.shards.length, dtype=whole.dtype)
    objective.shards.put_range(vector, 0, whole)
    return vector


@pytest.mark.parametrize("micro_batch", [2, 5, 13])
@pytest.mark.parametrize("name", sharded_models.MODELS)
def test_loss_gradient_and_hessian_are_those_of_whole_weights(name: str, micro_batch: int) -> None:
    parts, whole = pair(name, micro_batch=micro_batch)
    loss, gradient = parts.value_and_gradient()
    expected_loss, expected = whole.value_and_gradient()
    assert float(loss) == pytest.approx(float(expected_loss), rel=1e-13)
    assert float(parts.value()) == pytest.approx(float(expected_loss), rel=1e-13)
    torch.testing.assert_close(gathered(parts, gradient), expected, rtol=1e-12, atol=1e-14)
    block = torch.randn((whole.space.size, 3), dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    columns = [parts.product(cut(parts, column)) for column in block.T]
    found = torch.stack([gathered(parts, column) for column in columns], dim=1)
    torch.testing.assert_close(found, operators.operator("hessian", whole) @ block, rtol=1e-10, atol=1e-12)
    assert parts.weights_sha256 == whole.weights_sha256


def test_batches_that_are_not_joined_count_each_sample_once() -> None:
    parts, whole = pair("mlp", micro_batch=4)
    assert parts.batches.whole is not None
    ragged = Batches(list(parts.batches.whole.cut([5, 8])), sha256="", samples=13, largest=5, kept=True)
    apart = parts.variant(batches=ragged)
    assert [piece.size for piece in apart.micro_batches()] == [4, 1, 3, 4, 1]
    loss, gradient = apart.value_and_gradient()
    expected, expected_gradient = whole.value_and_gradient()
    assert float(loss) == pytest.approx(float(expected), rel=1e-13)
    torch.testing.assert_close(gathered(parts, gradient), expected_gradient, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["transformer", "a layer that runs twice"])
def test_losses_at_other_weights_are_those_of_whole_ones(name: str) -> None:
    parts, whole = pair(name)
    move = torch.randn(whole.space.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) / 10
    found = parts.value(parts.theta + cut(parts, move))
    assert float(found) == pytest.approx(float(whole.value(whole.theta + move)), rel=1e-13)


def test_eigenvalues_and_trace_are_those_of_whole_weights() -> None:
    parts, whole = pair("transformer")
    for analysis in (landscape.Eig(k=3), landscape.Trace(method="hutch++", max_products=40), landscape.Trace(rtol=0.2)):
        found, expected = (landscape.run(analysis, objective) for objective in (parts, whole))
        name = "eigenvalues" if isinstance(analysis, landscape.Eig) else "trace"
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-9)
        assert all(finding.verdict == "holds" for finding in found.checks), found.checks


@pytest.mark.parametrize("name", ["transformer", "a layer that runs twice", "mlp"])
def test_the_density_is_that_of_whole_weights(name: str) -> None:
    density = landscape.Density(probes=3, steps=12)
    found, expected = (landscape.run(density, objective) for objective in pair(name))
    np.testing.assert_allclose(found.ritz_nodes, expected.ritz_nodes, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.ritz_weights, expected.ritz_weights, rtol=1e-9, atol=1e-12)
    assert found.exact_weights
    assert all(finding.verdict == "holds" for finding in found.checks), found.checks


def test_a_density_without_sizes_is_the_smallest_first_look() -> None:
    parts, _ = pair("transformer")
    assert landscape.run(landscape.Density(), parts).ritz_nodes.shape == FIRST_LOOKS[-1]


def test_a_density_of_as_many_steps_as_numbers_is_refused() -> None:
    parts, _ = pair("transformer")
    with pytest.raises(UsageError, match="as many --steps"):
        landscape.run(landscape.Density(steps=1200), parts)


def test_the_exact_trace_is_the_sum_of_the_diagonal() -> None:
    parts, whole = pair("linear")
    found = landscape.run(landscape.Trace(rtol=1e-9, max_products=1000), parts)
    assert found.trace == pytest.approx(float(operators.operator("hessian", whole).to_dense().trace()), rel=1e-10)


def test_a_part_of_the_parameters_is_measured_and_the_rest_stays() -> None:
    parts, whole = pair("mlp", params=("2.*",))
    torch.testing.assert_close(gathered(parts, parts.gradient()), whole.gradient(), rtol=1e-12, atol=1e-14)
    assert parts.space.size == whole.space.size == 48


class Penalty(nn.Module):
    """A model that reads a weight of another module than the one that owns it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.second(x + self.first.weight[0])
        return logits


class Clamped(nn.Linear):
    """A layer that writes into its weights."""

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data.clamp_(-0.1, 0.1)
        return super().forward(x)


class Cut(torch.autograd.Function):
    """The identity, whose gradient is half of what it is."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, vector: Tensor) -> Tensor:  # type: ignore[override]
        return vector / 2


class Halved(nn.Linear):
    """A layer whose weights get half of their gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, Cut.apply(self.weight), self.bias)  # type: ignore[no-untyped-call]


class Objects(nn.Linear):
    """A layer that takes an object of its own."""

    def forward(self, holder: Penalty) -> Tensor:  # type: ignore[override]
        return super().forward(holder.x)


class Holding(nn.Module):
    """A model that hands its input to a layer inside of an object."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = Objects(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        holder = type("Holder", (), {"x": x})()
        logits: Tensor = self.layer(holder)
        return logits


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Penalty(), "a weight is read where the module that owns it does not run"),
        (Clamped(5, 3), "changes the parameter weight of Clamped"),
        (nn.Sequential(nn.Linear(5, 5), nn.Dropout(0.5), nn.Linear(5, 3)).train(), "train mode"),
        (Holding(), "Objects takes or returns objects that may hold tensors"),
    ],
    ids=["a weight read elsewhere", "a weight that is written", "train mode", "objects"],
)
def test_models_that_cannot_be_measured_so_are_refused_in_words(model: nn.Module, words: str) -> None:
    mode = "train" if words == "train mode" else "eval"
    with pytest.raises(LandscapeError, match=words):
        ShardedObjective(model, (sharded_models.REALS, sharded_models.LABELS), "cross_entropy", mode=mode)


def test_a_penalty_that_holds_the_parameters_themselves_fails() -> None:
    model = sharded_models.mlp()
    held = model[0].weight

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, target) + held.square().sum()

    with pytest.raises(TaskError, match="a weight is read where"):
        ShardedObjective(model, (sharded_models.REALS, sharded_models.LABELS), loss)


def test_a_gradient_that_is_no_derivative_is_found_afterwards() -> None:
    model = nn.Sequential(Halved(5, 4), nn.Tanh(), nn.Linear(4, 3))
    objective = ShardedObjective(model, (sharded_models.REALS, sharded_models.LABELS), "cross_entropy", dtype="float64")
    result = landscape.run(landscape.Eig(k=1), objective)
    assert "not the derivative" in str(result.trouble())


def test_batches_that_depend_on_each_other_are_left_as_they_are() -> None:
    def contrast(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output - output.mean(0), target)

    def batches() -> list[tuple[Tensor, Tensor]]:
        return [
            (sharded_models.REALS[:6], sharded_models.LABELS[:6]),
            (sharded_models.REALS[6:], sharded_models.LABELS[6:]),
        ]

    parts = ShardedObjective(sharded_models.mlp(), batches(), contrast, dtype="float64")
    assert parts.as_given


@pytest.mark.parametrize(
    ("analysis", "words"),
    [
        (landscape.Surface(dim=1, grid=5), "does not measure surface"),
        (landscape.Density(operator="ggn"), "--operator ggn"),
        (landscape.Eig(k=1, operator="ggn"), "--operator ggn"),
        (landscape.Eig(k=1, per_layer=True), "--per-layer"),
        (landscape.Eig(k=1, save_vectors=True), "--save-vectors"),
        (landscape.Eig(k=1, resample=4), "--resample"),
    ],
)
def test_what_takes_whole_vectors_is_refused(analysis: landscape.Eig, words: str) -> None:
    parts, _ = pair("mlp")
    with pytest.raises(UsageError, match=words):
        landscape.run(analysis, parts)


@pytest.mark.parametrize(
    "options",
    [
        {"weight_decay": 0.1},
        {"objective": lambda model, batch: (model(batch[0]), 1)},
        {"settings": ProductSettings(hvp="difference")},
        {"settings": ProductSettings(weights_dtype="bfloat16")},
    ],
)
def test_options_that_take_whole_weights_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="--shard on excludes"):
        ShardedObjective(sharded_models.mlp(), (sharded_models.REALS, sharded_models.LABELS), **options)


def test_weights_that_change_during_the_measurement_are_found() -> None:
    parts, _ = pair("frozen")
    parts.function.passage.held.add_(1e-3)
    assert "changed during the measurement" in str(landscape.run(landscape.Eig(k=1), parts).trouble())


def test_losses_with_weights_of_their_own_are_refused() -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, output: Tensor, target: Tensor) -> Tensor:
            return nn.functional.cross_entropy(output * self.weight, target)

    with pytest.raises((UsageError, TaskError), match="parameters of its own"):
        ShardedObjective(sharded_models.mlp(), (sharded_models.REALS, sharded_models.LABELS), Weighted())
