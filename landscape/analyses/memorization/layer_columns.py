"""The table of layers: sizes, eigenvalues of both factors, and how the curvature mass spreads over components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from landscape.algorithms.matrices import staircase
from landscape.algorithms.matrices.removal import RotatedComponents
from landscape.evaluation.layers.kfac import Factor
from landscape.network.linear_maps import LinearMap

SPECTRUM_POINTS = 60  # of the cumulative spectrum, spaced evenly in the logarithm of the rank
SMALLEST_SHARE = 1e-4  # of the components, where that spectrum begins


def layer_columns(
    layers: tuple[LinearMap, ...], factors: Mapping[str, Factor], methods: Mapping[str, RotatedComponents]
) -> dict[str, Any]:
    """Columns over layers; spectra are `(layers, direction)`, padded with NaN, or `(layers, share)`."""
    longest = max(max(layer.outputs, layer.inputs) for layer in layers)
    shares = np.geomspace(SMALLEST_SHARE, 1, SPECTRUM_POINTS)

    def pad(values: np.ndarray) -> np.ndarray:
        return np.pad(values, (0, longest - len(values)), constant_values=np.nan)

    rows = [_row(factors[layer.name], methods[layer.name], shares) for layer in layers]  # one layer at a time
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0] if not name.endswith("eigenvalues")}
    return {
        "layer": np.array([layer.name for layer in layers]),
        "layer_outputs": np.array([layer.outputs for layer in layers]),
        "layer_inputs": np.array([layer.inputs for layer in layers]),
        "activation_eigenvalues": np.array([pad(row["activation_eigenvalues"]) for row in rows]),
        "gradient_eigenvalues": np.array([pad(row["gradient_eigenvalues"]) for row in rows]),
        "share": shares,
        **columns,
    }


def _row(factor: Factor, method: RotatedComponents, shares: np.ndarray) -> dict[str, Any]:
    """The columns' entries for one layer."""
    mass, cumulative = component_spectrum(method, shares)
    return {
        "layer_tokens": int(factor.tokens),
        "layer_trace": factor.trace,
        "layer_independence": factor.independence,
        "activation_eigenvalues": method.right.values,
        "gradient_eigenvalues": method.left.values,
        "component_mass": mass,
        "cumulative_mass": cumulative,
    }


def component_spectrum(method: RotatedComponents, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At each share `(S,)` of the ranks: the mass of the component there, and the share of the mass up to it."""
    rows, columns, size = method.left.values, method.right.values, method.weight.numel()
    total = rows.sum() * columns.sum()
    masses, cumulative = [], []
    for share in shares:
        prefix = staircase.largest_products(rows, columns, max(1, round(share * size)))
        cumulative.append(prefix.mass(rows, columns) / total if total else np.nan)
        last = prefix.columns > 0
        masses.append((rows[last] * columns[prefix.columns[last] - 1]).min())
    return np.array(masses), np.array(cumulative)
