"""What an objective given as a function costs beside the same loss given by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import harness
from torch import Tensor, nn
from torch.nn import functional

import landscape

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
MEASUREMENTS = {
    "eig -k 3": landscape.Eig(k=3),
    "trace": landscape.Trace(rtol=0.1),
    "surface, 7 x 7": landscape.Surface(grid=7),
    "flatness": landscape.Flatness(),
}


def by_sample(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Each sample's cross-entropy."""
    return functional.cross_entropy(model(batch[0]), batch[1], reduction="none")


def ratios(device: str, repeats: int) -> dict[str, dict[str, Any]]:
    """Seconds by name and by a function that returns each sample's loss, and their ratio, by net and measurement."""
    found = {}
    for name, limit in (("digits-mlp", None), ("digits-resnet", 256)):
        named = landscape.load(SAMPLES / f"{name}.pt", device=device, limit=limit)
        batches = [(batch.inputs, batch.targets) for batch in named.batches]
        own = landscape.Objective(named.model, batches, objective=by_sample, device=device)
        for title, analysis in MEASUREMENTS.items():
            jobs = {
                kind: lambda objective=objective, analysis=analysis: landscape.run(analysis, objective)
                for kind, objective in (("by name", named), ("by function", own))
            }
            seconds = harness.interleaved(jobs, repeats, device)
            found[f"{name}, {title}"] = {**seconds, "ratio": seconds["by function"] / seconds["by name"]}
    return found


if __name__ == "__main__":
    harness.main("objectives", {"An objective by sample": ratios})
