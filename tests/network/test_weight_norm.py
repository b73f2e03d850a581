"""Weight normalization written out has the value of torch's fused form, and the right second derivative."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm

from landscape.network.weight_norm import UnfusedWeightNorm, uses_weight_norm


@pytest.mark.parametrize("dim", [0, 1])
def test_the_value_is_that_of_the_fused_form(dim: int) -> None:
    v, g = torch.randn(3, 4, dtype=torch.float64), torch.rand(3 if dim == 0 else 1, 4 if dim == 1 else 1).double()
    fused = torch._weight_norm(v, g, dim)
    with UnfusedWeightNorm():
        assert torch.allclose(torch._weight_norm(v, g, dim), fused, rtol=1e-14)


def test_the_second_derivative_is_that_of_differences() -> None:
    v, g = torch.randn(2, 3, dtype=torch.float64), torch.rand(2, 1, dtype=torch.float64)

    def value(v: Tensor, g: Tensor) -> Tensor:
        with UnfusedWeightNorm():
            return torch._weight_norm(v, g, 0).tanh()

    assert torch.autograd.gradgradcheck(value, (v.requires_grad_(), g.requires_grad_()))


def test_other_functions_are_left_as_they_are() -> None:
    x = torch.randn(3)
    with UnfusedWeightNorm():
        assert torch.equal(torch.tanh(x), x.tanh())


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_models_with_weight_norm_are_recognized_in_both_forms() -> None:
    assert uses_weight_norm(nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2))))
    assert uses_weight_norm(nn.Sequential(weight_norm(nn.Linear(2, 2))))
    assert not uses_weight_norm(nn.Sequential(nn.Linear(2, 2), parametrizations.orthogonal(nn.Linear(2, 2))))
