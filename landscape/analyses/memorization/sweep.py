"""The sweep of an edit over rho: which rhos the budget admits, and what each rho costs every population."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.algorithms.estimators.resampling import standard_errors
from landscape.analyses.memorization.edit_result import UNEDITED
from landscape.analyses.memorization.population_outcomes import PointOutcomes


def point_name(rho: float) -> str:
    """The name of the point at a rho; rhos that differ in the last digit have different names."""
    return f"rho {rho!r}"


@dataclass(frozen=True)
class RhoSweep:
    """The rhos `(R,)` from 1 downwards, the population whose loss bounds the edit, and how far that loss may rise.

    Without a budget `max_loss_increase` is None, and `requested` is the number of rhos that the user named.
    """

    rhos: tuple[float, ...]
    bounding: str
    max_loss_increase: float | None
    requested: int

    def exceeds_budget(self, measured: PointOutcomes) -> bool:
        """Whether the loss at the last measured point is above the budget, or NaN."""
        if self.max_loss_increase is None:
            return False
        last, first = list(measured.values())[-1][self.bounding], measured[point_name(UNEDITED)][self.bounding]
        return not last.loss - first.loss <= self.max_loss_increase  # true for NaN as well

    def rhos_in(self, measured: PointOutcomes) -> list[float]:
        """The rhos that were measured before the sweep stopped."""
        return [rho for rho in self.rhos if point_name(rho) in measured]

    def choose(self, measured: PointOutcomes) -> float:
        """The smallest rho within the budget; without one, the requested rho, or 1 if several were requested."""
        rhos = self.rhos_in(measured)
        if self.max_loss_increase is None:
            return rhos[-1] if self.requested == 1 else UNEDITED
        return rhos[-2] if self.exceeds_budget(measured) else rhos[-1]

    def loss_increase(self, measured: PointOutcomes, rho: float) -> tuple[float, float]:
        """The rise of the bounding population's mean loss at a rho, and its standard error over the paired samples.

        The error is NaN for one sample.
        """
        before, after = measured[point_name(UNEDITED)][self.bounding], measured[point_name(rho)][self.bounding]
        rises, counts = (after.losses - before.losses).numpy(), before.counts.numpy()
        error = standard_errors(rises[:, None], counts)[0] if len(counts) > 1 else np.nan
        return float(rises.sum() / counts.sum()), float(error)


def sweep_columns(
    measured: PointOutcomes, recitations: Mapping[str, np.ndarray], populations: Sequence[str]
) -> dict[str, np.ndarray]:
    """Columns over (population, rho): loss, accuracy where there are classes, recitation where there are texts."""
    accuracy = np.array([[measured[point][name].accuracy for point in measured] for name in populations])
    columns = {
        "population": np.array(list(populations)),
        "population_loss": np.array([[measured[point][name].loss for point in measured] for name in populations]),
    }
    columns |= {} if np.isnan(accuracy).all() else {"accuracy": accuracy}
    if recitations:
        rows = np.array([recitations[point] for point in measured])
        columns |= {"recitation": rows[:, 0].T, "greedy_match": rows[:, 1].T}
    return columns


def before_and_after(columns: Mapping[str, np.ndarray], chosen: int) -> dict[str, Any]:
    """Columns over populations: loss, accuracy and recitation at rho 1, and at the rho with the index `chosen`."""
    fields = {"loss": "population_loss", "accuracy": "accuracy", "recitation": "recitation"}
    swept = {name: columns[field] for name, field in fields.items() if field in columns}
    before = {f"{name}_before": values[:, 0] for name, values in swept.items()}
    return before | {f"{name}_after": values[:, chosen] for name, values in swept.items()}
