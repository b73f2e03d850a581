"""Forecasts of rounding and pruning beside real changes of the loss, HAWQ's scores, and bits verified on other data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch

import landscape
from landscape import Eig, Objective, Sensitivity, Trace
from landscape.analyses.sensitivity.allocation import allocate_bits
from landscape.analyses.sensitivity.change_vectors import ChangeVectors
from landscape.analyses.sensitivity.comparison import spearman
from landscape.analyses.sensitivity.layers_to_change import layers_to_change
from landscape.analyses.sensitivity.weight_changes import Granularity, WeightChange
from landscape.network.space import ParameterGroup

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
CASES = ("digits-mlp", None), ("digits-resnet", 200), ("charlm", 64)
CHANGES = Sensitivity(bits=(8, 4, 3, 2), prune=(0.3, 0.5), sample_groups=32)
CHOICES = (8, 6, 5, 4, 3, 2)  # of bits by layer
BUDGETS = (3.0, 4.0)
TRACE_ERROR = 0.3  # of the whole matrix; the blocks' own errors are those of 16 probes


def objective_of(name: str, device: str, limit: int | None) -> Objective:
    """A sample on its first samples."""
    return landscape.load(SAMPLES / f"{name}.pt", device=device, limit=limit)


def hawq_scores(objective: Objective, layers: tuple[ParameterGroup, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The mean trace of each layer's block, and its largest eigenvalue over its size, `(L,)` each.

    HAWQ multiplies the former with |d|^2 (Dong et al. 2020, equation 10), and ranks by the latter (2019, equation 4).
    """
    globs = tuple(layer.names[0] for layer in layers)
    trace: Any = landscape.run(Trace(rtol=TRACE_ERROR, blocks=globs), objective)
    leading: Any = landscape.run(Eig(k=1, blocks=globs, tol=0.1), objective)
    traces = dict(zip(trace.layer, trace.layer_trace, strict=True))
    largest = dict(zip(leading.layer, np.atleast_2d(leading.layer_eigenvalues.T)[0], strict=True))
    sizes = np.array([layer.size for layer in layers])
    return np.array([traces[glob] for glob in globs]) / sizes, np.array([largest[glob] for glob in globs]) / sizes


def ranks_of_layers(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Spearman's correlation of forecasts and of HAWQ's scores with the real changes, by kind of change."""
    table = {}
    for name, limit in CASES:
        objective = objective_of(name, device, limit)
        result: Any = landscape.run(CHANGES, objective)
        mean_traces, largest = hawq_scores(objective, layers_to_change(CHANGES, objective))
        for place, kind in enumerate(result.kind):
            own = result.change_kind == kind
            real, squares = result.change_real[own], result.change_norm[own] ** 2
            table[f"{name}, {kind}"] = {
                "layers": result.layers,
                "forecast": float(result.kind_spearman[place]),
                "standard error": float(result.kind_spearman_se[place]),
                "d'Hd alone": spearman(result.change_curvature[own], real),
                "mean trace |d|^2": spearman(mean_traces * squares, real),
                "lambda_1 / n |d|^2": spearman(largest * squares, real),
                "lambda_1 / n": spearman(largest, real),
                "holds %": 100 * float(result.kind_holds[place]),
                "joint, real": float(result.kind_real[place]),
                "joint, se": float(result.kind_real_se[place]),
                "joint, forecast": float(result.kind_forecast[place]),
                "sum of layers": float(result.kind_sum[place]),
            }
    return table


def bits_on_other_data(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Changes of the loss on one half of the data with bits chosen on the other, beside uniform bits."""
    table = {}
    for name, limit in CASES:
        whole = objective_of(name, device, limit)
        first, second = list(whole.parts(-(-whole.batches.samples // 2)))[:2]
        sizes = np.array([layer.size for layer in layers_to_change(CHANGES, first)])
        result: Any = landscape.run(Sensitivity(bits=CHOICES), first)
        costs = {"real": result.change_real, "forecast": result.change_forecast, "curvature": result.change_curvature}
        for budget in BUDGETS:
            row = {"uniform": rise(second, [int(budget)] * len(sizes))}
            for cost, values in costs.items():
                by_layer = values.reshape(len(CHOICES), len(sizes)).T
                chosen = allocate_bits(by_layer, sizes, np.array(CHOICES), budget)
                row[f"by {cost}"] = rise(second, list(chosen.bits))
                row[f"by {cost}, where chosen"] = rise(first, list(chosen.bits))
            table[f"{name}, {budget:g} bits"] = row
    return table


def rise(objective: Objective, bits: list[int]) -> float:
    """The change of the loss with so many bits in each layer."""
    layers = layers_to_change(CHANGES, objective)
    vectors = ChangeVectors(objective, layers, Granularity.parse(CHANGES.granularity))
    moved = objective.theta + vectors.mix([WeightChange(bits=int(n)) for n in bits])
    return float(objective.value(moved) - objective.value())


def cost(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """The time of a run with its checks in gradients over its data, beside its own count, in float32."""
    table = {}
    for name, limit in CASES:
        objective = landscape.load(SAMPLES / f"{name}.pt", device=device, limit=limit)
        results: list[Any] = []
        time = harness.gradients_of(
            objective, lambda o=objective, r=results: r.append(landscape.run(Sensitivity(), o)), repeats, warm=False
        )
        rows = results[0].layers * 3
        table[f"{name}, {objective.batches.samples}"] = {
            "layers": results[0].layers,
            "changes of a layer": rows,
            "gradients": time,
            "as counted": results[0].cost_gradients,
            "gradients a change": time / rows,
        }
    return table


if __name__ == "__main__":
    torch.set_num_threads(1)
    harness.main(
        "sensitivity",
        {"Sensitivity: what a run costs": cost},
        {
            "Sensitivity: ranks of layers, Spearman with the real changes": ranks_of_layers,
            "Sensitivity: bits by layer, change of the loss on other data": bits_on_other_data,
        },
        threads=1,
    )
