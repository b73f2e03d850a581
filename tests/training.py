"""Small trainings that draw random numbers everywhere, and all of their state that a measurement could change."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from landscape.compute.random_state import global_states

Watch = Callable[[nn.Module, int], object]


def samples() -> tuple[Tensor, Tensor]:
    """48 samples of 5 features in 3 classes."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(48, 5, generator=generator), torch.randint(0, 3, (48,), generator=generator)


def dropout_net() -> nn.Sequential:
    """A net with what depends on the mode and on random numbers, the same each time."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3))


def seed_everything() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def watch_steps(watch: Watch, model: nn.Module, *steps: int) -> None:
    """Calls a monitor at some steps of a training that does not move."""
    for step in steps:
        watch(model, step)


def bits(value: Any) -> Any:
    """Tensors in dictionaries and lists as their bytes, so that `==` compares bit for bit."""
    if isinstance(value, Tensor):
        return value.dtype, tuple(value.shape), value.detach().contiguous().view(-1).numpy().tobytes()
    if isinstance(value, dict):
        return {name: bits(part) for name, part in value.items()}
    return [bits(part) for part in value] if isinstance(value, list | tuple) else value


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> dict[str, Any]:
    """Weights, buffers, gradients, modes and flags of a model, its optimizer's state, and the generators'."""
    return {
        "weights": bits(dict(model.state_dict())),
        "gradients": {name: None if p.grad is None else bits(p.grad) for name, p in model.named_parameters()},
        "flags": {name: p.requires_grad for name, p in model.named_parameters()},
        "modes": {name: module.training for name, module in model.named_modules()},
        "optimizer": None if optimizer is None else bits(optimizer.state_dict()),
        "random numbers": global_states(),
    }


def loop(watch: Watch | None = None, *, epochs: int = 2) -> dict[str, Any]:
    """A training of 6 steps an epoch, watched between the backward pass and the step; returns all of its state."""
    model, loader = dropout_net(), DataLoader(TensorDataset(*samples()), batch_size=8, shuffle=True)
    return train(model, loader, watch, epochs=epochs)


def train(model: nn.Module, loader: DataLoader[Any], watch: Watch | None = None, *, epochs: int = 2) -> dict[str, Any]:
    """Trains a model by a loader with Adam, and returns all of the training's state; every step draws numbers."""
    seed_everything()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses, step = [], 0
    for _ in range(epochs):
        for x, y in loader:
            noisy = x + 0.1 * random.random() + 0.1 * np.random.rand()
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(noisy), y)
            loss.backward()
            losses.append(loss.item())
            if watch is not None:
                watch(model, step)
            optimizer.step()
            step += 1
    return {**state_of(model, optimizer), "losses": losses}
