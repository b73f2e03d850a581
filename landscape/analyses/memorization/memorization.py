"""The description of `landscape memorization`: its options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.analyses.base import MeasurementModule, Result
from landscape.analyses.memorization.kronecker import KroneckerAnalysis
from landscape.analyses.memorization.memorization_result import CONTROLS, MemorizationResult
from landscape.analyses.shared.work_budget import budget_option
from landscape.errors import UsageError
from landscape.fields import option

if TYPE_CHECKING:
    from landscape.objective import Objective

# Controls and bands by layer of a first look, dearest first; without a control no change of a loss has a scale.
FIRST_LOOKS = ((CONTROLS, True), (1, True), (1, False))


@dataclass(frozen=True)
class Memorization(KroneckerAnalysis):
    """Spectra of Kronecker factors, the loss without bands of components, and scores of samples.

    Source: Merullo et al. 2025, arXiv 2510.24256.

    >>> import landscape
    >>> objective = landscape.load("digits-noisy.pt", limit=200)
    >>> result = landscape.run(landscape.Memorization(per_layer=False, controls=0), objective)
    >>> memorized, clean = (list(result.population).index(name) for name in ("memorized", "clean"))
    >>> bool(result.delta_loss[memorized, -1] > 10 * result.delta_loss[clean, -1])  # without the flattest half
    True
    """

    name: ClassVar[str] = "memorization"
    summary: ClassVar[str] = "What flat directions hold, and which samples are memorized there."
    result: ClassVar[type[Result]] = MemorizationResult

    bands: tuple[float, ...] = option(
        (0.001, 0.01, 0.05, 0.1, 0.25, 0.5),
        help="Edges between bands of components, as shares of all components, which are ranked from sharp to flat.",
    )
    controls: int | None = option(
        None,
        help="Draws of both controls of each band: noise of its norm, and as many random components. 0: no controls. "
        f"Default {CONTROLS}, or what --budget buys.",
        min=0,
        max=100,
    )
    per_layer: bool | None = option(
        None, help="Also remove each band from each layer alone. Default: yes, unless --budget does not buy it."
    )
    budget: float = budget_option("--controls and --per-layer")
    resamples: int = option(1000, help="Bootstrap resamples for the intervals.", min=10, max=100_000)
    scores: bool = option(True, help="Score each sample.")
    score_rho: float = option(
        0.97, help="Share of the curvature mass that is kept by the edit behind the scores.", min=0, max=1
    )
    trajectory: str | None = option(
        None,
        kind="path",
        help="Folder with checkpoints of the run: some scores are averaged over them.",
        identity=False,  # `ingredients` identifies the checkpoints instead
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "trajectory", None if self.trajectory is None else str(self.trajectory))
        if not self.bands or any(not low < high for low, high in pairwise(self.edges)):
            raise UsageError(f"--bands is {self.bands}", fix="ascending shares between 0 and 1: --bands 0.01,0.1,0.5")

    @property
    def edges(self) -> tuple[float, ...]:
        """The edges of all bands, 0 and 1 included."""
        return (0.0, *self.bands, 1.0)

    @property
    def sizes(self) -> tuple[int, bool]:
        """Controls, and whether bands are removed by layer, as given, or the most that a first look has."""
        return CONTROLS if self.controls is None else self.controls, self.per_layer is not False

    def fit_budget(self, objective: Objective) -> Memorization:
        """The analysis with controls and bands by layer: as given, or where neither is, what the budget buys."""
        if self.controls is not None and self.per_layer is not None:
            return self
        if self.controls is not None or self.per_layer is not None:
            controls, per_layer = self.sizes
        else:
            measuring: Any = self.measurement()
            controls, per_layer = measuring.controls_within_budget(self, objective)
        return replace(self, controls=controls, per_layer=per_layer)

    def measurement(self) -> MeasurementModule:
        """The module that measures."""
        from landscape.analyses.memorization import memorization_measurement

        return memorization_measurement

    def ingredients(self, objective: Objective) -> dict[str, Any]:
        """The samples of each population, and the checkpoints of the trajectory."""
        from landscape.evaluation.other_checkpoints import find_trajectory, other_checkpoint

        every = super().ingredients(objective)
        if not self.trajectory:
            return every
        steps = find_trajectory(self.trajectory).checkpoints
        return every | {"trajectory": [other_checkpoint(objective, step, "--trajectory").digest for step in steps]}
