"""A graph network, and data whose batches are graphs with edge lists: each one is a unit that cannot be cut."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Graph = tuple[tuple[Tensor, Tensor], Tensor]
SIZES = ((6, 14), (5, 9), (7, 7))  # nodes and edges; the last has as many of both


class GraphNet(nn.Module):
    """Classes of nodes from their own features and their neighbors'."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.own, self.classes = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Logits `(nodes, 3)` from features `(nodes, 3)` and edges `(2, E)`."""
        hidden = torch.tanh(self.own(x))
        messages = torch.zeros_like(hidden).index_add(0, edges[1], hidden[edges[0]])
        return self.classes(hidden + messages)


def graphs() -> list[Graph]:
    """Three graphs with labels of their nodes."""
    random = torch.Generator().manual_seed(0)
    return [
        (
            (
                torch.randn(nodes, 3, generator=random, dtype=torch.float64),
                torch.randint(nodes, (2, edges), generator=random),
            ),
            torch.randint(3, (nodes,), generator=random),
        )
        for nodes, edges in SIZES
    ]
