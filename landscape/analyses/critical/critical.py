"""The options of `critical`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.analyses.base import Analysis, MeasurementModule, Result
from landscape.analyses.critical.result import CriticalResult
from landscape.errors import UsageError
from landscape.fields import option

if TYPE_CHECKING:
    from landscape.objective import Objective

GRADIENT, ADAM, TOWARDS = "gradient", "adam", "towards:"  # updates; the last with a checkpoint behind it
SMALLEST_RATE = 1e-30  # above 0, at which 2 / lr is no number
FEWEST_PASSES = 4  # the weights, rounding, and one on either side


@dataclass(frozen=True)
class Critical(Analysis):
    """Critical sharpness (arXiv 2601.16979): 2 over the step of an update at which the loss ends to be lower.

    >>> import landscape
    >>> objective = landscape.load("digits-mlp.pt", limit=100)
    >>> result = landscape.run(landscape.Critical(), objective)
    >>> result.passes <= 10, bool(result.interval[0] < result.critical_step < result.interval[1])
    (True, True)
    """

    name: ClassVar[str] = "critical"
    summary: ClassVar[str] = "Critical sharpness: where a step stops lowering the loss."
    result: ClassVar[type[Result]] = CriticalResult
    takes_few_passes: ClassVar[bool] = True

    update: str = option(
        GRADIENT,
        title=lambda stored: "" if stored["update"] == GRADIENT else f"update {stored['update']}",
        help="gradient; adam (the next step, with the optimizer's state in the checkpoint); or towards:OTHER, another "
        "checkpoint (in Python also a state dict).",
    )
    other_data: str | None = option(
        None,
        help="DATA[,KEY=VALUE...]: the data whose loss is followed along the update of --data (relative form; in "
        "Python also data themselves).",
        identity=False,  # `ingredients` has the digest of its data
    )
    lr: float | None = option(
        None,
        help="Learning rate of the run, for its edge 2 / lr; default: that in the optimizer's state.",
        min=SMALLEST_RATE,
    )
    tol: float = option(0.1, help="Width of the bracket at which the search ends, relative to the step.", min=1e-6)
    passes: int = option(10, help="Forward passes over the data at most.", min=FEWEST_PASSES, identity=False)
    seed: int = option(0, help="Decides the last bits that are changed to measure rounding.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.update, Path):
            object.__setattr__(self, "update", f"{TOWARDS}{self.update}")
        if self.end is None and self.update not in (GRADIENT, ADAM):
            raise UsageError(f"--update is {self.update!r}", fix="gradient, adam, or towards:OTHER.pt")
        if self.end is not None and self.lr is not None:
            raise UsageError(
                "--lr with --update towards: a step to another checkpoint has no learning rate", fix="one of them"
            )

    @property
    def end(self) -> str | Mapping[str, Any] | None:
        """The checkpoint that the update leads to, by path or as a state dict; None for another update."""
        if isinstance(self.update, Mapping):
            return self.update
        text = str(self.update)
        return text.removeprefix(TOWARDS) or None if text.startswith(TOWARDS) else None

    def measurement(self) -> MeasurementModule:
        """The module that measures."""
        from landscape.analyses.critical import measurement

        return measurement

    def differentiates(self, objective: Objective) -> bool:
        """Whether the update is made of a gradient."""
        del objective
        return self.end is None

    def identity(self) -> dict[str, Any]:
        """The options that decide the result; the name of another checkpoint's file does not."""
        return {**super().identity(), **({} if self.end is None else {"update": TOWARDS.rstrip(":")})}

    def ingredients(self, objective: Objective) -> dict[str, Any]:
        """The digests of the other data, of the other checkpoint, and of the file of the optimizer's state."""
        from landscape.analyses.critical import measurement

        return measurement.ingredients(self, objective)
