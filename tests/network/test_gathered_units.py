"""Units are functions of their weights and of what they are given; what is more is refused, and nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest
import sharded_models
import torch
from torch import Tensor, nn

import landscape
from landscape.errors import TaskError
from landscape.objective.sharded.objective import ShardedObjective


class Conditioned(nn.Module):
    """A module that multiplies by what another has left in it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 5) / 2)
        self.condition: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        assert self.condition is not None
        return torch.tanh(x @ self.weight) * self.condition


class ByAttribute(nn.Module):
    """A module that gets a tensor by an attribute: computed by another module, a loose weight, or a constant."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.first, self.other, self.head, self.inner = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3), Conditioned()
        self.loose = nn.Parameter(torch.rand(5))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(5, 5), nn.Tanh()) for _ in range(2)
        )  # a root with blocks is no unit
        self.source = source

    def forward(self, x: Tensor) -> Tensor:
        conditions = {"module": torch.tanh(self.other(x)), "loose": self.loose * 2, "constant": torch.tanh(x)}
        conditions["leaf"] = self.loose
        vars(self.inner)["condition"] = conditions[self.source]
        hidden = self.blocks[1](self.blocks[0](self.first(x))) + self.other(x) * self.loose
        logits: Tensor = self.head(self.inner(hidden))
        return logits


class Block(nn.Module):
    """A layer that leaves a second output somewhere."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.layer, self.probe, self.place = nn.Linear(5, 5), nn.Linear(5, 3), place
        self.side: Any = None

    def forward(self, x: Tensor, kept: Any = None) -> Tensor:
        side = self.probe(x)
        if self.place == "attribute":
            self.side = side
        elif self.place == "detached":
            self.side = side.detach()
        elif self.place == "list":
            kept.append(side)
        elif self.place == "dictionary":
            kept[len(kept)] = side
        elif self.place == "input":
            x += 1
        return torch.tanh(self.layer(x))


class WithSides(nn.Module):
    """Blocks whose second outputs are part of the output."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.blocks, self.head, self.place = nn.ModuleList([Block(place), Block(place)]), nn.Linear(5, 3), place

    def forward(self, x: Tensor) -> Tensor:
        kept: Any = {} if self.place == "dictionary" else []
        hidden = x
        for block in self.blocks:
            hidden = block(hidden, kept) if self.place in ("list", "dictionary") else block(hidden)
        sides = [block.side for block in self.blocks if block.side is not None]
        sides += list(kept.values() if isinstance(kept, dict) else kept)
        logits: Tensor = self.head(hidden)
        return logits + 0.01 * torch.stack(sides).sum(dim=0) if sides else logits


class Vectorized(nn.Module):
    """A module that is called inside of torch.func.vmap."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.func.vmap(self.layer)(x)


class Forces(nn.Module):
    """An energy whose gradient in the inputs is part of the output; `graph` says whether that can be differentiated."""

    def __init__(self, *, graph: bool) -> None:
        super().__init__()
        self.layer, self.head, self.graph = nn.Linear(5, 5), nn.Linear(5, 3), graph

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            points = x.detach().requires_grad_()
            energy = torch.tanh(self.layer(points)).sum()
            (force,) = torch.autograd.grad(energy, points, create_graph=self.graph)
        logits: Tensor = self.head(x + force)
        return logits


class Cast(nn.Module):
    """Layers in another precision."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            hidden = torch.tanh(self.second(torch.tanh(self.first(x))))
        logits: Tensor = self.head(hidden.to(x.dtype))
        return logits


def in_parts(model: nn.Module, **options: Any) -> ShardedObjective:
    data = sharded_models.REALS, sharded_models.LABELS
    objective = ShardedObjective(model, data, "cross_entropy", **options)
    objective.value_and_gradient()
    return objective


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: ByAttribute("module"), "Conditioned uses a tensor that it is not given"),
        (lambda: ByAttribute("leaf"), "Conditioned uses a tensor that it is not given"),
        (lambda: ByAttribute("loose"), "Conditioned uses a tensor that it is not given"),
        (lambda: WithSides("attribute"), "a module leaves a tensor in an attribute or a list"),
        (lambda: WithSides("list"), "Block writes into a list or a dictionary that it is given"),
        (lambda: WithSides("dictionary"), "Block writes into a list or a dictionary that it is given"),
        (lambda: WithSides("input"), "Block writes into a tensor that it is given"),
        (Vectorized, "Linear runs inside of torch.func.vmap"),
        (lambda: Forces(graph=True), "the model differentiates Linear inside of its forward pass"),
        (lambda: Forces(graph=False), "the model differentiates Linear inside of its forward pass"),
    ],
    ids=[
        "from-a-module",
        "a-weight",
        "from-a-weight",
        "attribute",
        "list",
        "dictionary",
        "input",
        "vmap",
        "forces",
        "constant-forces",
    ],
)
def test_what_is_no_function_of_what_it_is_given_is_refused(model: Any, words: str) -> None:
    torch.manual_seed(1)
    with pytest.raises(TaskError, match=words):
        in_parts(model())


@pytest.mark.parametrize("model", [lambda: ByAttribute("constant"), lambda: WithSides("detached"), Cast])
def test_what_has_no_derivative_may_go_other_ways(model: Any) -> None:
    torch.manual_seed(1)
    net = model()
    data, state = (sharded_models.REALS, sharded_models.LABELS), net.state_dict()
    whole = landscape.Objective(net, data, "cross_entropy")
    torch.manual_seed(1)
    other = model()
    other.load_state_dict(state)
    parts = in_parts(other)
    found, expected = (landscape.run(landscape.Eig(k=1, tol=1e-4), one) for one in (parts, whole))
    assert found.eigenvalues == pytest.approx(expected.eigenvalues, rel=2e-3)


def test_a_forward_of_the_user_s_own_is_there_again() -> None:
    model = sharded_models.mlp()
    layer = model[0]
    plain = layer.forward

    def doubled(x: Tensor) -> Tensor:
        return 2 * plain(x)

    layer.forward = doubled
    in_parts(model)
    assert layer.forward is doubled
    assert "forward" not in vars(model[2])
