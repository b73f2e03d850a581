"""What is taken for granted of a user's model and loss is tried first, and nothing ordinary is refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.data.batches import Batch
from landscape.errors import NumericalError, TaskError
from landscape.losses import as_loss
from landscape.losses.preflight import require_mean

X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
CLASSES = torch.randint(0, 3, (24,), generator=torch.Generator().manual_seed(1))
REALS = torch.randn(24, 3, generator=torch.Generator().manual_seed(2))
BITS = (REALS[:, 0] > 0).float()
IGNORING = CLASSES.clone()
IGNORING[2:5] = -100


@dataclass
class Out:
    logits: Tensor


class Returning(nn.Linear):
    """A linear layer whose output is wrapped by a function."""

    def __init__(self, wrap: Callable[[Tensor], Any], width: int = 3) -> None:
        torch.manual_seed(0)
        super().__init__(5, width)
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(super().forward(x))


def squeezed_loss(output: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(output.squeeze(), target)


ORDINARY: dict[str, tuple[nn.Module, Tensor, Any]] = {
    "tuple": (Returning(lambda z: (z, 2 * z)), CLASSES, lambda o, t: functional.cross_entropy(o[0], t)),
    "dictionary": (Returning(lambda z: {"a": z, "b": z}), CLASSES, lambda o, t: functional.cross_entropy(o["a"], t)),
    "dataclass": (Returning(Out), CLASSES, lambda o, t: functional.cross_entropy(o.logits, t)),
    "squeezed": (Returning(lambda z: z, 1), BITS, squeezed_loss),
    "flattened": (
        Returning(lambda z: z.reshape(-1, 1).expand(-1, 4)), torch.zeros(24, 3, dtype=torch.long),
        lambda o, t: functional.cross_entropy(o, t.flatten()),
    ),
    "samples-second": (Returning(lambda z: z.T), REALS, lambda o, t: functional.mse_loss(o.T, t)),
    "its-own-loss": (Returning(lambda z: (z**2).mean()), REALS, lambda o, t: o),
    "per-sample": (Returning(lambda z: z), REALS, lambda o, t: ((o - t) ** 4).mean(1)),
}  # fmt: skip


@pytest.mark.parametrize("case", ORDINARY.values(), ids=list(ORDINARY))
def test_ordinary_models_and_losses_are_taken(case: tuple[nn.Module, Tensor, Any]) -> None:
    model, targets, loss = case
    expected = loss(model(X), targets).mean().detach()
    ragged = [(X[:10], targets[:10]), (X[10:], targets[10:])]
    assert float(Objective(model, ragged, loss).value()) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (lambda o, t: ((o - o.mean(0)) ** 2).mean(), REALS),
        (lambda o, t: functional.cross_entropy(o, t), IGNORING),
        (lambda o, t: functional.cross_entropy(o, t, weight=torch.tensor([1.0, 2.0, 9.0])), CLASSES),
    ],
    ids=["contrast", "ignoring", "weighted"],
)
def test_a_function_that_is_no_mean_over_samples_is_measured_on_the_batches_as_given(
    loss: Any, targets: Tensor
) -> None:
    model, batches = Returning(lambda z: z), list(zip(X.split([9, 15]), targets.split([9, 15]), strict=True))
    objective = Objective(model, batches, loss, micro_batch=4)
    expected = sum(float(loss(model(x), t).detach()) * len(x) for x, t in batches) / len(X)
    assert objective.as_given
    assert float(objective.value()) == pytest.approx(expected, rel=1e-5)
    assert any("batches as they are given" in note for note in objective.notes)


def test_a_function_that_returns_a_sum_is_refused() -> None:
    with pytest.raises(TaskError, match=r"is not a mean over samples: .* for 8 samples together.*\n.*returns a sum"):
        Objective(Returning(lambda z: z), [(X, REALS)], lambda o, t: ((o - t) ** 2).sum())


def test_a_loss_that_is_not_finite_is_a_result_of_the_numbers() -> None:
    objective = Objective(
        Returning(lambda z: z), [(X * float("nan"), CLASSES)], lambda o, t: functional.cross_entropy(o, t)
    )
    with pytest.raises(NumericalError, match="the loss at the checkpoint is nan"):
        _ = objective.reference


class Noisy(nn.Module):
    """A linear layer whose output is off by a share, another one at each call."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.layer, self.share, self.calls = nn.Linear(5, 3), share, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        masked = torch.full((len(x), 1), -torch.inf)
        return torch.cat([self.layer(x) * (1 + self.share * self.calls), masked], dim=1)


@pytest.mark.parametrize(("share", "random"), [(1e-7, False), (1e-2, True)], ids=["rounding", "noise"])
def test_rounding_is_no_randomness(share: float, random: bool) -> None:
    batch = (torch.randn(6, 5, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3)
    with pytest.raises(TaskError, match="two different outputs") if random else nullcontext():
        Objective(Noisy(share), batch, "cross_entropy")


def test_the_mean_over_counted_terms_is_judged_not_that_over_samples() -> None:
    """Ignored targets make parts of a batch count differently, which cross-entropy allows for."""
    loss = as_loss("cross_entropy")
    targets = torch.tensor([0, -100, -100, -100, 1, 2, 0, 1])
    batch = Batch(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), targets, 0)

    def total(piece: Batch) -> Tensor:
        return loss.total(piece.inputs, piece.targets)

    require_mean(loss, total, batch)
    with pytest.raises(TaskError, match=r"metric cross_entropy is not a mean over samples: .* for 8 samples together"):
        require_mean(loss, lambda piece: total(piece) * piece.size, batch)


def test_a_function_that_cannot_take_parts_of_the_batch_is_not_judged() -> None:
    def whole_batches_only(output: Tensor, target: Tensor) -> Tensor:
        return (output.view(24, 3) - target).square().sum()

    loss = as_loss(whole_batches_only)
    batch = Batch(REALS, REALS * 2, 0)
    require_mean(loss, lambda piece: loss.total(piece.inputs, piece.targets), batch)


def test_a_number_that_is_no_tensor_has_no_gradient() -> None:
    with pytest.raises(TaskError, match=r"has no gradient\n.*leaves torch"):
        Objective(Returning(lambda z: z), [(X, REALS)], lambda output, target: float((output - target).mean().detach()))


def test_only_an_inferred_loss_is_noted() -> None:
    inferred, named = (Objective(Returning(lambda z: z), [(X, CLASSES)], loss) for loss in (None, "cross_entropy"))
    assert list(inferred.notes) == ["loss inferred from the shapes: cross_entropy"]
    assert list(named.notes) == []
