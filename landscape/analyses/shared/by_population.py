"""The option --by: a measurement for each population of the samples, beside that of all of them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from landscape.analyses.base import Analysis, Progress, Result, State
from landscape.fields import Gauge, array, option

if TYPE_CHECKING:
    import numpy as np

    from landscape.objective import Objective

NOT_MEASURED = "populations that --population names are measured with --by population"
CONFLICT = -0.05  # a cosine below it is worth a sentence: by chance cosines are about one over the root of P


@dataclass(frozen=True)
class ByPopulation(Analysis):
    """The options of analyses that also measure each population of the samples."""

    by: str | None = option(
        None,
        title="by {}",
        help="Also measure each population: class (samples by their targets), a column of the data by its name or its "
        "place in a tuple, term (the terms of an objective), or population (those that the checkpoint names, and "
        "--population).",
        identity=False,  # `ingredients` identifies their samples instead
    )
    population: tuple[str, ...] = option(
        (),
        kind="named-references",
        shared=True,
        help="Another population for --by population: NAME=DATA[,KEY=VALUE...], with data as for --data. Repeatable.",
        identity=False,  # as well
    )

    def __post_init__(self) -> None:
        specifications = (self.population,) if isinstance(self.population, str) else tuple(self.population)
        object.__setattr__(self, "population", specifications)
        super().__post_init__()

    def measure(self, objective: Objective, resume: State | None = None) -> Generator[Progress, None, Any]:
        """As any analysis; a note says that populations were named and not measured, as settings may do."""
        result = yield from super().measure(objective, resume)
        ignored = self.population and self.by != "population"
        return replace(result, notes=(*result.notes, NOT_MEASURED)) if ignored else result

    def ingredients(self, objective: Objective) -> dict[str, Any]:
        """With --by, the samples of each population as the beginnings of their hashes."""
        if self.by is None:
            return super().ingredients(objective)
        from landscape.evaluation.parts import parts_by

        parts = parts_by(objective, self.by, self.population)
        named = ", ".join(f"{part.name} {part.objective.batches.sha256[:8]}" for part in parts)
        return {**super().ingredients(objective), "by": self.by, "populations": named}


@dataclass(frozen=True, kw_only=True)
class PopulationColumns(Result):
    """What --by adds to a result: for each population its loss and gradient, and how the gradients agree."""

    population: np.ndarray | None = array("population", words=True, help="Name of the population.", optional=True)
    population_samples: np.ndarray | None = array("population", help="Its samples.", optional=True)
    population_share: np.ndarray | None = array(
        "population",
        detail=True,
        help="Weight of its mean in that of all samples; 1 for a term, NaN for samples beside them.",
        optional=True,
        percent=True,
    )
    population_loss: np.ndarray | None = array(
        "population", help="Its mean loss.", optional=True, gauge=Gauge("population_loss_se", by_samples=True)
    )
    population_loss_se: np.ndarray | None = array(
        "population", detail=True, help="Standard error of that mean over other draws of its samples.", optional=True
    )
    population_gradient_norm: np.ndarray | None = array(
        "population", detail=True, help="Norm of the gradient of its mean loss.", optional=True
    )
    population_gradient_share: np.ndarray | None = array(
        "population",
        detail=True,
        help="Part of its gradient along that of all samples, relative to the latter's norm: shares add to 1.",
        optional=True,
        percent=True,
    )
    other_population: np.ndarray | None = array(
        "other_population", words=True, help="Name of the population beside it.", optional=True
    )
    gradient_cosine: np.ndarray | None = array(
        "other_population",
        "population",
        detail=True,
        help="Cosine between the gradients of two populations: below 0 a step that lowers one loss raises the other.",
        optional=True,
    )

    def gradient_remarks(self) -> list[str]:
        """The two populations whose gradients conflict most, if any do."""
        import numpy as np

        if self.gradient_cosine is None or self.population is None:
            return []
        cosines = np.where(np.isfinite(self.gradient_cosine), self.gradient_cosine, np.inf)
        first, second = np.unravel_index(int(cosines.argmin()), cosines.shape)
        lowest, pairs = cosines[first, second], int((cosines[np.triu_indices(len(cosines), 1)] < CONFLICT).sum())
        if not lowest < CONFLICT:
            return []
        return [
            f"gradients conflict in {pairs} of {len(cosines) * (len(cosines) - 1) // 2} pairs of populations, most in "
            f"{self.population[first]} and {self.population[second]} (cosine {lowest:.2g}): a step that lowers the one "
            "loss raises the other"
        ]
