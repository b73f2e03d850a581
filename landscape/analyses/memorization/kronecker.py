"""Options of the analyses that start from the Kronecker factors (K-FAC) of a model's layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from landscape.analyses.base import Analysis, State
from landscape.choices import DATA, FORMER_POPULATIONS, Labels, population_name, stored_population
from landscape.fields import option
from landscape.storage import paths

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from landscape.objective import Objective
    from landscape.storage.read import StoredResult

POPULATION_OPTIONS = ("factors_on", "bounded_by")  # options whose value is the name of a population


@dataclass(frozen=True)
class KroneckerAnalysis(Analysis):
    """Base class of analyses that start from Kronecker factors: layers, labels, populations."""

    population: tuple[str, ...] = option(
        (),
        kind="named-references",
        shared=True,
        help="More samples to measure on: NAME=DATA[,KEY=VALUE...], with data as for --data. The names memorized, "
        "clean, held-out and never-seen have a meaning. Repeatable; flags replace the populations of the settings. The "
        "populations that the checkpoint itself describes are always measured.",
        identity=False,  # `ingredients` identifies their samples instead
    )
    by: str | None = option(
        None,
        help="Samples of the data as populations: class (by their targets), or a column of the data by its name, or "
        "its place in a tuple. Words in it are the populations' names.",
        identity=False,  # `ingredients` identifies their samples instead
    )
    layers: tuple[str, ...] = option(
        (), help="Glob over linear layers and convolutions. Repeatable. Default: every layer but the last, the head."
    )
    labels: Labels | None = option(
        None,
        help="Labels of the curvature: sampled from the model, exact (their expectation), gold (the data's). Default "
        "exact up to 32 outputs for each sample, else sampled.",
    )
    draws: int = option(1, help="Labels drawn for each position with --labels sampled.", min=1, max=10_000)
    factors_on: str = option(
        DATA,
        help="Population whose curvature is measured; data stands for the samples of --data.",
        value_aliases=FORMER_POPULATIONS,
    )
    seed: int = option(0, help="Seed of everything random.", min=0, max=2**63 - 1)

    def __post_init__(self) -> None:
        for name in ("population", "layers"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        super().__post_init__()

    @property
    def coupled(self) -> bool:
        """Whether the coupled factors (`Factor.coupled`) are needed as well."""
        return False

    def ingredients(self, objective: Objective) -> dict[str, Any]:
        """The samples of each population, as the beginnings of their hashes."""
        from landscape.evaluation.populations import populations

        every = populations(objective, self.population, self.by)
        hashes = {name: one.batches.sha256[:8] for name, one in every.items()}
        return {"populations": ", ".join(f"{stored_population(name)} {sha256}" for name, sha256 in hashes.items())}

    def identity(self) -> dict[str, Any]:
        """The options that decide the result, with populations as results files of all versions spell them."""
        options = super().identity()
        named = {name: options[name] for name in POPULATION_OPTIONS if options.get(name) is not None}
        return options | {option: stored_population(name) for option, name in named.items()}

    def warm_start(self, objective: Objective, stored: Mapping[str, StoredResult], output: Path) -> State | None:
        """The factors in the sidecar of `output`, if they are those of this model, data and options."""
        from landscape.analyses.memorization.factors import read_factors

        return read_factors(self, objective, output)

    def sidecars(self, result: Any, objective: Objective) -> dict[str, dict[str, np.ndarray]]:
        """The sums behind the factors, which later analyses of the same curvature start from."""
        return {paths.FACTORS: result.factors} if result.factors else {}


def population_names(stored: np.ndarray) -> np.ndarray:
    """The names of populations in a result, each in its present spelling."""
    import numpy as np

    return np.array([population_name(str(name)) for name in stored])
