"""Where the loss is not finite, the remedy is the precision in which it is finite, and no other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from landscape import Objective
from landscape.errors import NumericalError


class Scaled(nn.Module):
    """Multiplies by numbers that may overflow in one precision."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.kind = nn.Linear(2, 1), kind

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        if self.kind == "large":  # 10^60 in between: infinite in float32
            return out * 1e30 * 1e30 / 1e60
        if self.kind == "mask":  # as masks do: the least number of the precision, in float32
            mask = torch.full_like(out.detach(), torch.finfo(out.dtype).min).expand(-1, 2)
            return out + mask.softmax(-1, dtype=torch.float32)[:, :1].to(out.dtype)
        return out / (out * 0)


@pytest.mark.parametrize(
    ("kind", "dtype", "fix"),
    [
        ("large", "float32", "--dtype float64"),
        ("mask", "float64", "--dtype float32, in which they are finite"),
        ("never", "float32", "look for bad samples"),
        ("never", "float64", "look for bad samples"),
    ],
)
def test_the_remedy_is_true(kind: str, dtype: str, fix: str) -> None:
    data = torch.randn(5, 2, generator=torch.Generator().manual_seed(1)), torch.zeros(5, 1)
    objective = Objective(Scaled(kind), data, "mse", dtype=dtype)
    with pytest.raises(NumericalError, match=f"fix:  {fix}"):
        _ = objective.reference
    if kind != "never":
        other = Objective(Scaled(kind), data, "mse", dtype={"float32": "float64", "float64": "float32"}[dtype])
        assert torch.isfinite(torch.tensor(other.reference.loss))


def test_a_gradient_that_is_not_finite_has_the_same_remedy() -> None:
    class Root(Scaled):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.layer(x)
            zero = torch.finfo(out.dtype).tiny / torch.finfo(torch.float32).max / 1e10  # 0 in float32
            return out * torch.sqrt((out.square() * 0 + zero).sum())

    data = torch.ones(3, 2), torch.ones(3, 1)
    with pytest.raises(NumericalError, match="in the gradient: .*\n.*fix:"):
        _ = Objective(Root(""), data, "mse").reference
