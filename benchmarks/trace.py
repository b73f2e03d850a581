"""The trace with and without a split into an exact part and a rest: time in gradients, and wrong choices' cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import harness
import torch
from torch import Tensor, nn

import landscape
from landscape import Objective, Trace
from landscape.analyses import trace_split
from landscape.operators import HessianOperator
from landscape.operators.exact_trace import exact_trace

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
CASES = ("digits-noisy", None), ("digits-mlp", None), ("digits-resnet", 256), ("digits-resnet", 64)


@contextmanager
def decided(splits: bool | None) -> Iterator[None]:
    """Within it the trace is always split, never, or as the pilot says."""
    decide, may = trace_split._pays, trace_split.may_split
    if splits is not None:
        trace_split._pays = lambda *_: splits
        trace_split.may_split = may if splits else lambda *_: False
    try:
        yield
    finally:
        trace_split._pays, trace_split.may_split = decide, may


def compared(objective: Objective, repeats: int, rtol: float = 0.01) -> dict[str, float]:
    """Gradients to a half-width of 1 %, with the pilot's choice and with either way alone."""
    operator = HessianOperator(objective)
    operator.matmat(operator.like[:, None].expand(-1, 8).contiguous())  # so that no trial of strategies is timed
    row: dict[str, float] = {"parameters": objective.space.size}
    row["exact part"] = harness.gradients_of(objective, lambda: exact_trace(objective), repeats)
    result = landscape.run(Trace(rtol=rtol), objective)
    row["split"] = float(result.known_trace is not None)
    row["products"] = result.products
    for name, splits in (("auto", None), ("never split", False), ("always split", True)):
        with decided(splits):
            row[name] = harness.gradients_of(objective, lambda: landscape.run(Trace(rtol=rtol), objective), repeats)
    ways = row["never split"], row["always split"]
    row["regret"] = ways[result.known_trace is not None] / min(ways) - 1  # of the way chosen, by the same clock
    return row


def samples(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """The samples; on the last a split does not pay."""
    table = {}
    for name, count in CASES:
        objective = landscape.load(SAMPLES / f"{name}.pt", device=device, limit=count)
        table[f"{name}, {objective.batches.samples}"] = compared(objective, min(repeats, 3))
    return table


def small_nets(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Twelve nets by activation, loss and how well they fit."""
    del repeats
    table = {}
    for name, model, data, loss in nets():
        table[name] = compared(Objective(model, data, loss, device=device), 3)
    return table


def nets() -> Iterator[tuple[str, nn.Module, tuple[Tensor, Tensor], str]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 20, generator=generator)
    labels = (x[:, :3].sum(dim=1) > 0).long() + (x[:, 3] > 1).long()
    numbers = torch.sin(x[:, :1]) + 0.3 * torch.randn(400, 1, generator=generator)
    images, kinds = torch.randn(128, 3, 12, 12, generator=generator), torch.randint(0, 10, (128,), generator=generator)
    for activation in (nn.Tanh, nn.ReLU, nn.GELU):
        for steps in (10, 300):
            net = trained(perceptron((20, 32, 32, 3), activation), x, labels, nn.CrossEntropyLoss(), steps)
            yield f"{activation.__name__}, {steps} steps", net, (x, labels), "cross_entropy"
    for steps in (50, 1000):
        net = perceptron((20, 64, 1), nn.Tanh)
        yield f"mse, {steps} steps", trained(net, x, numbers, nn.MSELoss(), steps), (x, numbers), "mse"
    for normalized in (False, True):
        for steps in (20, 200):
            name = f"convolutions{', batch norm' if normalized else ''}, {steps} steps"
            net = trained(convolutions(normalized), images, kinds, nn.CrossEntropyLoss(), steps)
            yield name, net, (images, kinds), "cross_entropy"


def perceptron(sizes: tuple[int, ...], activation: type[nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    layers = [layer for inside, outside in pairwise(sizes) for layer in (nn.Linear(inside, outside), activation())]
    return nn.Sequential(*layers[:-1])


def convolutions(normalized: bool) -> nn.Module:
    torch.manual_seed(1)

    def norm(channels: int) -> nn.Module:
        return nn.BatchNorm2d(channels) if normalized else nn.Identity()

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), norm(8), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), norm(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def trained(model: nn.Module, x: Tensor, y: Tensor, loss: nn.Module, steps: int) -> nn.Module:
    optimizer = torch.optim.Adam(model.train().parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
    return model.eval()


if __name__ == "__main__":
    harness.main(
        "trace",
        {"the trace to 1 %, in gradients": samples},
        {"the trace of twelve nets to 1 %, in gradients": small_nets},
    )
