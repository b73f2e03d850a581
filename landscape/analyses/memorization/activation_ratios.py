"""How the inputs of layers spread over the eigenvectors of A, for each population."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from landscape.algorithms.matrices.removal import Eigenbasis
from landscape.analyses.base import Progress, State
from landscape.analyses.memorization.setup import CurvatureSetup
from landscape.choices import CLEAN, DATA
from landscape.evaluation.layers.activations import activation_energies
from landscape.network.linear_maps import LinearMap
from landscape.objective import Objective

QUARTERS = 4  # parts of equal size into which A's eigenvectors are cut


def measure_energies(
    setup: CurvatureSetup, objective: Objective, bases: Callable[[str], Eigenbasis], saved: State
) -> Generator[Progress, None, dict[str, np.ndarray]]:
    """The energy of the inputs in each quarter of A's eigenvectors, `(layers, 4)`, by population, the data first."""
    every = {DATA: objective, **setup.populations}
    arrays: dict[str, np.ndarray] = dict(saved)

    def vectors(layer: LinearMap) -> Tensor:
        """The eigenvectors of a layer's A."""
        return bases(layer.name).vectors

    for done, (name, one) in enumerate(every.items(), start=1):
        if name not in arrays:
            arrays[name] = activation_energies(one, setup.layers, vectors, QUARTERS).cpu().numpy()
            yield Progress(done, len(every), f"activations of {name}", partial(dict, dict(arrays)))
    return arrays


def ratio_columns(energy: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, Any]:
    """Each population's shares of energy by quarter, relative to those of the clean population, or of the data.

    Both shares are means over layers.
    """

    def shares(name: str) -> np.ndarray:
        by_layer: np.ndarray = energy[name] / energy[name].sum(axis=1, keepdims=True)
        return np.asarray(by_layer.mean(axis=0))

    reference = shares(CLEAN if CLEAN in energy else DATA)
    return {
        "quarter": np.arange(1, QUARTERS + 1),
        "activation_ratio": np.array([shares(name) / reference for name in names]),
    }
