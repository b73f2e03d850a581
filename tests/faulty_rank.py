"""A model and data of which one rank's do what a test asks for, after some backward passes."""

from __future__ import annotations

import os
import signal
from typing import Any

import torch
from torch import Tensor, nn

FAULT, AFTER = os.environ.get("FAULT", ""), int(os.environ.get("AFTER", "20"))
IS_FAULTY = os.environ.get("RANK", "0") == os.environ.get("FAULTY_RANK", "1")
NETS: list[Net] = []
PASSES = [0, 0]  # backward passes, and loads of the data


class Net(nn.Module):
    """A small net whose backward passes are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 16), nn.Linear(16, 3)
        self.register_buffer("seen", torch.zeros(1))
        NETS.append(self)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.outer(torch.tanh(self.inner(x)))
        if out.requires_grad and IS_FAULTY and FAULT:
            out.register_hook(count)
        return out


def count(gradient: Tensor) -> None:
    PASSES[0] += 1
    if PASSES[0] == AFTER + 1 and FAULT == "term":
        os.kill(os.getpid(), signal.SIGTERM)
    if PASSES[0] > AFTER and FAULT == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if PASSES[0] == AFTER + 1 and FAULT == "buffer":
        for net in NETS:
            net.seen.add_(1)
    if PASSES[0] > AFTER and FAULT == "raise":
        raise ValueError("a bad batch")
    if PASSES[0] > AFTER and FAULT == "memory":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")


def build() -> nn.Module:
    torch.manual_seed(0)
    return Net()


def data() -> Any:
    PASSES[1] += 1
    if IS_FAULTY and (FAULT == "load" or (FAULT == "first load" and PASSES[1] == 1)):
        raise OSError("no such shard on this node")
    generator = torch.Generator().manual_seed(1 if FAULT == "data" and IS_FAULTY else 0)
    return [(torch.randn(64, 6, generator=generator), torch.arange(64) % 3)]
