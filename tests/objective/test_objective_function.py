"""Tests of objectives that are functions of the model and a batch, against dense autograd of the same function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

import landscape
from landscape import Objective
from landscape.errors import TaskError, UsageError
from landscape.evaluation.layers.factor_collector import FactorSettings
from landscape.evaluation.layers.kfac import stream_factors
from landscape.evaluation.per_sample.outcomes import sample_outcomes
from landscape.network.linear_maps import linear_maps
from landscape.operators.gauss_newton import EmpiricalFisherOperator, FisherOperator, GaussNewtonOperator
from landscape.operators.hessian import HessianOperator

Function = Callable[[nn.Module, Any], Any]


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()


@pytest.fixture
def data() -> list[dict[str, Tensor]]:
    """Ragged batches of dictionaries."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(11, 3, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 2, (11,), generator=generator)
    return [{"x": x[:7], "y": y[:7]}, {"x": x[7:], "y": y[7:]}]


def measure(net: nn.Module, data: Any, function: Function, **options: Any) -> Objective:
    return Objective(net, data, objective=function, dtype="float64", **options)


def dense(net: nn.Module, mean: Callable[[nn.Module], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The value, gradient and Hessian of a mean of the untouched module, by nested `torch.autograd`."""
    names, tensors = zip(*net.named_parameters(), strict=True)
    theta = torch.cat([tensor.detach().flatten() for tensor in tensors]).requires_grad_()

    class Held(nn.Module):
        def forward(self) -> Tensor:
            return mean(self.net)

    held = Held()
    held.net = net

    def value(point: Tensor) -> Tensor:
        parts = point.split([tensor.numel() for tensor in tensors])
        named = {f"net.{n}": p.view_as(t) for n, p, t in zip(names, parts, tensors, strict=True)}
        return functional_call(held, named, ())

    total = value(theta)
    (gradient,) = torch.autograd.grad(total, theta)
    return total.detach(), gradient, torch.autograd.functional.hessian(value, theta.detach())


def require_dense(objective: Objective, net: nn.Module, mean: Callable[[nn.Module], Tensor]) -> None:
    value, gradient, hessian = dense(net, mean)
    torch.testing.assert_close(objective.value(), value)
    torch.testing.assert_close(objective.gradient(), gradient)
    torch.testing.assert_close(HessianOperator(objective).to_dense(), hessian)


def by_sample(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return functional.cross_entropy(model(batch["x"]), batch["y"], reduction="none")


def with_count(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
    return by_sample(model, batch).sum(), len(batch["y"])


@pytest.mark.parametrize("function", [by_sample, with_count])
@pytest.mark.parametrize("micro_batch", [None, 2])
def test_losses_and_sums_are_the_same_loss_as_by_name(
    net: nn.Module, data: list[dict[str, Tensor]], function: Function, micro_batch: int | None
) -> None:
    named = Objective(net, [(b["x"], b["y"]) for b in data], "cross_entropy", dtype="float64", micro_batch=micro_batch)
    own = measure(net, data, function, micro_batch=micro_batch)
    assert not own.as_given
    assert own.count == named.count
    torch.testing.assert_close(own.value(), named.value())
    torch.testing.assert_close(HessianOperator(own).to_dense(), HessianOperator(named).to_dense())
    surfaces = [landscape.run(landscape.Surface(grid=3), objective).loss for objective in (own, named)]
    np.testing.assert_allclose(*surfaces, rtol=1e-9)


def test_losses_of_samples_make_the_empirical_fisher_matrix(net: nn.Module, data: list[dict[str, Tensor]]) -> None:
    named = Objective(net, [(b["x"], b["y"]) for b in data], "cross_entropy", dtype="float64")
    expected = EmpiricalFisherOperator(named).to_dense()
    torch.testing.assert_close(EmpiricalFisherOperator(measure(net, data, by_sample)).to_dense(), expected)
    with pytest.raises(TaskError, match="has no loss for each sample"):
        EmpiricalFisherOperator(measure(net, data, with_count))


def test_a_contrastive_loss_of_one_batch_is_that_of_the_whole_batch(net: nn.Module) -> None:
    x = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def contrastive(model: nn.Module, batch: Tensor) -> Tensor:
        first, second = (functional.normalize(model(view), dim=1) for view in (batch, batch + 0.1))
        similarity = first @ second.T / 0.5
        return functional.cross_entropy(similarity, torch.arange(len(batch)), reduction="none")

    objective = measure(net, x, contrastive)
    assert objective.as_given
    require_dense(objective, net, lambda model: contrastive(model, x).mean())


def pinn(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Any]:
    """A residual at points inside, a condition at the edge, and data with a count of their own."""
    inside = batch["inside"].detach().requires_grad_()
    u = model(inside)[:, 0]
    (slope,) = torch.autograd.grad(u.sum(), inside, create_graph=True)
    return {
        "residual": (slope[:, 0] + u.sin()).square(),
        "edge": model(batch["edge"]).square().sum(dim=1),
        "data": (3 * (model(batch["inside"]) - 1).square().sum(), 2 * len(inside)),
    }


@pytest.fixture
def points() -> list[dict[str, Tensor]]:
    """Two batches whose tensors have other lengths: each batch is one unit."""
    generator = torch.Generator().manual_seed(3)
    return [
        {
            "inside": torch.rand(n, 3, generator=generator, dtype=torch.float64),
            "edge": torch.rand(m, 3, generator=generator, dtype=torch.float64),
        }
        for n, m in ((6, 2), (4, 3))
    ]


def pinn_mean(model: nn.Module, points: list[dict[str, Tensor]], names: tuple[str, ...]) -> Tensor:
    """The sum of the means of the terms of these names, each over its own number of points in all batches."""
    every = [pinn(model, batch) for batch in points]
    means = {
        "residual": torch.cat([terms["residual"] for terms in every]).mean(),
        "edge": torch.cat([terms["edge"] for terms in every]).mean(),
        "data": sum(terms["data"][0] for terms in every) / sum(terms["data"][1] for terms in every),
    }
    return torch.stack([torch.as_tensor(means[name]) for name in names]).sum()


TERMS = ("residual", "edge", "data")


@pytest.mark.parametrize("term", [None, *TERMS])
def test_each_term_and_their_sum_are_those_of_dense_autograd(
    net: nn.Module, points: list[dict[str, Tensor]], term: str | None
) -> None:
    objective = measure(net, points, pinn, term=term)
    require_dense(objective, net, lambda model: pinn_mean(model, points, TERMS if term is None else (term,)))


def test_terms_add_up_to_the_whole(net: nn.Module, points: list[dict[str, Tensor]]) -> None:
    whole = measure(net, points, pinn)
    parts = [whole.with_term(name) for name in TERMS]
    direction = torch.linspace(-1, 1, whole.space.size, dtype=torch.float64)
    for quantity in (
        lambda o: o.value(),
        lambda o: o.gradient(),
        lambda o: HessianOperator(o) @ direction,
        lambda o: HessianOperator(o).to_dense().trace(),
    ):
        torch.testing.assert_close(quantity(whole), torch.stack([quantity(part) for part in parts]).sum(dim=0))
    assert len({one.identity()["loss"] for one in (whole, *parts)}) == 4


def test_units_are_counted_as_samples_and_said(net: nn.Module, points: list[dict[str, Tensor]]) -> None:
    objective = measure(net, points, pinn)
    assert (objective.batches.samples, objective.count) == (2, 2.0)
    assert any("one unit" in note for note in objective.notes)


def test_other_data_are_counted_anew(net: nn.Module, data: list[dict[str, Tensor]]) -> None:
    def weighted(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Any]:
        return {"ce": by_sample(model, batch), "first class": (model(batch["x"])[batch["y"] == 0].sum(), 1)}

    objective = measure(net, data, weighted)
    require_dense(
        objective.with_data(data[:1]),
        net,
        lambda model: by_sample(model, data[0]).mean() + model(data[0]["x"])[data[0]["y"] == 0].sum(),
    )


class Embed(nn.Module):
    """A model whose methods an objective calls, with a pass that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.scale = nn.Linear(3, 4), nn.Parameter(torch.tensor(0.7))

    def embed(self, x: Tensor) -> Tensor:
        return torch.tanh(self.body(x)) * self.scale

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x)


def test_methods_and_parameters_of_the_model_follow_theta(data: list[dict[str, Tensor]]) -> None:
    torch.manual_seed(0)
    model = Embed().double()

    def consistency(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        one, two = model.embed(batch["x"]), model(batch["x"] * 0.9)
        return (one - two).square().sum(dim=1) + 0.1 * model.scale**2 + one.mean(dim=1)

    def mean(model: nn.Module) -> Tensor:
        return torch.cat([consistency(model, batch) for batch in data]).mean()

    require_dense(measure(model, data, consistency), model, mean)


def test_an_objective_that_is_a_module_has_its_parameters_in_theta(net: nn.Module, data: Any) -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.log_scale = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

        def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
            return by_sample(model, batch) * self.log_scale.exp() - self.log_scale

    objective = measure(net, data, Weighted())
    assert objective.space.names[-1] == "loss.log_scale"
    plain = float(measure(net, data, by_sample).value())
    assert float(objective.gradient()[-1]) == pytest.approx(plain * np.exp(0.3) - 1)
    assert float(HessianOperator(objective).to_dense()[-1, -1]) == pytest.approx(plain * np.exp(0.3))


def with_outputs() -> Any:
    """An objective that says which outputs its losses are of."""

    def objective(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return by_sample(model, batch)

    objective.outputs = lambda model, batch: model(batch["x"])  # type: ignore[attr-defined]
    objective.targets = lambda batch: batch["y"]  # type: ignore[attr-defined]
    objective.loss = "cross_entropy"  # type: ignore[attr-defined]
    return objective


def kronecker_sums(objective: Objective) -> list[Tensor]:
    """The sums that make the Kronecker factors of every linear layer, with exact labels."""
    layers, _ = linear_maps(objective.model, objective.space.names)
    *_, (_, _, sums) = stream_factors(objective, layers, FactorSettings("exact"), {})
    return list(sums.values())


def test_an_objective_with_outputs_has_what_needs_them(net: nn.Module, data: list[dict[str, Tensor]]) -> None:
    named = Objective(net, [(b["x"], b["y"]) for b in data], "cross_entropy", dtype="float64")
    own = measure(net, data, with_outputs())
    for kind in (HessianOperator, GaussNewtonOperator, FisherOperator):
        torch.testing.assert_close(kind(own).to_dense(), kind(named).to_dense())
    torch.testing.assert_close(sample_outcomes(own).right, sample_outcomes(named).right)
    for one, other in zip(*map(kronecker_sums, (own, named)), strict=True):
        torch.testing.assert_close(one, other)


def test_outputs_of_another_loss_are_refused(net: nn.Module, data: list[dict[str, Tensor]]) -> None:
    function = with_outputs()
    function.targets = lambda batch: 1 - batch["y"]
    with pytest.raises(TaskError, match="is not its loss of its outputs") as caught:
        measure(net, data, function)
    assert "three attributes" in caught.value.fix


def test_outputs_that_differ_in_a_later_batch_are_refused(net: nn.Module, data: list[dict[str, Tensor]]) -> None:
    function = with_outputs()
    function.targets = lambda batch: batch["y"] if len(batch["y"]) == 7 else 1 - batch["y"]
    with pytest.raises(TaskError, match="is not its loss of its outputs"):
        measure(net, data, function)


def test_some_of_the_attributes_alone_are_refused(net: nn.Module, data: list[dict[str, Tensor]]) -> None:
    function = with_outputs()
    del function.targets
    with pytest.raises(UsageError, match="has no targets"):
        measure(net, data, function)


@pytest.mark.parametrize("kind", [GaussNewtonOperator, FisherOperator])
def test_what_needs_outputs_is_refused_with_the_remedy(net: nn.Module, data: Any, kind: type[Any]) -> None:
    with pytest.raises(TaskError) as caught:
        kind(measure(net, data, by_sample)).to_dense()
    assert "--operator" in caught.value.fix
    with pytest.raises(TaskError, match="needs the outputs that they are of") as caught:
        landscape.run(landscape.Memorization(), measure(net, data, by_sample))
    assert "outputs(model, batch), targets(batch) and loss" in caught.value.fix


other = nn.Linear(3, 2).double()


def ignores_the_model(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return functional.cross_entropy(other(batch["x"]), batch["y"], reduction="none")


def without_gradient(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return by_sample(model, batch)


def mean_alone(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return by_sample(model, batch).mean()


def counts_nothing(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
    return by_sample(model, batch).sum(), 0


def counts_by_weights(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    losses = by_sample(model, batch)
    return losses[losses > 0.69].sum(), (losses.detach() > 0.69).sum()


def changes_names(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Any]:
    return {"even" if len(batch["y"]) == 7 else "odd": (by_sample(model, batch).sum(), 1)}


def changes_form(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    losses = by_sample(model, batch)
    return losses if len(losses) != 4 else losses[:-1]


def fails(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return model(batch["image"])


def changes_its_batch(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    batch["x"].mul_(2)
    return by_sample(model, batch)


def is_random(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return by_sample(model, {**batch, "x": batch["x"] + torch.randn_like(batch["x"])})


async def waits(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return by_sample(model, batch)


def yields(model: nn.Module, batch: dict[str, Tensor]) -> Iterator[Tensor]:
    yield by_sample(model, batch)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (ignores_the_model, "the gradient of objective ignores_the_model .* is zero"),
        (without_gradient, "the gradient of objective without_gradient .* is zero"),
        (mean_alone, "objective mean_alone is one number for a batch, without a count"),
        (counts_nothing, "objective counts_nothing counts nothing in all data"),
        (counts_by_weights, "the count of objective counts_by_weights depends on the weights"),
        (changes_names, "objective changes_names returns other terms on another batch"),
        (fails, "objective fails cannot take the data: KeyError"),
        (changes_its_batch, "changes its inputs in place"),
        (is_random, "random|two different outputs"),
        (yields, "objective yields is a generator"),
    ],
)
def test_a_function_that_is_no_objective_is_refused(
    net: nn.Module, data: Any, function: Function, message: str
) -> None:
    with pytest.raises(TaskError, match=message):
        measure(net, data, function)


@pytest.mark.filterwarnings("ignore:coroutine")
def test_a_coroutine_is_no_objective(net: nn.Module, data: Any) -> None:
    with pytest.raises(TaskError, match="objective waits is a coroutine"):
        measure(net, data, waits)


def test_a_later_batch_in_another_form_is_refused_when_it_is_met(net: nn.Module, data: Any) -> None:
    with pytest.raises(TaskError, match="objective changes_form has 3 losses for 4 samples"):
        measure(net, data, changes_form).value()


def test_a_loss_or_a_term_beside_it_is_refused(net: nn.Module, data: Any) -> None:
    with pytest.raises(UsageError, match="--objective and --loss exclude each other"):
        Objective(net, data, "mse", objective=by_sample)
    with pytest.raises(UsageError, match="--objective and --outputs exclude each other"):
        Objective(net, data, objective=by_sample, outputs="logits")
    with pytest.raises(UsageError, match="--term a without --objective"):
        Objective(net, data, "mse", term="a")
    with pytest.raises(UsageError, match="--term a is no term of objective by_sample"):
        measure(net, data, by_sample, term="a")
    with pytest.raises(UsageError, match="the objective is a str, not a function"):
        Objective(net, data, objective="loss")
