"""The description of `landscape edit`: its options, and the files that it writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from landscape.analyses.base import MeasurementModule, Result
from landscape.analyses.memorization.edit_result import UNEDITED, EditResult
from landscape.analyses.memorization.kronecker import KroneckerAnalysis
from landscape.choices import FORMER_POPULATIONS
from landscape.errors import UsageError
from landscape.fields import option

if TYPE_CHECKING:
    from pathlib import Path

    from landscape.objective import Objective

EditMethod = Literal["kfac", "coupled", "activation", "svd", "random", "noise"]
DEFAULT_RHOS = (0.999, 0.998, 0.995, 0.99, 0.98, 0.97, 0.96, 0.95, 0.93, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5)


@dataclass(frozen=True)
class Edit(KroneckerAnalysis):
    """Keeps the components of largest curvature mass, or removes other parts of the weights for comparison.

    Source: Merullo et al. 2025, section 3.

    >>> import landscape
    >>> objective = landscape.load("digits-noisy.pt", limit=200)
    >>> result = landscape.run(landscape.Edit(rho=0.9), objective)
    >>> accuracy = dict(zip(result.population, result.accuracy_after))
    >>> bool(accuracy["memorized"] < 0.2 < 0.8 < accuracy["clean"])
    True
    """

    name: ClassVar[str] = "edit"
    summary: ClassVar[str] = "Remove flat components, where memorized samples sit."
    result: ClassVar[type[Result]] = EditResult

    rho: tuple[float, ...] = option(
        (),
        help="Share of the curvature mass to keep. Several shares are a sweep, from which --max-loss-increase chooses.",
    )
    method: EditMethod = option(
        "kfac",
        help="What is removed: components that are flat by the kfac or the coupled factors, input directions "
        "(activation), singular values (svd), or as a control random components, or noise of the norm of what kfac "
        "removes.",
    )
    max_loss_increase: float | None = option(
        None, help="Sweep rho downwards, and stop before the loss of --bounded-by rises by more.", min=0
    )
    bounded_by: str | None = option(
        None,
        help="Population whose loss --max-loss-increase bounds. Default clean, else held-out, else data.",
        value_aliases=FORMER_POPULATIONS,
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "rho", tuple(self.rho) if isinstance(self.rho, tuple | list) else (self.rho,))
        super().__post_init__()
        if bad := [rho for rho in self.rho if not 0 <= rho <= 1]:
            raise UsageError(f"--rho is {bad[0]}", fix="a share of the curvature mass, between 0 and 1")
        if not self.rho and self.max_loss_increase is None:
            raise UsageError(
                "neither --rho nor --max-loss-increase is given",
                why="a useful rho is 0.6 for one model and 0.99 for another",
                fix="--max-loss-increase 0.01 sweeps rho and stops there; landscape memorization shows what each costs",
            )

    @property
    def coupled(self) -> bool:
        """Whether the coupled factors are needed as well."""
        return self.method == "coupled"

    @property
    def rhos(self) -> tuple[float, ...]:
        """The shares of the sweep, in descending order; the first is 1, at which the weights are unchanged."""
        return (UNEDITED, *sorted({*(self.rho or DEFAULT_RHOS)} - {UNEDITED}, reverse=True))

    def measurement(self) -> MeasurementModule:
        """The module that measures."""
        from landscape.analyses.memorization import edit_measurement

        return edit_measurement

    def check_outputs(self, objective: Objective, output: Path) -> None:
        """Raises UsageError if a file that no edit wrote stands where the edited checkpoint would be written."""
        from landscape.analyses.memorization import edited_checkpoint

        edited_checkpoint.check_target(objective, output)

    def write_outputs(
        self, result: Any, objective: Objective, output: Path, say: Callable[[str], None] = lambda line: None
    ) -> list[Path]:
        """Writes the edited checkpoint next to the results, and its undo file; nothing if no weight changed."""
        from landscape.analyses.memorization import edited_checkpoint

        if not result.weights:
            return []
        facts = {
            "method": self.method,
            "rho": result.chosen_rho,
            "layers": [str(name) for name in result.layer],
            "bounded_by": str(result.bounded_by[0]),
            "loss_increase": result.loss_increase,
        }
        target = edited_checkpoint.target(objective, output)
        if target.exists():
            say(f"replaced the earlier edit in {target}")
        written: list[Path] = edited_checkpoint.write(objective, result.weights, output, facts)
        return written
