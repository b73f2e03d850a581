"""Trains the nets of docs/surface.md, deterministically: python docs/surfaces.py OUT (about 12 minutes on one core)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "sample_checkpoints"))

from train import concatenate, fit, fresh, report

import landscape
from landscape.zoo import digits

SEEDS = (0, 1, 2)
SMALL_BATCH, LARGE_BATCH = 16, 650  # samples


def train_convolutional(out: Path, name: str, *, seed: int, model: dict[str, Any], **training: Any) -> None:
    """Trains a residual net on the digits, or the same net without shortcuts, with SGD, and saves it."""
    net = fresh("resnet", seed=seed, **model)
    data = {"split": "train", "images": True}
    fit(net, *concatenate(digits(**data)), momentum=0.9, seed=seed, **training)
    spec = {"model": "resnet", "model_args": model, "data_args": data}
    landscape.save(out / f"{name}.pt", net, data="digits", loss="cross_entropy", spec=spec)
    report(name, net, train=digits(**data), test=digits("test", images=True))


def train_batch_sizes(out: Path, seed: int) -> None:
    """Trains one net in small and large batches, with and without weight decay (Li et al. 2018, section 5)."""
    for decay in (0.0, 0.01):
        for size in (SMALL_BATCH, LARGE_BATCH):
            train_convolutional(
                out, f"batch-{size}-decay-{decay:g}-seed-{seed}", seed=seed, model={"blocks": 1, "width": 8},
                epochs=60, lr=0.05 if size == SMALL_BATCH else 0.1, batch_size=size, weight_decay=decay,
            )  # fmt: skip


def train_shortcuts(out: Path, seed: int) -> None:
    """Trains nets of 20 layers with and without shortcuts (Li et al. 2018, section 6)."""
    for skip in (True, False):
        train_convolutional(
            out, f"{'skip' if skip else 'plain'}-seed-{seed}", seed=seed,
            model={"blocks": 3, "width": 8, "skip": skip},
            epochs=25, lr=0.05, batch_size=128, weight_decay=5e-4,
        )  # fmt: skip


def train_wide(out: Path, seed: int) -> None:
    """Trains a wide fully connected net, to be aligned with one of another seed."""
    arguments = {"sizes": [64, 512, 512, 10], "activation": "relu"}
    net = fresh("mlp", seed=seed, **arguments)
    fit(net, *concatenate(digits()), epochs=30, lr=1e-3, batch_size=64, seed=seed)
    spec = {"model": "mlp", "model_args": arguments, "data_args": {"split": "train"}}
    landscape.save(out / f"wide-seed-{seed}.pt", net, data="digits", loss="cross_entropy", spec=spec)
    report(f"wide-seed-{seed}", net, train=digits(), test=digits("test"))


if __name__ == "__main__":
    torch.set_num_threads(1)  # the order of sums, and so the last bits of the weights, depends on it
    torch.use_deterministic_algorithms(True)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        for train in (train_wide, train_batch_sizes, train_shortcuts):
            train(folder, seed)
