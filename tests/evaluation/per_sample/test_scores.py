"""Scores of samples against loops over samples, autograd, and closed forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import Splitter, tanh_net
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.errors import TaskError
from landscape.evaluation.layers.kfac import FactorSettings
from landscape.evaluation.layers.layer_io import measurable_layers
from landscape.evaluation.per_sample import scores
from landscape.evaluation.per_sample.outcomes import sample_losses, sample_outcomes
from landscape.network.linear_maps import linear_maps
from landscape.operators import GaussNewtonOperator

Data = tuple[Tensor, Tensor]


class Texts(nn.Module):
    """Eleven token ids in, logits of the next token out, causal by a running mean."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.tokens, self.hidden, self.head = nn.Embedding(7, 4), nn.Linear(4, 6), nn.Linear(6, 7)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        mean = x.cumsum(1) / torch.arange(1, ids.shape[1] + 1)[:, None]
        out: Tensor = self.head(self.hidden(mean + x).tanh())
        return out


@pytest.fixture
def texts(generator: torch.Generator) -> Data:
    ids = torch.randint(0, 7, (9, 12), generator=generator)
    targets = ids[:, 1:].clone()
    targets[3, 6:] = -100
    return ids[:, :-1], targets


def layers(objective: Objective) -> Any:
    return measurable_layers(objective, linear_maps(objective.model, objective.space.names)[0])[0]


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


@pytest.mark.parametrize("sides", [(3, 5, 4), (40, 3, 2)], ids=["outer", "gram"])
def test_both_ways_of_several_tokens_agree(sides: tuple[int, int, int], generator: torch.Generator) -> None:
    p, q, tokens = sides[0], sides[0] * 3, sides[1]
    a = torch.randn(sides[2], tokens, q, generator=generator, dtype=torch.float64)
    g = torch.randn(sides[2], tokens, p, generator=generator, dtype=torch.float64)
    wanted = torch.einsum("ntp,ntq->npq", g, a).square().sum(dim=(1, 2))
    assert torch.allclose(scores._outer_norms(a, g), wanted, rtol=1e-12)


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


def test_input_curvature_of_a_quadratic_is_its_square_trace(generator: torch.Generator) -> None:
    """With L = (w'x - y)^2 the input gradient moves by 2 w (w'v): its mean square is 4 ||w||^4 over random signs."""
    net = nn.Linear(6, 1)
    x, y = torch.randn(400, 6, generator=generator), torch.randn(400, 1, generator=generator)
    objective = Objective(net, [(x[:150], y[:150]), (x[150:], y[150:])], "mse", dtype="float64")
    found = scores.input_curvature(objective, objective.theta, 0)
    assert float(found.mean()) == pytest.approx(4 * float(net.weight.detach().square().sum()) ** 2, rel=0.05)


def test_input_curvature_does_not_depend_on_batches(classification: Data) -> None:
    x, y = classification
    one, two = (
        scores.input_curvature(objective, objective.theta, 3)
        for objective in (
            Objective(tanh_net(), (x, y), "cross_entropy", dtype="float64"),
            Objective(tanh_net(), [(x[:5], y[:5]), (x[5:], y[5:])], "cross_entropy", dtype="float64", micro_batch=3),
        )
    )
    assert torch.allclose(one, two, rtol=1e-9)


def test_input_curvature_of_texts_moves_their_embeddings(texts: Data) -> None:
    objective = Objective(Texts(), texts, "cross_entropy", dtype="float64")
    found = scores.input_curvature(objective, objective.theta, 0)
    assert (found > 0).all()
    assert not any(module._forward_hooks for module in objective.model.modules())


def test_input_curvature_is_nan_where_nothing_can_be_moved() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, ids: Tensor) -> Tensor:
            out: Tensor = self.head(functional.one_hot(ids, 3).to(self.head.weight))
            return out

    objective = Objective(Counting(), (torch.tensor([0, 1, 2]), torch.tensor([0, 1, 0])), "cross_entropy")
    assert scores.input_curvature(objective, objective.theta, 0).isnan().all()


def test_inputs_in_a_dictionary_keep_their_places(generator: torch.Generator) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.out = nn.Linear(5, 2)

        def forward(self, z: Tensor, a: Tensor) -> Tensor:
            out: Tensor = self.out(torch.cat([z, a], dim=1))
            return out

    z, a = torch.randn(6, 2, generator=generator), torch.randn(6, 3, generator=generator)
    y = torch.randint(0, 2, (6,), generator=generator)
    named = Objective(Two(), {"z": z, "a": a, "labels": y}, "cross_entropy", dtype="float64")
    placed = Objective(Two(), ((z, a), y), "cross_entropy", dtype="float64")
    one, two = (scores.input_curvature(o, o.theta, 0) for o in (named, placed))
    assert torch.allclose(one, two, rtol=1e-12)


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


def test_outcomes_are_those_of_each_sample_alone(texts: Data, classification: Data) -> None:
    for net, data in ((Texts(), texts), (tanh_net(), classification)):
        objective = Objective(
            net, [tuple(t[:4] for t in data), tuple(t[4:] for t in data)], "cross_entropy", dtype="float64"
        )
        found = sample_outcomes(objective)
        for place in range(len(data[0])):
            one = Objective(net, tuple(t[place, None] for t in data), "cross_entropy", dtype="float64")
            assert float(found.means[place]) == pytest.approx(float(one.value()), rel=1e-12)
            assert int(found.counts[place]) == one.count
        assert found.loss == pytest.approx(float(objective.value()), rel=1e-12)
        output = objective.batch_output(
            objective.theta, next(iter(Objective(net, data, "cross_entropy", dtype="float64").batches))
        )
        right = (output.argmax(-1) == data[1]).double().sum() / (data[1] != -100).sum()
        assert found.accuracy == pytest.approx(float(right), abs=1e-12)


def test_a_user_s_loss_is_taken_sample_by_sample(classification: Data) -> None:
    def hinge(output: Tensor, target: Tensor) -> Tensor:
        return functional.multi_margin_loss(output, target)

    objective = Objective(tanh_net(), classification, hinge, dtype="float64")
    batch = next(iter(objective.batches))
    found = sample_losses(objective, objective.batch_output(objective.theta, batch), batch)
    output = objective.batch_output(objective.theta, batch)
    assert torch.allclose(found, functional.multi_margin_loss(output, batch.targets, reduction="none"), atol=1e-13)
    assert torch.isnan(torch.tensor(sample_outcomes(objective).accuracy))


def test_rows_that_belong_to_no_sample_are_refused() -> None:
    with pytest.raises(TaskError, match=r"5 rows for 3 samples(.|\n)*--no-scores"):
        scores._by_sample(torch.zeros(5, 1, 2), 3)


def test_input_curvature_is_of_the_sample_s_mean_loss(texts: Data) -> None:
    """A text of which every token is said twice has the curvature of one that is said once."""

    class Twice(nn.Module):
        def __init__(self, times: int) -> None:
            super().__init__()
            torch.manual_seed(8)
            self.out, self.times = nn.Linear(5, 3), times

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.out(x).tanh()[:, None].expand(-1, self.times, -1)
            return out

    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    y = torch.randint(0, 3, (6, 1), generator=torch.Generator().manual_seed(1))
    found = [
        scores.input_curvature(o, o.theta, 0)
        for o in (
            Objective(Twice(times), (x, y.expand(-1, times)), "cross_entropy", dtype="float64") for times in (1, 4)
        )
    ]
    assert torch.allclose(*found, rtol=1e-9)


def test_input_curvature_moves_tokens_and_not_positions_nor_masks(texts: Data) -> None:
    class Placed(Texts):
        def __init__(self) -> None:
            super().__init__()
            self.places = nn.Embedding(11, 4)

        def forward(self, input_ids: Tensor, mask: Tensor | None = None) -> Tensor:
            places = self.places(torch.arange(input_ids.shape[1]))
            x = self.tokens(input_ids) + places
            x = x if mask is None else x * mask[..., None]
            out: Tensor = self.head(self.hidden(x.cumsum(1)).tanh())
            return out

    ids, targets = texts
    ids, targets = torch.cat([ids, ids[:2]]), torch.cat([targets, targets[:2]])  # eleven texts of eleven tokens
    found = []
    for micro_batch, kind in ((None, torch.float32), (4, torch.float32), (None, torch.int64)):
        batch = {"input_ids": ids, "mask": torch.ones(11, 11, dtype=kind), "labels": targets}
        objective = Objective(Placed(), batch, "cross_entropy", dtype="float64", micro_batch=micro_batch)
        found.append(scores.input_curvature(objective, objective.theta, 0))
    assert torch.allclose(found[0], found[1], rtol=1e-9)
    assert torch.allclose(found[0], found[2], rtol=1e-9)


def test_a_loss_that_does_not_follow_its_inputs_has_no_input_curvature(classification: Data) -> None:
    class Signs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.out((x > 0).to(self.out.weight))
            return out

    objective = Objective(Signs(), classification, "cross_entropy")
    assert torch.equal(scores.input_curvature(objective, objective.theta, 0), torch.zeros(24, dtype=torch.float64))


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
    with pytest.raises(TaskError, match="what belongs to which sample is not known"):
        scores.gradient_squares(objective, layers(objective), FactorSettings("gold"), objective.theta)


def test_embeddings_of_tokens_before_samples_and_of_other_integers_are_moved_alike(texts: Data) -> None:
    class Turned(Texts):
        def forward(self, ids: Tensor) -> Tensor:
            x = self.tokens(ids.T).transpose(0, 1)
            mean = x.cumsum(1) / torch.arange(1, ids.shape[1] + 1)[:, None]
            out: Tensor = self.head(self.hidden(mean + x).tanh())
            return out

    class Long(Texts):
        def forward(self, ids: Tensor) -> Tensor:
            return super().forward(ids.long())

    ids, targets = texts
    found = [
        scores.input_curvature(o, o.theta, 0)
        for o in (
            Objective(Texts(), (ids, targets), "cross_entropy", dtype="float64"),
            Objective(Turned(), (ids, targets), "cross_entropy", dtype="float64"),
            Objective(Long(), (ids.int(), targets), "cross_entropy", dtype="float64"),
        )
    ]
    assert torch.allclose(found[0], found[2], rtol=1e-9)
    assert torch.allclose(found[0], found[1], rtol=1e-9)
