"""Changes of the weights that keep the function, under which adaptive sharpness is invariant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective, Sharpness
from landscape.analyses.neighborhood.sharpness_result import SharpnessResult

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> SharpnessResult:
    result: SharpnessResult = landscape.run(Sharpness(**options), objective)
    return result


class Attention(nn.Module):
    """One head without biases: q, k, v, o."""

    def __init__(self) -> None:
        super().__init__()
        for name in "qkvo":
            setattr(self, name, nn.Linear(6, 6, bias=False))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        mixed = functional.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))
        out: Tensor = self.head(self.o(mixed).mean(dim=1))
        return out


def relu_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()


def attention() -> Attention:
    torch.manual_seed(0)
    return Attention().double()


def convolution() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=True), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    ).double()
    with torch.no_grad():
        model[1].running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr, operator]
        model[1].running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    return model


@torch.no_grad()
def layers_ten(model: Any) -> None:
    model[0].weight *= 10
    model[2].weight /= 10


@torch.no_grad()
def units(model: Any) -> None:
    factors = torch.logspace(-1, 1, 8, dtype=torch.float64)
    model[0].weight *= factors[:, None]
    model[2].weight /= factors


@torch.no_grad()
def query_key(model: Any) -> None:
    model.q.weight *= 10
    model.k.weight /= 10


@torch.no_grad()
def value_output(model: Any) -> None:
    model.v.weight *= 10
    model.o.weight /= 10


@torch.no_grad()
def batch_norm(model: Any) -> None:
    model[0].weight *= 10
    model[0].bias *= 10
    model[1].running_mean *= 10
    model[1].running_var.copy_(100 * (model[1].running_var + model[1].eps) - model[1].eps)


def inputs(shape: tuple[int, ...]) -> Data:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(20, *shape, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 3, (20,), generator=generator)


SYMMETRIES: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], None], tuple[int, ...]]] = {
    "ReLU layer x10, next /10": (relu_net, layers_ten, (6,)),
    "ReLU units": (relu_net, units, (6,)),
    "attention Q x10, K /10": (attention, query_key, (5, 6)),
    "attention V x10, O /10": (attention, value_output, (5, 6)),
    "BatchNorm filters x10": (convolution, batch_norm, (1, 4, 4)),
}


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_adaptive_sharpness_is_invariant_where_the_standard_one_is_not(symmetry: str, norm: Any) -> None:
    build, change, shape = SYMMETRIES[symmetry]
    data = inputs(shape)
    before, after = build(), build()
    change(after)
    radius = 0.3 if norm == "l2" else 0.02

    def both(adaptive: Any) -> tuple[SharpnessResult, SharpnessResult]:
        one, other = (Objective(model, [data], "cross_entropy", dtype="float64") for model in (before, after))
        assert float(one.value()) == pytest.approx(float(other.value()), rel=1e-13)
        options = {"adaptive": adaptive, "norm": norm, "rho": (radius,), "draws": 4, "steps": 15}
        return measured(one, **options), measured(other, **options)

    one, other = both("element")
    for name in ("s_max", "s_avg", "scaled_gradient", "s_avg_law"):
        assert np.allclose(getattr(one, name), getattr(other, name), rtol=1e-10), name
    one, other = both("none")
    assert not np.allclose(one.s_max, other.s_max, rtol=0.05)
    if symmetry != "ReLU units":  # those rescale columns of the second layer, which are no filters
        filters = both("filter")
        assert np.allclose(filters[0].s_max, filters[1].s_max, rtol=1e-9)


def test_turning_queries_and_keys_changes_no_standard_measure() -> None:
    """A rotation keeps lengths, so that the round ball is the same; it does not keep |w|."""
    before, after = attention(), attention()
    turn, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    with torch.no_grad():
        after.q.weight.copy_(turn @ after.q.weight)  # type: ignore[operator, union-attr]
        after.k.weight.copy_(turn @ after.k.weight)  # type: ignore[operator, union-attr]
    one, other = (Objective(model, [inputs((5, 6))], "cross_entropy", dtype="float64") for model in (before, after))
    same = [measured(o, adaptive="none", rho=0.3, draws=0, starts=4).s_max for o in (one, other)]
    assert np.allclose(*same, rtol=1e-9)
    changed = [measured(o, adaptive="element", rho=0.3, draws=0, starts=4).s_max for o in (one, other)]
    assert not np.allclose(*changed, rtol=1e-6)
