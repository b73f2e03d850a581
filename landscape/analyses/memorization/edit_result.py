"""The result of `landscape edit`: the sweep over rho, and every population before and after the edit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.base import Result, Trouble
from landscape.analyses.memorization.kronecker import population_names
from landscape.analyses.shared.meaning import percent
from landscape.choices import MEMORIZED
from landscape.fields import array, scalar

if TYPE_CHECKING:
    import numpy as np

UNEDITED = 1.0  # the rho at which nothing is removed


@dataclass(frozen=True, kw_only=True)
class EditResult(Result):
    """Columns over populations, over the rhos of the sweep from 1 (nothing is removed) downwards, and over layers.

    `weights` are the new weights by parameter, float64, in the parameters' shapes; `factors` are the sums behind the
    Kronecker factors. Both are written to files of their own.
    """

    tables: ClassVar[tuple[str, ...]] = ("population", "rho", "layer")
    captions: ClassVar[Mapping[str, str]] = {
        "population": "before the edit, and after it at the rho that was chosen",
        "rho": "rho: share of the curvature mass that is kept in every layer; the components of smallest curvature are "
        "removed first",
        "layer": "what the edit keeps of each layer at the rho that was chosen",
    }
    facts: ClassVar[tuple[str, ...]] = ("chosen_rho", "max_loss_increase", "loss")
    across: ClassVar[tuple[str, ...]] = ("population",)

    population: np.ndarray = array("population", words=True, help="Name of the samples.")
    population_samples: np.ndarray = array("population", help="Number of samples.")
    loss_before: np.ndarray = array("population", help="Mean loss before the edit.")
    loss_after: np.ndarray = array("population", help="Mean loss after the edit, at the chosen rho.")
    accuracy_before: np.ndarray | None = array(
        "population", help="Share of right predictions before.", optional=True, percent=True
    )
    accuracy_after: np.ndarray | None = array(
        "population", help="Share of right predictions after.", optional=True, percent=True
    )
    recitation_before: np.ndarray | None = array(
        "population", help="Share of texts recited before.", optional=True, label="recited before", percent=True
    )
    recitation_after: np.ndarray | None = array(
        "population", help="Share of texts recited after.", optional=True, label="recited after", percent=True
    )
    rho: np.ndarray = array("rho", help="Share of the curvature mass that is kept.")
    kept_fraction: np.ndarray = array(
        "rho", help="Share of components that are kept, over all layers.", percent=True, label="components kept"
    )
    weight_energy: np.ndarray = array(
        "rho", help="Squared norm of the weights, relative to that before.", label="squared norm kept", percent=True
    )
    curvature_mass: np.ndarray | None = array(
        "rho",
        help="Share that is kept of the quantity by which the method ranks, mean over layers.",
        optional=True,
        label="mass kept",
        percent=True,
    )
    bound_loss: np.ndarray = array(
        "rho", help="Mean loss of the population that bounds the edit.", label="loss that bounds the edit"
    )
    population_loss: np.ndarray = array("population", "rho", help="Mean loss.", detail=True, label="loss")
    accuracy: np.ndarray | None = array(
        "population", "rho", help="Share of right predictions.", optional=True, percent=True
    )
    recitation: np.ndarray | None = array(
        "population",
        "rho",
        help="Share of texts that are recited from their middle to the last token.",
        optional=True,
        label="recited",
        percent=True,
    )
    greedy_match: np.ndarray | None = array(
        "population",
        "rho",
        help="Share of right tokens in greedy continuations.",
        optional=True,
        detail=True,
        label="tokens recited",
        percent=True,
    )
    layer: np.ndarray = array("layer", words=True, help="Edited layer.")
    layer_kept_fraction: np.ndarray = array(
        "layer",
        help="Share of the layer's components that are kept at the chosen rho.",
        percent=True,
        label="components kept",
    )
    bounded_by: np.ndarray = array("bound", words=True, help="Population whose loss bounds the edit.")
    layer_weight_energy: np.ndarray = array(
        "layer",
        help="Squared norm of the layer's weight, relative to that before.",
        label="squared norm kept",
        percent=True,
    )
    chosen_rho: float = scalar("Share of the curvature mass that the edited checkpoint keeps.", label="rho of the edit")
    loss_increase: float = scalar("Rise of the mean loss on the population that bounds the edit.")
    loss_increase_se: float = scalar("Standard error of that rise over samples.")
    max_loss_increase: float | None = scalar(
        "Largest rise that is allowed.", optional=True, label="allowed rise of the loss"
    )
    loss: float = scalar("Mean loss on the data before the edit.")
    parameters: int = scalar("Size of the parameter vector.")
    edited_parameters: int = scalar("Entries in the weights of the layers.")
    samples: int = scalar("Samples in the data.")

    factors: Mapping[str, np.ndarray] | None = field(default=None, compare=False, repr=False)
    weights: Mapping[str, np.ndarray] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("population", "bounded_by"):
            object.__setattr__(self, name, population_names(getattr(self, name)))

    def inconclusive(self) -> Trouble | None:
        """Inconclusive if the loss after the edit is not finite."""
        if math.isfinite(self.loss_increase):
            return None
        return Trouble("the edited model's loss is not finite", "a larger --rho, or --dtype float64", "not finite")

    def meaning(self) -> str:
        """What the edit does to the memorized samples, and to those whose loss bounds it."""
        if self.chosen_rho == UNEDITED:
            return ""
        names = [str(name) for name in self.population]
        wanted = [name for name in dict.fromkeys((MEMORIZED, str(self.bounded_by[0]))) if name in names]
        return "the edit: " + "; ".join(self._change_of(names.index(name)) for name in wanted) if wanted else ""

    def _change_of(self, row: int) -> str:
        """The accuracy of a population before and after the edit; its loss where there is none."""
        name = self.population[row]
        if self.accuracy_before is not None and self.accuracy_after is not None:
            before, after = float(self.accuracy_before[row]), float(self.accuracy_after[row])
            if not math.isnan(before) and not math.isnan(after):
                return f"accuracy on {name} samples from {percent(before)} to {percent(after)}"
        return f"loss on {name} samples from {self.loss_before[row]:.3g} to {self.loss_after[row]:.3g}"

    def remarks(self) -> list[str]:
        """Sentences about why no checkpoint is written, where the sweep stopped, and what the edit costs."""
        return [*self._unwritten(), *self._over_budget(), *self._cost()]

    def _unwritten(self) -> list[str]:
        if self.chosen_rho != UNEDITED:
            return []
        if len(self.rho) == 1:
            return ["no checkpoint is written: everything is kept"]
        if self.max_loss_increase is None:
            return ["no checkpoint is written: a sweep without a budget chooses no rho"]
        return ["no checkpoint is written: nothing can be removed within the budget"]

    def _over_budget(self) -> list[str]:
        rise = self.bound_loss[-1] - self.bound_loss[0]
        if self.max_loss_increase is None or not rise > self.max_loss_increase:
            return []
        return [f"rho {self.rho[-1]:g} would exceed the budget: the loss rises by {rise:.3g}"]

    def _cost(self) -> list[str]:
        if math.isnan(self.loss_increase) or self.chosen_rho == UNEDITED:
            return []
        return [f"the loss of {self.bounded_by[0]} rises by {self.loss_increase:.3g} at rho {self.chosen_rho:g}"]
