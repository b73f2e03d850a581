"""What --by costs beside the measurement of all samples, and whether rare classes are sharper."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

import landscape
from landscape import Eig, Measures, Objective, Sharpness, Trace
from landscape.zoo.digits import pixels_and_labels

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
CASES = (("digits-mlp", None), ("digits-noisy", None), ("digits-resnet", 256))
ANALYSES: dict[str, tuple[type, dict[str, Any]]] = {
    "eig": (Eig, {}),
    "trace": (Trace, {"rtol": 0.05}),
    "sharpness": (Sharpness, {}),
    "measures": (Measures, {"draws": 0}),
}
NETS = 10  # retrained with other classes rare
SHARES = np.geomspace(1.0, 0.1, 10)  # of the samples of a class that are kept
EPOCHS, RATE = 300, 0.5


def cost(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """The gradients and the time of the processor with --by class, over those without it."""
    del repeats
    table = {}
    for name, limit in CASES:
        for analysis, (kind, options) in ANALYSES.items():
            objective = landscape.load(SAMPLES / f"{name}.pt", device=device, limit=limit)
            landscape.run(kind(**options), objective)  # strategies are chosen, and modules imported
            plain, parts = (_measure(kind(**options, **by), objective) for by in ({}, {"by": "class"}))
            table[f"{analysis}, {name}"] = {
                "gradients": plain[0],
                "by class": parts[0],
                "ratio": parts[0] / plain[0],
                "ratio of time": parts[1] / plain[1],
            }
    return table


def _measure(analysis: Any, objective: Objective) -> tuple[float, float]:
    begin = time.process_time()
    result = landscape.run(analysis, objective)
    return result.cost_gradients, time.process_time() - begin


def rare(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Rank correlations over classes between a class's share of the training data and its curvature and loss."""
    del repeats
    rows: dict[str, list[float]] = {"largest eigenvalue": [], "trace": [], "loss": [], "gradient norm": []}
    for seed in range(NETS):
        objective, shares = _imbalanced(seed, device)
        eig = landscape.run(Eig(k=3, by="class"), objective)
        trace = landscape.run(Trace(rtol=0.05, by="class"), objective)
        found = (eig.population_eigenvalue, trace.population_trace, eig.population_loss, eig.population_gradient_norm)
        for name, values in zip(rows, found, strict=True):
            rows[name].append(float(spearmanr(shares, values).statistic))
    return {
        name: {"mean": float(np.mean(values)), "smallest": min(values), "largest": max(values)}
        for name, values in rows.items()
    }


def _imbalanced(seed: int, device: str) -> tuple[Objective, np.ndarray]:
    """A small net trained on digits of which some classes are rare, and the share of each class."""
    pixels, labels = pixels_and_labels()
    random = np.random.default_rng(seed)
    shares = random.permutation(SHARES)
    keep = np.concatenate(
        [
            random.permutation(np.flatnonzero(labels == label))[: int(shares[label] * (labels == label).sum())]
            for label in range(10)
        ]
    )
    x = torch.tensor(pixels[keep], dtype=torch.float32).reshape(len(keep), -1)
    x, y = (x - x.mean()) / x.std(), torch.tensor(labels[keep], dtype=torch.long)
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(x.shape[1], 24), nn.Tanh(), nn.Linear(24, 10))
    optimizer = torch.optim.SGD(net.parameters(), RATE)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return Objective(net, (x, y), "cross_entropy", device=device), shares


if __name__ == "__main__":
    harness.main(
        "populations",
        {},
        studies={
            "--by class beside all samples": cost,
            "rank correlation of a class's share with its curvature, ten nets": rare,
        },
        threads=1,
    )
