"""The leaves of an autograd graph: which there are, and backward passes that take care of their gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def graph_leaves(total: Tensor) -> dict[int, Tensor]:
    """The leaves that a scalar depends on, by identity."""
    nodes: list[Any] = [total.grad_fn]
    found: dict[int, Tensor] = {}
    seen: set[Any] = set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [following for following, _ in node.next_functions]
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            found[id(variable)] = variable
    return found


@contextmanager
def hand_over_gradients(leaves: Mapping[str, Tensor], visit: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Calls `visit(name, gradient)` as soon as a backward pass has the gradient in a leaf, and keeps no gradient.

    `torch.autograd.grad` returns zeros without memory for these leaves. No two gradients are held at once.
    """

    def hook_of(name: str) -> Callable[[Tensor], Tensor]:
        """The hook of one leaf."""

        def hand_over(gradient: Tensor) -> Tensor:
            """Visits the gradient; zeros take its place."""
            visit(name, gradient.to_dense() if gradient.is_sparse else gradient)
            return torch.zeros((), dtype=gradient.dtype, device=gradient.device).expand(gradient.shape)

        return hand_over

    handles = [leaf.register_hook(hook_of(name)) for name, leaf in leaves.items()]  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def backward(total: Tensor, wanted: Mapping[str, Tensor], visit: Callable[[str, Tensor], None]) -> None:
    """Calls `visit(name, gradient)` with the gradients of a scalar that `Tensor.backward` adds to the `wanted` leaves.

    Unlike `torch.autograd.grad` this includes what a module adds in a backward pass of its own, for which a leaf is
    visited again. What backward passes in the computation of the scalar left in a leaf does not count. Leaves that are
    the user's keep their `grad`.
    """

    def hook_of(name: str) -> Callable[[Tensor], None]:
        """The hook of one leaf."""

        def take(leaf: Tensor) -> None:
            """Visits what has come, and keeps nothing."""
            gradient, leaf.grad = leaf.grad, None
            if gradient is not None:
                visit(name, gradient.to_dense() if gradient.is_sparse else gradient)

        return take

    for leaf in wanted.values():
        leaf.grad = None
    hooks = [
        leaf.register_post_accumulate_grad_hook(hook_of(name))  # type: ignore[no-untyped-call]
        for name, leaf in wanted.items()
    ]
    kept = {id(leaf) for leaf in wanted.values()}
    others = [(leaf, leaf.grad) for key, leaf in graph_leaves(total).items() if key not in kept]
    for leaf, _ in others:
        leaf.grad = None
    try:
        torch.autograd.backward(total)
    finally:
        for hook in hooks:
            hook.remove()
        for leaf, gradient in others:
            leaf.grad = gradient
