"""The trace of the gradients' covariance and the Fisher-Rao norm against every sample's gradient and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import Splitter, tanh_net
from token_models import Texts, next_tokens
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.analyses.measures_gradients import gradient_measures
from landscape.errors import TaskError

Data = tuple[Tensor, Tensor]


def measured(objective: Objective) -> tuple[float, float]:
    return gradient_measures(objective, float(objective.gradient().norm()))


def own_gradients(model: nn.Module, data: Data) -> Tensor:
    """Each sample's gradient, `(N, P)`, by a loop."""
    rows = []
    for x, y in zip(*data, strict=True):
        loss = functional.cross_entropy(model(x[None].double()), y[None])
        rows.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))]))
    return torch.stack(rows)


def test_both_are_those_of_every_sample(classification: Data, split: Splitter) -> None:
    model = tanh_net().double()
    rows = own_gradients(model, classification)
    theta = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    trace, norm = measured(Objective(model, split(*classification), "cross_entropy", dtype="float64"))
    assert trace == pytest.approx(float(rows.var(dim=0).sum()), rel=1e-10)
    assert norm == pytest.approx(float((rows @ theta).square().mean().sqrt()), rel=1e-10)


def test_samples_are_taken_one_by_one_where_the_model_cannot_be_vectorized(classification: Data) -> None:
    class Choosing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tanh_net()

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.net(x)
            return out if float(out.detach().sum()) > -1e9 else -out

    one, other = (
        measured(Objective(model, [classification], "cross_entropy", dtype="float64"))
        for model in (Choosing(), tanh_net())
    )
    assert one == pytest.approx(other, rel=1e-12)


def test_fisher_rao_of_a_homogeneous_net_is_that_of_its_outputs(generator: torch.Generator) -> None:
    """w . grad l = L <dl/df, f> for a ReLU net of L layers without biases (Liang et al. 2019, theorem 3.1)."""
    x, y = torch.randn(30, 6, generator=generator).double(), torch.randint(0, 3, (30,), generator=generator)
    torch.manual_seed(0)
    layers = [
        nn.Linear(6, 8, bias=False),
        nn.ReLU(),
        nn.Linear(8, 8, bias=False),
        nn.ReLU(),
        nn.Linear(8, 3, bias=False),
    ]
    model = nn.Sequential(*layers).double()
    output = model(x).detach()
    slope = output.softmax(1) - functional.one_hot(y, 3)
    exact = 3 * float((slope * output).sum(1).square().mean().sqrt())
    assert measured(Objective(model, [(x, y)], "cross_entropy", dtype="float64"))[1] == pytest.approx(exact)


def test_a_sum_over_outputs_has_the_covariance_of_its_inputs(generator: torch.Generator) -> None:
    """The loss w'x of each sample has the gradient x: the trace is that of the inputs' covariance."""
    x = 3 + torch.randn(20, 4, generator=generator).double()
    net = nn.Linear(4, 1, bias=False).double()
    objective = Objective(
        net, [(x, torch.zeros(20, 1).double())], lambda output, target: output.mean(), dtype="float64"
    )
    trace, norm = measured(objective)
    assert trace == pytest.approx(float(torch.cov(x.T).trace()), rel=1e-12)
    assert norm == pytest.approx(float((x @ net.weight.detach()[0]).square().mean().sqrt()), rel=1e-12)


def test_weight_decay_moves_all_gradients_and_does_not_scatter_them(classification: Data) -> None:
    plain, decayed = (
        measured(Objective(tanh_net(), [classification], "cross_entropy", dtype="float64", weight_decay=decay))
        for decay in (0.0, 0.5)
    )
    assert decayed[0] == pytest.approx(plain[0], rel=1e-10)
    assert decayed[1] > plain[1]


def test_samples_of_several_tokens_count_as_their_parts_of_the_mean(generator: torch.Generator) -> None:
    """N times a text's part of the mean gradient, so that their mean is the gradient of the mean over tokens."""
    objective = Objective(Texts(), next_tokens(generator), "cross_entropy", dtype="float64")
    count, samples = objective.count, objective.batches.samples
    texts = [objective.batch_gradient(objective.theta, one)[1] for b in objective.batches for one in b.split(1)]
    rows = torch.stack(texts) * samples / count
    assert count > samples
    torch.testing.assert_close(rows.mean(dim=0), objective.gradient(), rtol=1e-10, atol=1e-14)
    trace, norm = measured(objective)
    assert trace == pytest.approx(float(rows.var(dim=0).sum()), rel=1e-9)
    assert norm == pytest.approx(float((rows @ objective.theta).square().mean().sqrt()), rel=1e-9)


def test_one_sample_has_a_norm_and_no_covariance(classification: Data) -> None:
    x, y = classification
    trace, norm = measured(Objective(tanh_net(), [(x[:1], y[:1])], "cross_entropy"))
    assert math.isnan(trace)
    assert norm > 0


def test_a_loss_of_whole_batches_has_no_gradients_of_samples(classification: Data) -> None:
    def contrast(output: Tensor, target: Tensor) -> Tensor:
        return ((output - output.mean(0)) ** 2).mean() + 0 * target.sum()

    with pytest.raises(TaskError, match="sample"):
        gradient_measures(Objective(tanh_net(), [classification], contrast), 1.0)
