"""The tensors at which a block of a model begins its own graph, and who else uses what was computed from them.

A block that runs again from its inputs sees nothing but them. What it takes from elsewhere, or leaves elsewhere, has a
graph that leads past them, and the derivatives through it would be lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

MARK = "_begins_block"  # an attribute of the tensors at which a block begins


def as_leaves(tensors: Sequence[Tensor], needed: Sequence[bool]) -> list[Tensor]:
    """The tensors without their graph, as those at which a block begins; those that are needed require gradients."""
    leaves = [tensor.detach().requires_grad_(wanted) for tensor, wanted in zip(tensors, needed, strict=True)]
    for leaf in leaves:
        setattr(leaf, MARK, True)
    return leaves


def uses_others(
    outputs: Iterable[Tensor], own: Iterable[Tensor], outer: Iterable[Tensor] | None = None, since: int = 0
) -> bool:
    """Whether the graph of a block's outputs reaches what is not its own.

    That are `outer` leaves, leaves of other blocks, and operations before number `since`, at which the block began.
    Without `outer` all leaves but its `own` count, also those that the block makes for itself.
    """
    known, others = {id(tensor) for tensor in own}, {id(tensor) for tensor in outer or ()}

    def is_stranger(node: Any) -> bool:
        """Whether a node of the graph stands for something that is not the block's."""
        leaf = node if isinstance(node, Tensor) else getattr(node, "variable", None)
        if leaf is None:
            return bool(node._sequence_nr() < since)
        if not leaf.requires_grad or id(leaf) in known:
            return False
        return outer is None or id(leaf) in others or hasattr(leaf, MARK)

    return any(is_stranger(node) for node in _graph(outputs))


def operations_so_far() -> int:
    """The number of the next operation that is recorded in a graph."""
    return int(torch.autograd._get_sequence_nr())  # type: ignore[attr-defined]


def leaks(outputs: Iterable[Tensor]) -> bool:
    """Whether the graph of a model's outputs reaches the inside of a block: it left a tensor where another took it."""
    return any(hasattr(getattr(node, "variable", node), MARK) for node in _graph(outputs))


def _graph(outputs: Iterable[Tensor]) -> Iterator[Any]:
    """The nodes of a graph, and outputs that are leaves."""
    waiting: list[Any] = [output.grad_fn if output.grad_fn is not None else output for output in outputs]
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, Tensor):
            yield node
        elif node is not None and node not in seen:
            seen.add(node)
            yield node
            waiting.extend(following for following, _ in node.next_functions)
