"""A model of repeated blocks that have side outputs, a mask, dropout and a parameter outside of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

REALS = torch.randn(7, 5, generator=torch.Generator().manual_seed(3))
LABELS = torch.arange(7) % 3


class Block(nn.Module):
    """A residual block with dropout, which takes a mask and returns a pair."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.inner, self.outer, self.drop = nn.Linear(width, 6), nn.Linear(6, width), nn.Dropout(0.5)
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, x: Tensor, *, mask: Tensor, note: str = "") -> tuple[Tensor, dict[str, Any]]:
        inside = torch.tanh(self.inner(x)) * self.scale
        return x + self.drop(self.outer(inside)) * mask, {"kept": mask, "side": inside.mean(), "note": note}


class Stack(nn.Module):
    """Blocks whose second outputs matter too, and a head that shares a parameter with a block."""

    def __init__(self, block: Callable[[], nn.Module] = Block, depth: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(5, 4)
        self.blocks = nn.ModuleList(block() for _ in range(depth))
        self.head = nn.Linear(4, 6)
        if isinstance(self.blocks[0], Block):
            self.head.weight = self.blocks[0].inner.weight

    def forward(self, x: Tensor) -> Tensor:
        hidden, side = self.stem(x), torch.zeros(())
        mask = (x[:, :1] > 0).to(x.dtype)
        for block in self.blocks:
            hidden, others = block(hidden, mask=mask, note="here")
            side = side + others["side"]
        logits: Tensor = self.head(hidden) + side
        return logits
