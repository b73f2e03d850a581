"""The leaves of a graph, and a backward pass that touches only those that are wanted."""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

from landscape.network.graph_leaves import backward, graph_leaves


def test_the_leaves_of_a_graph_are_found_once_each() -> None:
    a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    unused = torch.ones(2, requires_grad=True)
    found = graph_leaves((a * b + a.detach() * a).sum())
    assert set(found) == {id(a), id(b)}
    assert id(unused) not in found
    assert graph_leaves(torch.ones(())) == {}


def test_a_backward_pass_touches_the_wanted_leaves_alone() -> None:
    a, b = torch.ones(2, requires_grad=True), torch.full((2,), 3.0, requires_grad=True)
    b.grad = torch.full((2,), 7.0)
    found = gradients((a * b).sum(), a=a)
    assert found == {"a": [[3, 3]]}
    assert a.grad is None
    assert b.grad.tolist() == [7, 7]


def test_what_a_backward_pass_inside_of_the_computation_left_does_not_count() -> None:
    a = torch.full((2,), 2.0, requires_grad=True)
    x = torch.full((2,), 3.0, requires_grad=True)
    (a * a * x).sum().backward()
    assert x.grad is not None
    assert gradients((a * x.grad.sum()).sum(), a=a) == {"a": [[8, 8]]}


def test_a_leaf_is_visited_again_for_what_a_backward_pass_of_its_own_adds() -> None:
    a, b = torch.full((2,), 2.0, requires_grad=True), torch.ones(2, requires_grad=True)

    def inner(a: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = checkpoint(lambda z: z * a, b, use_reentrant=True)
        return out

    found = gradients((inner(a) + a).sum(), a=a)
    assert sum(torch.tensor(part) for part in found["a"]).tolist() == [2, 2]  # type: ignore[union-attr]
    assert len(found["a"]) == 2


def gradients(total: torch.Tensor, **leaves: torch.Tensor) -> dict[str, list[list[float]]]:
    """The visited parts of the gradient by the names of the leaves."""
    found: dict[str, list[list[float]]] = {}
    backward(total, leaves, lambda name, part: found.setdefault(name, []).append(part.tolist()))
    return found
