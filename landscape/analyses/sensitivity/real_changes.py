"""The real changes of the loss: forward passes at theta + d, sample by sample beside those at theta."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.estimators.resampling import standard_errors
from landscape.analyses.base import Progress, State
from landscape.analyses.sensitivity.change_vectors import ChangeVectors, copy_part
from landscape.analyses.sensitivity.sample_groups import SampleGroups, unit_losses
from landscape.analyses.sensitivity.weight_changes import WeightChange
from landscape.objective import Objective


@dataclass(frozen=True)
class RealSums:
    """Sums of the losses' differences over each of G groups of samples, and standard errors by the units, float64.

    For L layers and C kinds of changes `layers` is `(G, L, C)` with errors `layer_errors` `(L, C)`; for all layers at
    once `together` is `(G, C)` with errors `joint_errors` `(C,)`. `base` `(U,)` are the losses at theta.
    """

    base: np.ndarray
    layers: np.ndarray
    layer_errors: np.ndarray
    together: np.ndarray
    joint_errors: np.ndarray


def measure_real_changes(
    objective: Objective, vectors: ChangeVectors, changes: Sequence[WeightChange], groups: SampleGroups, saved: State
) -> Generator[Progress, None, RealSums]:
    """Yields after each forward pass over the data; returns the changes of single layers and of all at once."""
    places = [(change, layer) for change in changes for layer in (*vectors.layers, None)]
    base = np.array(saved["base"]) if saved else unit_losses(objective, objective.theta, groups)
    rows = list(saved["rows"]) if saved else []
    total, moved, known, whole = len(places) + 1, torch.empty_like(objective.theta), None, objective.theta

    def progress() -> Progress:
        """A pass that is done, with the losses at theta and the rows so far."""
        state = {"base": base, "rows": np.array(rows).reshape(len(rows), len(groups.cuts) + 2)}
        return Progress(len(rows) + 1, total, f"{len(rows) + 1} of {total} forward passes", lambda: state)

    if not saved:
        yield progress()
    for change, layer in places[len(rows) :]:
        if change != known:
            known, whole = change, vectors.all_layers(change)
        if layer is None:
            torch.add(objective.theta, whole, out=moved)
        else:
            moved.zero_()
            copy_part(layer, whole, moved)
            moved.add_(objective.theta)
        rows.append(difference_row(base, unit_losses(objective, moved, groups), groups))
        yield progress()
    return _by_layer(base, np.array(rows), len(changes), len(vectors.layers))


@np.errstate(invalid="ignore")  # infinity is a result, which `inconclusive` names
def difference_row(before: np.ndarray, after: np.ndarray, groups: SampleGroups) -> np.ndarray:
    """The sums over groups of the differences of losses `(U,)`, and the standard error of their mean: `(G + 1,)`."""
    differences = after - before
    error = standard_errors(differences[:, None], groups.counts)
    return np.concatenate([groups.by_group(differences), error])


def losses_with(
    objective: Objective, vectors: ChangeVectors, changes: Sequence[WeightChange], groups: SampleGroups
) -> np.ndarray:
    """The summed losses of the units `(U,)` if each layer changes in its own way."""
    moved: Tensor = objective.theta + vectors.mix(changes)
    return unit_losses(objective, moved, groups)


def _by_layer(base: np.ndarray, rows: np.ndarray, changes: int, layers: int) -> RealSums:
    """The sums from rows `(C (L + 1), G + 1)`, in the order of changes, with all layers at once behind single ones."""
    table = rows.reshape(changes, layers + 1, -1).transpose(2, 1, 0)
    return RealSums(base, table[:-1, :-1], table[-1, :-1], table[:-1, -1], table[-1, -1])
