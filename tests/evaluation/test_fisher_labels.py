"""Labels of the Fisher matrix: drawn, given, or in the mean."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import tanh_net
from token_models import collected
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.errors import TaskError, UsageError
from landscape.evaluation.fisher_labels import (
    backward_passes,
    choose_labels,
    draw_labels,
    hessian_roots,
    model_labels,
    scalars,
)
from landscape.losses import as_loss

Data = tuple[Tensor, Tensor]


def test_a_loss_that_is_no_likelihood_asks_for_the_data_s_labels(classification: Data) -> None:
    def hinge(output: Tensor, target: Tensor) -> Tensor:
        return functional.multi_margin_loss(output, target)

    objective = Objective(tanh_net(), classification, hinge)
    with pytest.raises(TaskError, match="--labels gold"):
        choose_labels(objective, None)
    assert collected(objective, "gold")["0"].g.trace() > 0


def test_a_weighted_loss_has_no_exact_labels(classification: Data) -> None:
    x, y = classification
    labels = functional.one_hot(y, 3).float()
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 5.0, 20.0]))
    objective = Objective(tanh_net(), (x, labels), loss)
    with pytest.raises(TaskError, match="--labels gold"):
        choose_labels(objective, None)
    with pytest.raises(UsageError, match="exact does not know"):
        collected(objective, "exact")


OUTPUT = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
TOKEN_LABELS = torch.tensor([[0, 2, -100, 1], [1, 1, 0, -100]])
ROOTED: dict[str, tuple[Any, Tensor, Tensor]] = {
    "classes": ("cross_entropy", OUTPUT, torch.tensor([2, 0])),
    "probabilities": ("cross_entropy", OUTPUT, OUTPUT.softmax(1).flip(0)),
    "tokens": ("cross_entropy", TOKENS, TOKEN_LABELS),
    "tokens-classes-second": (nn.CrossEntropyLoss(), TOKENS.transpose(1, 2), TOKEN_LABELS),
    "smoothed": (nn.CrossEntropyLoss(label_smoothing=0.3), OUTPUT, torch.tensor([2, 0])),
    "bits": ("bce", OUTPUT, (OUTPUT > 0).double()),
    "reals": ("mse", OUTPUT, OUTPUT.flip(0)),
    "permuted-reals": ("mse", TOKENS.transpose(1, 2), TOKENS.transpose(1, 2).flip(0)),
    "permuted-bits": ("bce", TOKENS.transpose(1, 2), (TOKENS.transpose(1, 2) > 0).double()),
}


@pytest.mark.parametrize("case", ROOTED.values(), ids=list(ROOTED))
def test_the_roots_squared_are_the_hessian_in_each_sample_s_output(case: tuple[Any, Tensor, Tensor]) -> None:
    loss, output, target = as_loss(case[0]), case[1], case[2]
    roots = torch.stack([root.reshape(2, -1) for root in hessian_roots(loss, output, target)])
    for sample in range(2):
        one, label = output[sample : sample + 1], target[sample : sample + 1]
        size = one.numel()
        dense = torch.autograd.functional.hessian(lambda o, label=label: loss.total(o, label), one).view(size, size)
        assert torch.allclose(roots[:, sample].T @ roots[:, sample], dense, atol=1e-14)


def test_drawn_labels_depend_on_the_place_in_the_data_and_not_on_batches(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    batch = next(iter(objective.batches))
    output = objective.batch_output(objective.theta, batch)
    whole = draw_labels(objective, output, batch, 3, 0)
    parts = [
        draw_labels(objective, output[piece.first : piece.first + piece.size], piece, 3, 0) for piece in batch.split(7)
    ]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(draw_labels(objective, output, batch, 3, 1), whole)
    assert not torch.equal(draw_labels(objective, output, batch, 4, 0), whole)


def test_a_model_of_several_outputs_has_no_labels_to_draw(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    batch = next(iter(objective.batches))
    with pytest.raises(TaskError, match="one output tensor"):
        draw_labels(objective, (OUTPUT, OUTPUT), batch, 0, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("loss", "asked", "chosen", "passes"),
    [
        ("cross_entropy", None, "exact", 3),
        ("cross_entropy", "sampled", "sampled", 5),
        ("cross_entropy", "gold", "gold", 1),
        (nn.NLLLoss(), None, "sampled", 5),
    ],
    ids=["default", "sampled", "gold", "no-known-root"],
)
def test_labels_are_exact_where_that_takes_few_passes(
    classification: Data, loss: Any, asked: Any, chosen: str, passes: int
) -> None:
    net = nn.Sequential(tanh_net(), nn.LogSoftmax(1)) if isinstance(loss, nn.Module) else tanh_net()
    objective = Objective(net, [classification], loss)
    found = choose_labels(objective, asked)
    assert found == chosen
    assert backward_passes(objective, found, 5) == passes


def test_many_outputs_are_sampled(classification: Data) -> None:
    x, y = classification
    wide = Objective(nn.Linear(5, 33), (x, y), "cross_entropy")
    assert choose_labels(wide, None) == "sampled"
    assert model_labels(wide, "gold") == "sampled"
    assert model_labels(Objective(nn.Linear(5, 32), (x, y), "cross_entropy"), "gold") == "exact"


def test_gold_stays_where_there_is_no_distribution(classification: Data) -> None:
    objective = Objective(
        tanh_net(), [classification], lambda output, target: functional.multi_margin_loss(output, target)
    )
    assert model_labels(objective, "gold") == "gold"


def test_each_draw_weighs_its_share(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    batch = next(iter(objective.batches))
    output = objective.batch_output(objective.theta, batch)
    drawn = [objective.loss_total(output, batch, draw_labels(objective, output, batch, 0, draw)) for draw in range(4)]
    found = list(scalars(objective, output, batch, "sampled", 4, 0))
    assert torch.allclose(torch.stack(found) * 2, torch.stack(drawn))
    (gold,) = scalars(objective, output, batch, "gold", 4, 0)
    assert torch.equal(gold, objective.batch_total(objective.theta, batch))
