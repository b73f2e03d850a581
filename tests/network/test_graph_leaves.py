"""The leaves of a graph, and a backward pass that touches only those that are wanted."""

from __future__ import annotations

import torch

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
    backward((a * b).sum(), [a])
    assert a.grad is not None
    assert a.grad.tolist() == [3, 3]
    assert b.grad.tolist() == [7, 7]


def test_what_a_backward_pass_inside_of_the_computation_left_does_not_count() -> None:
    a = torch.full((2,), 2.0, requires_grad=True)
    x = torch.full((2,), 3.0, requires_grad=True)
    (a * a * x).sum().backward()
    assert x.grad is not None
    backward((a * x.grad.sum()).sum(), [a])
    assert a.grad is not None
    assert a.grad.tolist() == [8, 8]
