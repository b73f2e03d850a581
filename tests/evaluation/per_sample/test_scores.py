"""Scores of samples against loops over samples, autograd, and closed forms."""

from __future__ import annotations

import pytest
import torch
from conftest import Splitter, tanh_net
from token_models import Texts, layers, next_tokens
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.errors import TaskError
from landscape.evaluation.layers.factor_collector import FactorSettings
from landscape.evaluation.per_sample import scores
from landscape.operators import GaussNewtonOperator

Data = tuple[Tensor, Tensor]


@pytest.fixture
def texts(generator: torch.Generator) -> Data:
    return next_tokens(generator)


def gradients(model: nn.Module, x: Tensor, y: Tensor, labels: Tensor | None = None) -> list[Tensor]:
    """For each sample the gradient of its mean loss in the weights of linear layers, flat."""
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    rows = []
    for one, target in zip(x, y if labels is None else labels, strict=True):
        output = model(one[None])
        loss = functional.cross_entropy(output.reshape(-1, output.shape[-1]), target.reshape(-1))
        rows.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, weights)]))
    return rows


def test_squares_of_gradients_are_those_of_a_loop(classification: Data, texts: Data, split: Splitter) -> None:
    for net, (x, y), batches in (
        (tanh_net().double(), classification, split(*classification)),
        (Texts().double(), texts, [tuple(t[:4] for t in texts), tuple(t[4:] for t in texts)]),
    ):
        objective = Objective(net, batches, "cross_entropy", dtype="float64")
        found = scores.gradient_squares(objective, layers(objective), FactorSettings("gold"), objective.theta)
        wanted = torch.stack([g.square().sum() for g in gradients(net, x.double() if x.is_floating_point() else x, y)])
        assert torch.allclose(found[:, 0], wanted, rtol=1e-12)
        assert found[:, 1].isnan().all()


def test_the_fisher_trace_of_one_sample_is_the_trace_of_its_gauss_newton_matrix(classification: Data) -> None:
    x, y = classification
    objective = Objective(tanh_net(), (x, y), "cross_entropy", dtype="float64")
    found = scores.gradient_squares(objective, layers(objective), FactorSettings("exact"), objective.theta)[:, 1]
    weights = objective.space.mask(["*.weight"], "--params")
    for place in range(4):
        one = Objective(tanh_net(), (x[place, None], y[place, None]), "cross_entropy", dtype="float64")
        dense = GaussNewtonOperator(one).to_dense()
        assert float(found[place]) == pytest.approx(float(dense.diag()[weights].sum()), rel=1e-12)


def test_sampled_traces_of_texts_have_that_mean(texts: Data) -> None:
    net = Texts().double()
    objective = Objective(net, texts, "cross_entropy", dtype="float64")
    found = scores.gradient_squares(objective, layers(objective), FactorSettings("sampled", 2000), objective.theta)[
        :, 1
    ]
    exact = scores.gradient_squares(objective, layers(objective), FactorSettings("exact"), objective.theta)[:, 1]
    assert torch.allclose(found, exact, rtol=0.1)


def test_the_edit_s_scores_are_differences_of_losses_and_divergences_of_predictions(classification: Data) -> None:
    x, y = classification
    objective = Objective(tanh_net(), classification, "cross_entropy", dtype="float64")
    theta = objective.theta * 0.7
    found = scores.edit_effects(objective, theta)
    model = objective.model.double()
    with torch.no_grad():
        before = model(x.double()).log_softmax(1)
        state = {name: tensor * 0.7 for name, tensor in model.state_dict().items()}
        after = torch.func.functional_call(model, state, (x.double(),)).log_softmax(1)
    rise = functional.nll_loss(after, y, reduction="none") - functional.nll_loss(before, y, reduction="none")
    assert torch.allclose(found[:, 0], rise, atol=1e-13)
    divergence = functional.kl_div(after, before, reduction="none", log_target=True).sum(dim=1)
    assert torch.allclose(found[:, 1], divergence, atol=1e-13)


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_divergences_of_other_losses_are_those_of_their_distributions(loss: str, generator: torch.Generator) -> None:
    x, y = torch.randn(8, 5, generator=generator), torch.rand(8, 3, generator=generator).round()
    objective = Objective(tanh_net(), (x, y), loss, dtype="float64")
    theta = objective.theta * 0.7
    found = scores.edit_effects(objective, theta)[:, 1]
    batch = next(iter(objective.batches))
    with torch.no_grad():
        was, now = (objective.batch_output(point, batch) for point in (objective.theta, theta))
    if loss == "mse":
        one, two = (torch.distributions.Normal(mean, 0.5**0.5) for mean in (was, now))
    else:
        one, two = (torch.distributions.Bernoulli(logits=logits) for logits in (was, now))
    wanted = torch.distributions.kl_divergence(one, two).sum(dim=1) / 3  # a sample has three terms
    assert torch.allclose(found, wanted, atol=1e-12)


def test_rows_that_belong_to_no_sample_are_refused() -> None:
    with pytest.raises(TaskError, match=r"5 rows for 3 samples(.|\n)*--no-scores"):
        scores._by_sample(torch.zeros(5, 1, 2), 3)


def test_gradients_of_rows_before_samples_are_each_sample_s_own(generator: torch.Generator) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=False)

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.out = layer, nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.out(self.layer(x.transpose(0, 1)).mean(dim=0))
            return out

    x, y = torch.randn(6, 4, 8, generator=generator), torch.randint(0, 3, (6,), generator=generator)
    net, found = First(), []
    for micro_batch in (None, 1, 4):
        objective = Objective(net, (x, y), "cross_entropy", dtype="float64", micro_batch=micro_batch)
        found.append(
            scores.gradient_squares(objective, layers(objective), FactorSettings("gold"), objective.theta)[:, 0]
        )
    assert torch.allclose(found[0], found[1], rtol=1e-9)
    assert torch.allclose(found[0], found[2], rtol=1e-9)


def test_rows_folded_before_samples_are_refused(generator: torch.Generator) -> None:
    class Folded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.a(x.transpose(0, 1).reshape(-1, 4)).tanh().view(3, len(x), 5).mean(dim=0)
            out: Tensor = self.b(hidden)
            return out

    x, y = torch.randn(6, 3, 4, generator=generator), torch.randint(0, 3, (6,), generator=generator)
    objective = Objective(Folded(), (x, y), "cross_entropy")
    with pytest.raises(TaskError, match="which row belongs to which sample is not known"):
        scores.gradient_squares(objective, layers(objective), FactorSettings("gold"), objective.theta)
