"""Outputs that are probabilities are never taken for logits, and are measured as what they are if the user says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective
from landscape.errors import TaskError, UsageError

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(40, 5, generator=GENERATOR)
Y = torch.randint(0, 3, (40,), generator=GENERATOR)
YES = (Y > 0).float()[:, None]


def binary() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))


class Own(nn.Module):
    """A softmax or sigmoid written out."""

    def __init__(self, net: nn.Module, kind: str) -> None:
        super().__init__()
        self.net, self.kind = net, kind

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.net(x)
        return z.exp() / z.exp().sum(1, keepdim=True) if self.kind == "softmax" else 1 / (1 + (-z).exp())


PROBABILITIES: dict[str, tuple[nn.Module, Tensor, Any]] = {
    "softmax, no loss named": (nn.Sequential(tanh_net(), nn.Softmax(1)), Y, None),
    "softmax, named": (nn.Sequential(tanh_net(), nn.Softmax(1)), Y, "cross_entropy"),
    "softmax of its own": (Own(tanh_net(), "softmax"), Y, None),
    "softmax, torch's module": (nn.Sequential(tanh_net(), nn.Softmax(1)), Y, nn.CrossEntropyLoss()),
    "softmax, weighted": (nn.Sequential(tanh_net(), nn.Softmax(1)), Y, nn.CrossEntropyLoss(weight=torch.ones(3))),
    "sigmoid": (nn.Sequential(binary(), nn.Sigmoid()), YES, "bce"),
    "sigmoid of its own": (Own(binary(), "sigmoid"), YES, nn.BCEWithLogitsLoss()),
}


@pytest.mark.parametrize("case", PROBABILITIES.values(), ids=list(PROBABILITIES))
def test_probabilities_are_refused_with_the_option_that_says_what_they_are(case: tuple[nn.Module, Tensor, Any]) -> None:
    model, targets, loss = case
    with pytest.raises(TaskError, match=r"outputs look like probabilities.*\n.*\n.*--outputs probabilities"):
        Objective(model, (X, targets), loss)


@pytest.mark.parametrize("outputs", ["probabilities", "log-probabilities"])
@pytest.mark.parametrize("kind", ["classes", "binary"])
def test_converted_outputs_have_the_curvature_of_the_logits(outputs: str, kind: str) -> None:
    if kind == "classes":
        net, targets, loss = tanh_net(), Y, "cross_entropy"
        last: nn.Module = nn.Softmax(1) if outputs == "probabilities" else nn.LogSoftmax(1)
    else:
        net, targets, loss = binary(), YES, "bce"
        last = nn.Sigmoid() if outputs == "probabilities" else nn.LogSigmoid()
    plain = Objective(net, (X, targets), loss, dtype="float64")
    converted = Objective(nn.Sequential(net, last), (X, targets), loss, dtype="float64", outputs=outputs)  # type: ignore[arg-type]
    assert float(converted.value()) == pytest.approx(float(plain.value()), rel=1e-10)
    for operator in ("hessian", "ggn", "fisher"):
        one, other = (
            landscape.run(landscape.Eig(k=2, operator=operator), o).eigenvalues  # type: ignore[arg-type]
            for o in (plain, converted)
        )
        assert np.allclose(one, other, rtol=1e-6)
    assert converted.identity()["loss"] == f"{loss} of {outputs}"


def test_logits_that_look_like_probabilities_may_be_called_logits() -> None:
    objective = Objective(nn.Sequential(tanh_net(), nn.Softmax(1)), (X, Y), "cross_entropy", outputs="logits")
    expected = functional.cross_entropy(tanh_net()(X).softmax(1), Y)
    assert float(objective.value()) == pytest.approx(float(expected.detach()), rel=1e-6)


def test_logarithms_of_probabilities_are_their_own_logits() -> None:
    logs = Objective(nn.Sequential(tanh_net(), nn.LogSoftmax(1)), (X, Y))
    assert float(logs.value()) == pytest.approx(float(Objective(tanh_net(), (X, Y)).value()), rel=1e-6)


@pytest.mark.parametrize("net", [tanh_net(), nn.Sequential(tanh_net(), nn.Softmax(1))], ids=["logits", "probabilities"])
def test_nll_loss_takes_logarithms_of_probabilities_alone(net: nn.Module) -> None:
    with pytest.raises(TaskError, match=r"NLLLoss takes logarithms of probabilities, and the outputs are none"):
        Objective(net, (X, Y), nn.NLLLoss())


def test_zero_logits_of_a_dead_head_are_logits() -> None:
    model = binary()
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    assert float(Objective(model, (X, YES), "bce").value()) == pytest.approx(np.log(2), rel=1e-6)


def test_the_option_is_refused_where_it_means_nothing() -> None:
    with pytest.raises(UsageError, match=r"--outputs probabilities means nothing to loss mse"):
        Objective(tanh_net(), (X, torch.randn(40, 3)), "mse", outputs="probabilities")
