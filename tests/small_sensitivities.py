"""A result of `sensitivity` for tests of words and pictures, and the changes that an analysis makes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from landscape import Objective, Sensitivity
from landscape.analyses.sensitivity.change_vectors import ChangeVectors
from landscape.analyses.sensitivity.layers_to_change import layers_to_change
from landscape.analyses.sensitivity.sensitivity_result import SensitivityResult
from landscape.analyses.sensitivity.weight_changes import Granularity


def two_layers(**changes: object) -> SensitivityResult:
    """Rounding of two layers to 8 and 3 bits; at 3 bits one forecast fails."""
    one, two = np.ones(4), np.ones(2)
    fields = {
        "change": np.array(["a 8 bits", "b 8 bits", "a 3 bits", "b 3 bits"]),
        "change_layer": np.array(["a", "b", "a", "b"]), "change_kind": np.repeat(["8 bits", "3 bits"], 2),
        "change_parameters": np.array([6, 8, 6, 8]), "change_norm": one, "change_slope": one, "change_curvature": one,
        "change_real": np.array([1e-6, -2e-6, 1e-2, 5e-3]), "change_real_se": np.array([1e-7, 3e-6, 1e-3, 1e-4]),
        "change_forecast": np.array([1e-6, -2e-6, 4e-3, 4e-3]), "change_forecast_se": 1e-7 * one,
        "change_gap": np.array([0, 0, 6e-3, 1e-3]), "change_gap_se": 1e-4 * one,
        "change_holds": np.array(["yes", "yes", "no", "unclear"]), "change_rank": np.array([1, 2, 1, 2]),
        "change_forecast_rank": np.array([1, 2, 1, 2]), "kind": np.array(["8 bits", "3 bits"]), "kind_real": two,
        "kind_real_se": two, "kind_forecast": two, "kind_forecast_se": two, "kind_sum": two, "kind_sum_se": two,
        "kind_spearman": np.array([1.0, 0.8]), "kind_spearman_se": 0.1 * two, "kind_holds": np.array([1.0, 0.0]),
        "layers": 3, "changed_parameters": 14, "products": 4, "cost_gradients": 20.0, "loss": 0.1,
        "gradient_norm": 0.1, "parameters": 20, "samples": 50,
    }  # fmt: skip
    return SensitivityResult(**{**fields, **changes})  # type: ignore[arg-type]


def vectors_of(analysis: Sensitivity, objective: Objective) -> ChangeVectors:
    layers = layers_to_change(analysis, objective)
    return ChangeVectors(objective, layers, Granularity.parse(analysis.granularity))


def directions(analysis: Sensitivity, objective: Objective) -> list[Tensor]:
    """The change of every row of the table, `(P,)`: all layers of a kind of change, then the next kind."""
    vectors, found = vectors_of(analysis, objective), []
    for change in analysis.changes:
        whole = vectors.all_layers(change)
        for layer in vectors.layers:
            alone = torch.zeros_like(whole)
            for begin, end in layer.ranges:
                alone[begin:end] = whole[begin:end]
            found.append(alone)
    return found


def together(analysis: Sensitivity, objective: Objective) -> list[Tensor]:
    """The joint change of every kind."""
    return [vectors_of(analysis, objective).all_layers(change) for change in analysis.changes]
