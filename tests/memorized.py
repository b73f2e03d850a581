"""Objectives with populations, and short measurements of memorization and edit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Edit, Memorization, Objective, zoo
from landscape.analyses.memorization.edit_result import EditResult
from landscape.analyses.memorization.memorization_result import MemorizationResult

FEW: dict[str, Any] = {"bands": (0.1, 0.5), "controls": 1, "resamples": 50}  # options of a short measurement


def fit_net(data: tuple[Tensor, Tensor], **options: Any) -> Objective:
    """A net of 5 -> 6 -> 4 -> 3 fitted to the first 16 of 24 samples, and three populations of them."""
    x, y = data
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    optimizer = torch.optim.Adam(net.parameters(), 0.03)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(net(x[:16]), y[:16]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    populations = {"memorized": (x[:6], y[:6]), "clean": (x[6:16], y[6:16]), "held-out": (x[16:], y[16:])}
    return Objective(net, (x[:16], y[:16]), "cross_entropy", populations=populations, **options)


def random_texts() -> Objective:
    """A transformer of one layer on random texts; four further texts are the memorized population."""
    torch.manual_seed(0)
    net = zoo.char_transformer(vocabulary=9, length=8, width=8, heads=2, layers=1)
    ids = torch.randint(0, 9, (14, 9), generator=torch.Generator().manual_seed(0))
    pairs = {"memorized": (ids[:4, :-1], ids[:4, 1:]), "clean": (ids[4:, :-1], ids[4:, 1:])}
    return Objective(net, (ids[4:, :-1], ids[4:, 1:]), "cross_entropy", populations=pairs)


def self_describing(data: tuple[Tensor, Tensor], folder: Path) -> Objective:
    """The fitted net as a checkpoint that describes itself."""
    path = folder / "own" / "net.pt"
    path.parent.mkdir(exist_ok=True)
    spec = {"model": "mlp", "model_args": {"sizes": [5, 6, 4, 3], "activation": "tanh"}}
    landscape.save(path, fit_net(data).model, data=(data[0][:16], data[1][:16]), loss="cross_entropy", spec=spec)
    return landscape.load(path)


def memorization_of(objective: Objective, **options: Any) -> MemorizationResult:
    """A short measurement of memorization, with other options where given."""
    result: MemorizationResult = landscape.run(Memorization(**{**FEW, **options}), objective)
    return result


def edit_of(objective: Objective, **options: Any) -> EditResult:
    """An edit that is measured, and not written."""
    result: EditResult = landscape.run(Edit(**options), objective)
    return result
