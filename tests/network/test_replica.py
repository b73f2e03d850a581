"""A copied module reads its parameters from a vector; modules that cannot be copied so have no copy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from landscape.network.replica import replica
from landscape.network.space import ParameterSpace
from landscape.network.wrappers import trainable_parameters


class Net(nn.Module):
    """A tied weight, a frozen parameter and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2, bias=False)
        self.second = nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight
        self.shift = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("scale", torch.full((2,), 3.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.second(self.first(x)) + self.shift


def copy(model: nn.Module) -> tuple[nn.Module | None, Tensor]:
    space = ParameterSpace.of(trainable_parameters(model))
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    fixed = {name: tensor.detach().clone() for name, tensor in tensors.items() if name not in space.names}
    vector = space.flatten({name: p.detach() for name, p in model.named_parameters() if name in space.names}).clone()
    return replica(model, space, vector, fixed), vector


def test_writing_into_the_vector_moves_the_copy_and_not_the_model() -> None:
    model = Net()
    copied, vector = copy(model)
    assert copied is not None
    x = torch.tensor([[1.0, 2.0]])
    before = model(x).detach().clone()
    assert torch.equal(copied(x), before)
    vector.copy_(torch.tensor([0.0, 1.0, 1.0, 0.0]))  # a swap, twice: the identity
    assert torch.equal(copied(x), 3 * x + 1)
    assert torch.equal(model(x), before)


def test_the_copy_needs_no_gradients_and_is_in_eval_mode() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Linear(2, 2)).train()
    copied, _ = copy(model)
    assert copied is not None
    assert not any(p.requires_grad for p in copied.parameters())
    assert not any(module.training for module in copied.modules())
    assert all(module.training for module in model.modules())


def test_a_module_that_hands_itself_back_has_no_copy() -> None:
    class Stubborn(nn.Linear):
        def __deepcopy__(self, memo: Any) -> Stubborn:
            return self

    assert copy(Stubborn(2, 2))[0] is None
