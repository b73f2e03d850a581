"""Full-batch gradient descent at three step sizes, with checkpoints along the way, for docs/edge-of-stability.md.

python docs/edge_of_stability.py OUT
landscape track OUT/lr-0.4 --lr 0.4 --loss docs/edge_of_stability.py:half_squared_norm
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

import landscape
from landscape.zoo import digits, mlp

RATES = (0.4, 0.6, 0.8)
STEPS, FIRST_SAVED, SAVE_EVERY = 4000, 2000, 100
SIZES = [64, 32, 10]


def half_squared_norm(output: Tensor, target: Tensor) -> Tensor:
    """|output - target|^2 / 2 of each sample."""
    return ((output - target) ** 2).sum(dim=1) / 2


def begin() -> tuple[torch.nn.Module, Tensor, Tensor]:
    """The net before training, 500 centered digits, and their labels as vectors."""
    inputs, labels = (torch.cat(parts)[:500] for parts in zip(*digits(), strict=True))
    inputs -= inputs.mean(dim=0)  # without this the direction of the mean image is too sharp for the larger steps
    targets = functional.one_hot(labels, 10).float()
    torch.manual_seed(0)
    return mlp(SIZES, "tanh"), inputs, targets


def train(rate: float, folder: Path) -> None:
    """Gradient descent on these digits; saves a checkpoint every 100 steps from step 2000 on."""
    folder.mkdir(parents=True, exist_ok=True)
    model, inputs, targets = begin()
    descent = torch.optim.SGD(model.parameters(), lr=rate)
    spec = {"model": "mlp", "model_args": {"sizes": SIZES, "activation": "tanh"}}
    for step in range(STEPS):
        if step >= FIRST_SAVED and step % SAVE_EVERY == 0:
            landscape.save(folder / f"step-{step}.pt", model, data=(inputs, targets), spec=spec)
        descent.zero_grad()
        half_squared_norm(model(inputs), targets).mean().backward()
        descent.step()


if __name__ == "__main__":
    torch.set_num_threads(1)  # more threads do not speed up such small matrices
    for rate in RATES:
        train(rate, Path(sys.argv[1]) / f"lr-{rate}")
