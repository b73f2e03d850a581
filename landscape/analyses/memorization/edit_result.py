"""What `landscape edit` finds: a sweep of rho, and every population before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.base import Result, Trouble
from landscape.analyses.memorization.factors import Sums, population_names
from landscape.fields import array, scalar

if TYPE_CHECKING:
    import numpy as np

WHOLE = 1.0  # the rho at which nothing is removed


@dataclass(frozen=True, kw_only=True)
class EditResult(Result):
    """Columns over the rhos that were tried, from 1 (nothing removed) down, and over populations."""

    tables: ClassVar[tuple[str, ...]] = ("population", "rho", "layer")
    across: ClassVar[tuple[str, ...]] = ("population",)

    population: np.ndarray = array("population", words=True, help="Samples that the model was measured on.")
    population_samples: np.ndarray = array("population", help="How many.")
    loss_before: np.ndarray = array("population", help="Mean loss before the edit.")
    loss_after: np.ndarray = array("population", help="Mean loss after it, at the chosen rho.")
    accuracy_before: np.ndarray | None = array("population", help="Share of right predictions before.", optional=True)
    accuracy_after: np.ndarray | None = array("population", help="Share of right predictions after.", optional=True)
    recitation_before: np.ndarray | None = array("population", help="Share of texts recited before.", optional=True)
    recitation_after: np.ndarray | None = array("population", help="Share of texts recited after.", optional=True)
    rho: np.ndarray = array("rho", help="Share of the mass that is kept.")
    kept_fraction: np.ndarray = array("rho", help="Share of components that are kept, over all layers.")
    weight_energy: np.ndarray = array("rho", help="Squared norm of the weights, relative to those before.")
    curvature_mass: np.ndarray | None = array(
        "rho", help="Share of what the method ranks by that is kept, mean over layers.", optional=True
    )
    bound_loss: np.ndarray = array("rho", help="Mean loss of the population that bounds the edit.")
    population_loss: np.ndarray = array("population", "rho", help="Mean loss.", detail=True)
    accuracy: np.ndarray | None = array("population", "rho", help="Share of right predictions.", optional=True)
    recitation: np.ndarray | None = array(
        "population", "rho", help="Share of texts recited from their middle to the last token.", optional=True
    )
    greedy_match: np.ndarray | None = array(
        "population", "rho", help="Share of right tokens in greedy continuations.", optional=True, detail=True
    )
    layer: np.ndarray = array("layer", words=True, help="Edited layer.")
    layer_kept_fraction: np.ndarray = array("layer", help="Share of its components that are kept at the chosen rho.")
    bounded_by: np.ndarray = array("bound", words=True, help="Population whose loss bounds the edit.")
    layer_weight_energy: np.ndarray = array("layer", help="Squared norm of its weight, relative to that before.")
    chosen_rho: float = scalar("Share of the mass that the edited checkpoint keeps.")
    loss_increase: float = scalar("Rise of the mean loss on the population that bounds the edit.")
    loss_increase_se: float = scalar("Its standard error over samples.")
    max_loss_increase: float | None = scalar("What it may come to.", optional=True)
    loss: float = scalar("Mean loss on the data, before.")
    parameters: int = scalar("Size of the parameter vector.")
    edited_parameters: int = scalar("Size of the layers' weights.")
    samples: int = scalar("Samples in the data.")

    factors: Sums | None = None
    weights: Sums | None = None  # by parameter, in its own shape, float64

    def __post_init__(self) -> None:
        for name in ("population", "bounded_by"):
            object.__setattr__(self, name, population_names(getattr(self, name)))

    def trouble(self) -> Trouble | None:
        import math

        if math.isfinite(self.loss_increase):
            return None
        return Trouble("the edited model's loss is not finite", "a larger --rho, or --dtype float64", "not finite")

    def remarks(self) -> list[str]:
        import math

        said = []
        beyond = self.bound_loss[-1] - self.bound_loss[0]
        if self.chosen_rho == WHOLE:
            why = (
                "a sweep without a budget"
                if self.max_loss_increase is None
                else "nothing can be removed within the budget"
            )
            said.append(f"no checkpoint is written: {why if len(self.rho) > 1 else 'everything is kept'}")
        if self.max_loss_increase is not None and beyond > self.max_loss_increase:
            said.append(f"rho {self.rho[-1]:g} would exceed the budget: {beyond:.3g}")
        if not math.isnan(self.loss_increase):
            bounded = f"the loss of {self.bounded_by[0]} rises by {self.loss_increase:.3g} at rho {self.chosen_rho:g}"
            said.append(bounded)
        return said
