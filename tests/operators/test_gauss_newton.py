"""Gauss-Newton, Fisher and empirical Fisher against Jacobians, closed forms, and each other."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from conftest import Splitter, tanh_net
from operator_contract import OperatorContract
from oracles.dense import dense_hessian, dense_jacobian
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.errors import TaskError
from landscape.evaluation.fisher_labels import draw_labels
from landscape.operators import (
    EmpiricalFisherOperator,
    FisherOperator,
    GaussNewtonOperator,
    HessianOperator,
    LinearOperator,
)
from landscape.zoo import digits, mlp

Data = tuple[Tensor, Tensor]


def chances(x: Tensor) -> Tensor:
    return tanh_net().double()(x.double()).softmax(1).detach()


class Contract(OperatorContract):
    @pytest.fixture
    def objective(self, classification: Data, split: Splitter) -> Objective:
        return Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")

    def test_it_is_positive_semidefinite(self, dense: Tensor) -> None:
        assert torch.linalg.eigvalsh(dense)[0] > -1e-15

    @pytest.mark.parametrize("micro_batch", [1, 3, 7])
    def test_micro_batches_change_nothing(
        self, objective: Objective, operator: LinearOperator, micro_batch: int
    ) -> None:
        whole = operator.to_dense()
        objective.micro_batch = micro_batch
        assert torch.allclose(operator.to_dense(), whole, rtol=0, atol=1e-14)


class TestGaussNewton(Contract):
    @pytest.fixture
    def operator(self, objective: Objective) -> LinearOperator:
        return GaussNewtonOperator(objective)

    @pytest.fixture
    def dense(self, classification: Data) -> Tensor:
        """J'(diag(p) - p p')J / N."""
        x, _ = classification
        jacobian, p = dense_jacobian(tanh_net(), x), chances(x)
        middle = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        return torch.einsum("ncp,ncd,ndq->pq", jacobian, middle, jacobian) / len(x)


class TestEmpiricalFisher(Contract):
    @pytest.fixture
    def operator(self, objective: Objective) -> LinearOperator:
        return EmpiricalFisherOperator(objective)

    @pytest.fixture
    def dense(self, classification: Data) -> Tensor:
        """The mean of g g' over samples, each gradient by a backward pass of its own."""
        model = tanh_net().double()
        total = torch.zeros(39, 39, dtype=torch.float64)
        for x, y in zip(*classification, strict=True):
            loss = functional.cross_entropy(model(x.double()[None]), y[None])
            gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))])
            total += torch.outer(gradient, gradient)
        return total / len(classification[1])


class TestFisher(Contract):
    @pytest.fixture
    def operator(self, objective: Objective) -> LinearOperator:
        return FisherOperator(objective, seed=5, labels=2)

    @pytest.fixture
    def dense(self, classification: Data, objective: Objective) -> Tensor:
        """The mean of g g' over the labels that were drawn, which do not depend on the batches."""
        x, y = classification
        there = Objective(tanh_net(), [(x, y)], "cross_entropy", dtype="float64", device="cpu")
        fisher = FisherOperator(there, seed=5, labels=2)
        jacobian, p = dense_jacobian(tanh_net(), x), chances(x)
        total = torch.zeros(39, 39, dtype=torch.float64)
        batch = next(iter(fisher.objective.batches))
        output = p.log()
        for draw in range(2):
            labels = draw_labels(fisher.objective, output, batch, 5, draw)
            slopes = p - functional.one_hot(labels, 3)
            gradients = torch.einsum("nc,ncp->np", slopes, jacobian)
            total += gradients.T @ gradients / (2 * len(y))
        return total


def label_variance(x: Tensor, norms: Tensor, labels: int) -> float:
    """The variance over labels of the mean of `norms` `(N, C)`, the value of each sample under each label."""
    p = chances(x)
    each = (p * norms**2).sum(dim=1) - (p * norms).sum(dim=1) ** 2
    return float(each.sum() / (labels * len(x) ** 2))


@pytest.fixture
def objective(classification: Data) -> Objective:
    return Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")


@pytest.mark.parametrize("labels", [1, 2, 20])
def test_the_variances_by_the_labels_are_those_over_all_labels(
    objective: Objective, classification: Data, labels: int
) -> None:
    """The mean over seeds of the stated variances against the exact ones, however few labels are averaged."""
    x, _ = classification
    jacobian = dense_jacobian(tanh_net(), x)  # (N, C, P)
    slopes = torch.eye(3).double() - chances(x)[:, None]  # (N, label, C)
    gradients = torch.einsum("nlc,ncp->nlp", slopes, jacobian)
    block = torch.randn(39, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    exact = [label_variance(x, (gradients @ vector) ** 2, labels) for vector in block.unbind(dim=1)]
    trace = label_variance(x, (gradients**2).sum(dim=2), labels)
    stated, traces = [], []
    for seed in range(40):
        operator = FisherOperator(objective, seed=seed, labels=labels)
        vectors = torch.randn(39, 60, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        stated.append(operator.label_variances(block)[0].numpy())
        traces.append(operator.label_variances(vectors)[1])
    assert np.mean(stated, axis=0) == pytest.approx(exact, rel=0.1)
    assert np.mean(traces) == pytest.approx(trace, rel=0.2)


def test_the_variances_are_those_of_sixteen_draws_written_out(objective: Objective, classification: Data) -> None:
    x, _ = classification
    jacobian, p = dense_jacobian(tanh_net(), x), chances(x)
    block = torch.randn(39, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    batch, squares = next(iter(objective.batches)), []
    for draw in range(16):
        slopes = p - functional.one_hot(draw_labels(objective, p.log(), batch, 4, draw), 3)
        squares.append((torch.einsum("nc,ncp->np", slopes, jacobian) @ block) ** 2)
    apart = torch.stack(squares) - torch.stack(squares).mean(dim=0)  # (draws, N, K)
    covariance = torch.einsum("dnk,dnl->kl", apart, apart) / (15 * 2 * len(x) ** 2)
    columns, trace = FisherOperator(objective, seed=4, labels=2).label_variances(block)
    assert torch.allclose(columns, covariance.diagonal(), rtol=1e-10)
    assert trace == pytest.approx(float((covariance.sum() - covariance.trace()) / 6), rel=1e-10)


def test_the_trace_s_variance_needs_two_columns(objective: Objective) -> None:
    columns, trace = FisherOperator(objective).label_variances(torch.ones(39, 1, dtype=torch.float64))
    assert columns.shape == (1,)
    assert np.isnan(trace)


def test_the_trace_of_a_relu_net_is_the_same_for_hessian_and_gauss_newton() -> None:
    """Second derivatives of a piecewise linear net vanish on the diagonal, so only the Gauss-Newton part is left."""
    torch.manual_seed(0)
    x, y = digits()[0]
    objective = Objective(mlp([64, 12, 9, 10], "relu"), [(x[:50], y[:50])], "cross_entropy", dtype="float64")
    hessian, ggn = HessianOperator(objective).to_dense(), GaussNewtonOperator(objective).to_dense()
    assert torch.allclose(hessian.diag(), ggn.diag(), rtol=0, atol=1e-14)
    assert float(hessian.trace()) == pytest.approx(float(ggn.trace()), rel=1e-13)
    assert not torch.allclose(hessian, ggn, atol=1e-4)


def test_a_linear_model_s_hessian_is_its_gauss_newton_matrix(generator: torch.Generator, split: Splitter) -> None:
    x = torch.randn(24, 6, generator=generator, dtype=torch.float64)
    for loss, y in (
        ("mse", torch.randn(24, 2, generator=generator, dtype=torch.float64)),
        ("bce", torch.rand(24, 2, generator=generator, dtype=torch.float64)),
        ("cross_entropy", torch.randint(0, 2, (24,), generator=generator)),
    ):
        objective = Objective(nn.Linear(6, 2), split(x, y), loss, dtype="float64")
        assert torch.allclose(
            GaussNewtonOperator(objective).to_dense(), HessianOperator(objective).to_dense(), atol=1e-14
        )


def test_linear_regression_has_twice_the_covariance_and_residuals_in_the_empirical_fisher(
    generator: torch.Generator,
) -> None:
    x = torch.randn(24, 6, generator=generator, dtype=torch.float64)
    y = torch.randn(24, 1, generator=generator, dtype=torch.float64)
    model = nn.Linear(6, 1, bias=False).double()
    objective = Objective(model, [(x, y)], "mse", dtype="float64")
    residual = x @ model.weight.detach().T - y
    assert torch.allclose(GaussNewtonOperator(objective).to_dense(), 2 * x.T @ x / 24, rtol=1e-13)
    expected = (2 * residual * x).T @ (2 * residual * x) / 24
    assert torch.allclose(EmpiricalFisherOperator(objective).to_dense(), expected, rtol=1e-12)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "bce", "soft", "module", "nll"])
def test_the_fisher_matrix_averages_to_the_gauss_newton_matrix(loss: str, generator: torch.Generator) -> None:
    torch.manual_seed(2)
    x = torch.randn(12, 3, generator=generator)
    labels = torch.randint(0, 3, (12,), generator=generator)
    soft = torch.rand(12, 3, generator=generator).softmax(1)
    model: nn.Module = nn.Linear(3, 3)
    chosen, y = {
        "cross_entropy": ("cross_entropy", labels),
        "mse": ("mse", soft),
        "bce": ("bce", soft),
        "soft": ("cross_entropy", soft),
        "module": (nn.CrossEntropyLoss(), labels),
        "nll": (nn.NLLLoss(), labels),
    }[loss]
    if loss == "nll":
        model = nn.Sequential(model, nn.LogSoftmax(1))
    objective = Objective(model, [(x, y)], chosen, dtype="float64")
    # for a likelihood in its natural parameters Hessian and Fisher agree; of log-probabilities only the former is GGN
    exact = HessianOperator(objective).to_dense()
    drawn = [FisherOperator(objective, seed=seed, labels=500).to_dense() for seed in range(8)]
    mean = torch.stack(drawn).mean(0)
    error = torch.stack(drawn).std(0) / 8**0.5
    assert ((mean - exact).abs() < 5 * error + 1e-12).all()  # 5 standard errors of 8 means: about 1 in 600 by chance
    assert float((mean - exact).abs().max() / exact.abs().max()) < 0.05


def test_tokens_are_data_of_their_own_and_ignored_ones_have_no_part(generator: torch.Generator) -> None:
    """A sequence model with a padded target is the same as its tokens one by one."""
    torch.manual_seed(2)
    model = nn.Linear(4, 3)
    x = torch.randn(5, 6, 4, generator=generator)
    y = torch.randint(0, 3, (5, 6), generator=generator)
    y[1, 2:] = -100
    counted = y.reshape(-1) != -100
    sequences = Objective(model, [(x, y)], "cross_entropy", dtype="float64")
    tokens = Objective(model, [(x.reshape(-1, 4)[counted], y.reshape(-1)[counted])], "cross_entropy", dtype="float64")
    for kind in (GaussNewtonOperator, EmpiricalFisherOperator):
        assert torch.allclose(kind(sequences).to_dense(), kind(tokens).to_dense(), rtol=1e-12, atol=1e-15)
    drawn = FisherOperator(sequences, labels=400).to_dense()
    exact = GaussNewtonOperator(tokens).to_dense()
    assert float((drawn - exact).abs().max() / exact.abs().max()) < 0.1


def test_classes_on_the_second_axis_as_in_torch(generator: torch.Generator) -> None:
    torch.manual_seed(2)
    model = nn.Conv1d(4, 3, 1)
    x = torch.randn(5, 4, 6, generator=generator)
    y = torch.randint(0, 3, (5, 6), generator=generator)
    there = Objective(model, [(x, y)], nn.CrossEntropyLoss(), dtype="float64")
    flat = nn.Linear(4, 3)
    flat.load_state_dict({"weight": model.weight.detach()[:, :, 0], "bias": model.bias.detach()})
    here = Objective(flat, [(x.transpose(1, 2).reshape(-1, 4), y.reshape(-1))], "cross_entropy", dtype="float64")
    for kind in (GaussNewtonOperator, EmpiricalFisherOperator):
        assert torch.allclose(kind(there).to_dense(), kind(here).to_dense(), rtol=1e-12, atol=1e-15)
    drawn = FisherOperator(there, labels=300).to_dense()
    assert float((drawn - GaussNewtonOperator(here).to_dense()).abs().max()) < 0.05


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 2), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"left": torch.tanh(self.left(x)), "right": self.right(x), "unused": x}


def joint(output: dict[str, Tensor], target: Tensor) -> Tensor:
    both = torch.cat([output["left"], output["right"]], dim=1)
    return ((both - target[:, None]) ** 2).sum(dim=1) / 2


def test_a_model_with_several_outputs_and_a_loss_of_one_s_own(generator: torch.Generator) -> None:
    torch.manual_seed(3)
    model = TwoHeads()
    x, y = torch.randn(9, 3, generator=generator), torch.randn(9, generator=generator)
    objective = Objective(model, [(x[:5], y[:5]), (x[5:], y[5:])], joint, dtype="float64")
    both = ("left", "right")

    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = model.left, model.right

        def forward(self, x: Tensor) -> Tensor:
            output = TwoHeads.forward(self, x)
            return torch.cat([output[k] for k in both], dim=1)

    jacobian = dense_jacobian(Joined(), x)
    ggn = torch.einsum("ncp,ncq->pq", jacobian, jacobian) / 9
    assert torch.allclose(GaussNewtonOperator(objective).to_dense(), ggn, atol=1e-14)
    residual = Joined().double()(x.double()).detach() - y[:, None].double()
    gradients = torch.einsum("nc,ncp->np", residual, jacobian)
    assert torch.allclose(EmpiricalFisherOperator(objective).to_dense(), gradients.T @ gradients / 9, atol=1e-14)
    with pytest.raises(TaskError, match=r"not the likelihood[\s\S]*ggn"):
        FisherOperator(objective)


def test_a_loss_that_is_no_likelihood_is_refused_at_once(classification: Data) -> None:
    smooth = nn.CrossEntropyLoss(label_smoothing=0.1)
    with pytest.raises(TaskError, match="CrossEntropyLoss is not the likelihood"):
        FisherOperator(Objective(tanh_net(), [classification], smooth))


def test_the_gauss_newton_matrix_of_a_loss_linear_in_the_outputs_is_zero(classification: Data) -> None:
    def linear(output: Tensor, target: Tensor) -> Tensor:
        return (output * target[:, None]).sum(dim=1)

    operator = GaussNewtonOperator(Objective(tanh_net(), [classification], linear))
    assert not operator.to_dense().any()


def test_another_seed_draws_other_labels(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    one, two = (FisherOperator(objective, seed=seed) @ objective.theta for seed in (0, 1))
    assert not torch.equal(one, two)


def test_attention_and_batchnorm_have_gauss_newton_products_too() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.norm, self.head = nn.Linear(4, 12), nn.BatchNorm1d(5), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            query, key, value = self.qkv(x).chunk(3, dim=-1)
            return self.head(self.norm(functional.scaled_dot_product_attention(query, key, value)))

    torch.manual_seed(3)
    x, y = torch.randn(6, 5, 4), torch.randint(0, 3, (6, 5))
    objective = Objective(Mixed(), [(x, y)], "cross_entropy", dtype="float64")
    operator = GaussNewtonOperator(objective)
    vector = torch.randn(operator.size, dtype=torch.float64)
    jacobian, step = _directional(objective, vector, (x, y))
    p = step.softmax(-1)
    expected = (p * jacobian**2).sum() - ((p * jacobian).sum(-1) ** 2).sum()
    assert float(vector @ (operator @ vector)) == pytest.approx(float(expected) / 30, rel=1e-6)


def _directional(objective: Objective, vector: Tensor, data: Any) -> tuple[Tensor, Tensor]:
    """The outputs' central difference along the vector, and the outputs."""
    batch = next(iter(objective.batches))
    with torch.no_grad():
        up, down, here = (objective.batch_output(objective.theta + step * vector, batch) for step in (1e-5, -1e-5, 0.0))
    return (up - down) / 2e-5, here


def test_the_dense_hessian_is_gauss_newton_plus_the_outputs_own_curvature(classification: Data) -> None:
    """H - G is sum_c dL/df_c H(f_c): for one sample with two opposite slopes of its two classes it is checked whole."""
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    difference = dense_hessian(tanh_net(), [classification]) - GaussNewtonOperator(objective).to_dense()
    values = torch.linalg.eigvalsh(difference)
    assert values[0] < -1e-3 < 1e-3 < values[-1]  # indefinite, as it must be: H is not PSD, G is


def test_outputs_that_the_loss_leaves_out_or_takes_linearly_are_no_obstacle(generator: torch.Generator) -> None:
    class Pair(NamedTuple):
        main: Tensor
        aside: Tensor

    class Net(nn.Module):
        def __init__(self, kind: str) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.left, self.right, self.kind = nn.Linear(3, 2), nn.Linear(3, 1), kind

        def forward(self, x: Tensor) -> Any:
            main, aside = self.left(x), self.right(x)
            return {"pair": (main, aside), "named": Pair(main, aside), "dict": {"main": main, "aside": aside}}[
                self.kind
            ]

    def first(output: Any) -> tuple[Tensor, Tensor]:
        return tuple(output.values()) if isinstance(output, dict) else (output[0], output[1])  # type: ignore[return-value]

    def ignoring(output: Any, target: Tensor) -> Tensor:
        return (first(output)[0] ** 2).sum(dim=1)

    def linear(output: Any, target: Tensor) -> Tensor:
        return (first(output)[0] ** 2).sum(dim=1) + first(output)[1][:, 0]

    x = torch.randn(5, 3, generator=generator)
    alone = Objective(nn.Linear(3, 2), [(x, torch.zeros(5, 2))], lambda o, t: (o**2).sum(dim=1), dtype="float64")
    for kind in ("pair", "named", "dict"):
        for loss in (ignoring, linear):
            dense = GaussNewtonOperator(Objective(Net(kind), [(x, torch.zeros(5))], loss, dtype="float64")).to_dense()
            assert torch.allclose(dense[:8, :8], GaussNewtonOperator(alone).to_dense(), atol=1e-14)
            assert not dense[8:].any()


def test_outputs_may_be_in_an_object(generator: torch.Generator) -> None:
    class Box:
        def __init__(self, value: Tensor) -> None:
            self.value = value

    class Net(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            return Box(super().forward(x))

    x, net = torch.randn(5, 3, generator=generator), Net(3, 2)
    boxed = Objective(net, [(x, torch.zeros(5))], lambda o, t: (o.value**2).sum(dim=1), dtype="float64")
    plain = nn.Linear(3, 2)
    plain.load_state_dict(net.state_dict())
    alone = Objective(plain, [(x, torch.zeros(5))], lambda o, t: (o**2).sum(dim=1), dtype="float64")
    assert torch.allclose(GaussNewtonOperator(boxed).to_dense(), GaussNewtonOperator(alone).to_dense(), atol=1e-14)
