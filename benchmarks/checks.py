"""What the checks of model, loss and data cost: of the command's work, of a measurement, and in gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import harness
import torch
from torch import nn

import landscape
from landscape.objective import preparation
from landscape.objective.checks import closing

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
PLACES = ((preparation, "MODEL_CHECKS"), (preparation, "OPENING_CHECKS"), (closing, "CLOSING_CHECKS"))
LARGE_WIDTH, LARGE_LAYERS = 4096, 6  # 100 million parameters


@contextmanager
def only_independence() -> Iterator[None]:
    """Within the block no check is made but the one that decides how data are joined, as before there were others."""
    kept = [(module, name, getattr(module, name)) for module, name in PLACES]
    try:
        for module, name, checks in kept:
            setattr(module, name, tuple(check for check in checks if check.name == "independence"))
        yield
    finally:
        for module, name, checks in kept:
            setattr(module, name, checks)


def small(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Seconds of loading and measuring with and without the checks, and the checks' share of both together."""
    found = {}
    for name in ("digits-mlp", "digits-resnet"):

        def measure(name: str = name) -> None:
            objective = landscape.load(SAMPLES / f"{name}.pt", device=device)
            landscape.run(landscape.Eig(k=1), objective)

        def without(measure: object = measure) -> None:
            with only_independence():
                measure()  # type: ignore[operator]

        seconds = harness.interleaved({"with": measure, "without": without}, repeats, device)
        share = seconds["with"] / seconds["without"] - 1
        found[name] = {"seconds": seconds["with"], "seconds without": seconds["without"], "share of checks": share}
    return found


def large(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Seconds of all checks of a net with 100 million parameters, in gradients of eight samples."""
    torch.manual_seed(0)
    layers = [part for _ in range(LARGE_LAYERS) for part in (nn.Linear(LARGE_WIDTH, LARGE_WIDTH), nn.GELU())]
    model = nn.Sequential(*layers, nn.Linear(LARGE_WIDTH, 10))
    batch = torch.randn(8, LARGE_WIDTH), torch.arange(8) % 10

    def build() -> landscape.Objective:
        return landscape.Objective(model, batch, "cross_entropy", device=device)

    def bare() -> landscape.Objective:
        with only_independence():
            return build()

    objective = build()
    before = closing.begin(objective)

    def close(multiplies: bool = True) -> None:
        closing.check_afterwards(objective, before, differentiates=True, multiplies=multiplies)

    jobs = {
        "build": build,
        "bare": bare,
        "close": close,
        "close without products": lambda: close(multiplies=False),
        "gradient": objective.gradient,
    }
    seconds = harness.interleaved(jobs, repeats, device)
    gradient = seconds["gradient"]
    opening = max(seconds["build"] - seconds["bare"], 0.0)
    rows = {
        "before": opening,
        "after, with products": seconds["close"],
        "after, without": seconds["close without products"],
        "all checks": opening + seconds["close"],
    }
    return {name: {"seconds": own, "in gradients of 8 samples": own / gradient} for name, own in rows.items()}


if __name__ == "__main__":
    harness.main("checks", {"Checks of eig -k 1": small, "Checks of 100 million parameters": large})
