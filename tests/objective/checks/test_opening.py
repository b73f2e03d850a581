"""Each check, before or after a measurement, is the one that tells: without it, its case goes unsaid."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import contract_breakers as breakers
import pytest
import torch
from contract_breakers import BATCHES, Checkpointed, Net, SavedDerivative
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import session
from landscape.errors import LandscapeError, TaskError
from landscape.objective import preparation
from landscape.objective.checks import closing
from landscape.objective.checks.opening import MODEL_CHECKS, OPENING_CHECKS


def saves(net: Any, z: Tensor) -> Tensor:
    out: Tensor = SavedDerivative.apply(z)  # type: ignore[no-untyped-call]
    return out


def clips(net: Any, z: Tensor) -> Tensor:
    out: Tensor = breakers.Clipped.apply(z)  # type: ignore[no-untyped-call]
    return out


def halves(net: Any, z: Tensor) -> Tensor:
    return z if torch.is_grad_enabled() else 0.5 * z


def draws(output: Tensor, target: Tensor) -> Tensor:
    random.random()
    return functional.cross_entropy(output, target)


def computes_in_bfloat16(net: Any, z: Tensor) -> Tensor:
    return z.bfloat16().to(z.dtype) if z.dtype == torch.float32 else z


def moves(net: Any, z: Tensor) -> Tensor:
    net.scale.mul_(1.00005)
    return z


def _objective_with_kept_parameters() -> landscape.Objective:
    model = Net()
    kept = list(model.parameters())
    return landscape.Objective(
        model, BATCHES, lambda o, t: functional.cross_entropy(o, t) + 0.1 * sum((p**2).sum() for p in kept)
    )


def of(disturb: Any = None, loss: Any = "cross_entropy", model: Any = None) -> Callable[[], landscape.Objective]:
    return lambda: landscape.Objective(model() if model else Net(disturb or (lambda net, z: z)), BATCHES, loss)


CASES: dict[str, Callable[[], landscape.Objective]] = {
    "purity": of(moves),
    "loss": of(loss=draws),
    "modes": of(halves),
    "leaves": _objective_with_kept_parameters,
    "gradient": of(model=Checkpointed),
    "independence": of(loss=breakers.contrastive),
    "repetition": lambda: landscape.Objective(
        Net(breakers.counts_large_batches), (breakers.X, breakers.Y), "cross_entropy"
    ),
    "slope": of(clips),
    "precision": of(computes_in_bfloat16),
    "curvature": of(saves),
}


def said(build: Callable[[], landscape.Objective]) -> list[str]:
    """What is said about the objective: notes, trouble, or a refusal."""
    try:
        objective = build()
        record = session.execute(landscape.Eig(k=1), objective)
    except LandscapeError as error:
        return [str(error)]
    trouble = record.result.trouble()
    return [*record.notes, *([trouble.why] if trouble else [])]


def test_every_check_has_a_case() -> None:
    names = [check.name for check in (*MODEL_CHECKS, *OPENING_CHECKS, *closing.CLOSING_CHECKS)]
    assert names == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_check_tells_its_case_and_nothing_else_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_check = said(CASES[name])
    assert with_check
    for module, tuple_name in (
        (preparation, "MODEL_CHECKS"),
        (preparation, "OPENING_CHECKS"),
        (closing, "CLOSING_CHECKS"),
    ):
        checks = getattr(module, tuple_name)
        monkeypatch.setattr(module, tuple_name, tuple(check for check in checks if check.name != name))
    assert said(CASES[name]) != with_check


@pytest.mark.parametrize("other", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_a_model_that_makes_tensors_of_one_precision_is_told_which_to_take(other: torch.dtype) -> None:
    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x.to(other), self.layer.weight)

    data = (torch.randn(4, 3), torch.tensor([0, 1, 1, 0]))
    with pytest.raises(TaskError, match=r"cannot take the data: RuntimeError.*\n.*\n.*--dtype float32: the model has"):
        landscape.Objective(Single(), data, "cross_entropy", dtype="float64")
