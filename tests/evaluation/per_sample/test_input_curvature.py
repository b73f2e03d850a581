"""The curvature of each sample's loss in its input, against closed forms and embeddings moved by hand."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from token_models import Texts, next_tokens
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.evaluation.per_sample.input_curvature import input_curvature

Data = tuple[Tensor, Tensor]


@pytest.fixture
def texts(generator: torch.Generator) -> Data:
    return next_tokens(generator)


def test_input_curvature_of_a_quadratic_is_its_square_trace(generator: torch.Generator) -> None:
    """With L = (w'x - y)^2 the input gradient moves by 2 w (w'v): its mean square is 4 ||w||^4 over random signs."""
    net = nn.Linear(6, 1)
    x, y = torch.randn(400, 6, generator=generator), torch.randn(400, 1, generator=generator)
    objective = Objective(net, [(x[:150], y[:150]), (x[150:], y[150:])], "mse", dtype="float64")
    found = input_curvature(objective, objective.theta, 0)
    assert float(found.mean()) == pytest.approx(4 * float(net.weight.detach().square().sum()) ** 2, rel=0.05)


def test_input_curvature_does_not_depend_on_batches(classification: Data) -> None:
    x, y = classification
    one, two = (
        input_curvature(objective, objective.theta, 3)
        for objective in (
            Objective(tanh_net(), (x, y), "cross_entropy", dtype="float64"),
            Objective(tanh_net(), [(x[:5], y[:5]), (x[5:], y[5:])], "cross_entropy", dtype="float64", micro_batch=3),
        )
    )
    assert torch.allclose(one, two, rtol=1e-9)


def test_input_curvature_of_texts_moves_their_embeddings(texts: Data) -> None:
    objective = Objective(Texts(), texts, "cross_entropy", dtype="float64")
    found = input_curvature(objective, objective.theta, 0)
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
    assert input_curvature(objective, objective.theta, 0).isnan().all()


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
    one, two = (input_curvature(o, o.theta, 0) for o in (named, placed))
    assert torch.allclose(one, two, rtol=1e-12)


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
        input_curvature(o, o.theta, 0)
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
        found.append(input_curvature(objective, objective.theta, 0))
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
    assert torch.equal(input_curvature(objective, objective.theta, 0), torch.zeros(24, dtype=torch.float64))


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
        input_curvature(o, o.theta, 0)
        for o in (
            Objective(Texts(), (ids, targets), "cross_entropy", dtype="float64"),
            Objective(Turned(), (ids, targets), "cross_entropy", dtype="float64"),
            Objective(Long(), (ids.int(), targets), "cross_entropy", dtype="float64"),
        )
    ]
    assert torch.allclose(found[0], found[2], rtol=1e-9)
    assert torch.allclose(found[0], found[1], rtol=1e-9)
