"""The columns of a table over groups of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from landscape.network.space import ParameterGroup


def layer_table(
    groups: Sequence[ParameterGroup], size: np.ndarray, arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The fields `layer`, `layer_parameters` and `layer_NAME` of a result, for `arrays` by NAME over G groups.

    The groups are ordered by |size| `(G,)`, the largest first; equal ones keep their order.
    """
    order = np.argsort(-np.abs(size), kind="stable")
    named = {
        "layer": np.array([group.name for group in groups], dtype=str)[order],
        "layer_parameters": np.array([group.size for group in groups])[order],
    }
    return {**named, **{f"layer_{name}": values[order] for name, values in arrays.items()}}
