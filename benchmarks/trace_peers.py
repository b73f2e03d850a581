"""The trace beside curvlinops' Hutch++ and PyHessian's Hutchinson: gradients to the same standard error."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from pyhessian import hessian
from torch import Tensor, nn

import landscape
from landscape import Objective, Trace
from landscape.operators import HessianOperator
from landscape.operators.pass_costs import gradients_per_product as counted_cost

try:
    import curvlinops
except ImportError:  # an extra; its rows are then left out
    curvlinops = None

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
CASES = ("digits-noisy", None), ("digits-mlp", None), ("digits-resnet", 256), ("digits-resnet", 64)
FIRST_PRODUCTS, MOST_PRODUCTS = 48, 768  # of Hutch++, doubled until its error is small enough
SPREAD_PROBES = 96  # that tell the spread of z'Hz to 7 %
COLUMNS = 1, 8, 32  # of curvlinops' products in one pass; the fastest counts
COLUMN_BYTES = 2e9  # of activations that these may take


class Recording:
    """Our products as curvlinops' estimators want them, with the quadratic forms of the last columns."""

    def __init__(self, inner: HessianOperator) -> None:
        self.inner, self.shape = inner, (inner.size, inner.size)
        self.device, self.dtype = inner.like.device, inner.like.dtype
        self.values = torch.zeros(0)

    def __matmul__(self, columns: Tensor) -> Tensor:
        product = torch.cat([self.inner @ part for part in torch.split(columns, 8, dim=1)], dim=1)
        self.values = (columns * product).sum(dim=0, dtype=torch.float64)
        return product


def sketched_products(operator: HessianOperator, error: float) -> float:
    """The products with which curvlinops' Hutch++ has that standard error, from the spread of its last third.

    They are doubled until they do, and interpolated; beyond the most that are made the last slope goes on.
    """
    recording, found = Recording(operator), []
    products = FIRST_PRODUCTS
    while True:
        torch.manual_seed(0)
        curvlinops.hutchpp_trace(recording, products)
        found.append((products, float(recording.values.std()) / (products // 3) ** 0.5))
        if len(found) > 1 and (found[-1][1] <= error or 2 * products > min(MOST_PRODUCTS, operator.size)):
            break
        products *= 2
    (few, larger), (many, smaller) = found[-2:]
    slope = np.log(larger / smaller) / np.log(many / few)
    return float(many * (smaller / error) ** (1 / slope))


def plain_products(operator: HessianOperator, error: float) -> float:
    """The products with which the mean of z'Hz has that standard error, for random signs z."""
    recording = Recording(operator)
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (operator.size, SPREAD_PROBES), generator=generator) * 2.0 - 1
    recording @ signs.to(operator.like)
    return float(recording.values.var()) / error**2


def beside_others(objective: Objective, repeats: int) -> dict[str, float]:
    """Our trace to 1 %, and what others take to the standard error that it reached."""
    operator = HessianOperator(objective)
    results: list[Any] = []
    time = harness.gradients_of(
        objective, lambda: results.append(landscape.run(Trace(), objective)), repeats, warm=False
    )
    result = results[0]
    row = {"standard error %": 100 * result.standard_error / result.trace, "products": result.products}
    row |= {"landscape": time, "as counted": result.cost_gradients}
    inputs, targets = (
        torch.cat([getattr(batch, part) for batch in objective.batches]) for part in ("inputs", "targets")
    )
    if curvlinops is not None:
        theirs = harness.curvlinops_operator(objective.model, [(inputs, targets)])
        each = min(gradients_per_product(objective, theirs, count, repeats) for count in columns_of(objective))
        row["Hutch++ products"] = sketched_products(operator, result.standard_error)
        row["curvlinops Hutch++"] = each * row["Hutch++ products"]
        row["curvlinops / landscape"] = row["curvlinops Hutch++"] / row["landscape"]
        counted = counted_cost("hessian", kept=True) * row["Hutch++ products"]
        row["the same, as counted"] = counted / row["as counted"]
    model = copy.deepcopy(objective.model).eval()
    cuda = objective.device.type == "cuda"
    computation = hessian(model, nn.CrossEntropyLoss(), data=(inputs, targets), cuda=cuda)
    each = harness.gradients_of(objective, lambda: computation.trace(maxIter=8, tol=0.0), repeats) / 8
    row["Hutchinson products"] = plain_products(operator, result.standard_error)
    row["PyHessian"] = each * row["Hutchinson products"]
    row["PyHessian / landscape"] = row["PyHessian"] / row["landscape"]
    return row


def gradients_per_product(objective: Objective, theirs: Any, columns: int, repeats: int) -> float:
    """The gradients that one column of curvlinops' product takes, where so many share a pass."""
    block = objective.theta.new_ones((objective.space.size, columns))
    return harness.gradients_of(objective, lambda: theirs @ block, repeats) / columns


def columns_of(objective: Objective) -> list[int]:
    """The numbers of columns that curvlinops may multiply in one pass."""
    each = objective.activation_bytes * objective.batches.samples
    return [count for count in COLUMNS if count == 1 or count * each < COLUMN_BYTES]


def others(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """The samples beside other tools."""
    table = {}
    for name, count in CASES:
        objective = landscape.load(SAMPLES / f"{name}.pt", device=device, limit=count)
        table[f"{name}, {objective.batches.samples}"] = beside_others(objective, min(repeats, 3))
    return table


if __name__ == "__main__":
    harness.main("trace-peers", {"the trace to the same standard error, in gradients": others}, threads=1)
