"""The loss along one direction, its slope, curvature and safe step: options and result of `direction`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.analyses.base import Analysis, MeasurementModule, Result, Trouble
from landscape.analyses.numbers import number
from landscape.analyses.shared.cost import cost_scalar
from landscape.errors import UsageError
from landscape.fields import array, option, scalar

if TYPE_CHECKING:
    import numpy as np

    from landscape.objective import Objective


SMALLEST_SLOPE = 1e-4  # of the gradient's norm: below it the slope's sign may be rounding


@dataclass(frozen=True, kw_only=True)
class DirectionResult(Result):
    """Slope and curvature along the unit vector v, and the change by a step of given length beside its prediction."""

    tables: ClassVar[tuple[str, ...]] = ("quantile",)
    facts: ClassVar[tuple[str, ...]] = ("slope", "curvature", "safe_radius", "predicted_change", "change")
    follows_loss: ClassVar[bool] = False

    slope: float = scalar("g'v, the derivative of the loss along the direction.", label="slope g'v")
    curvature: float = scalar("v'Hv, the directional sharpness.", label="curvature v'Hv")
    length: float | None = scalar(
        "Length of the step to the other checkpoint, or of the gradient step with --lr.", optional=True
    )
    predicted_change: float | None = scalar(
        "slope length + curvature length^2 / 2.", optional=True, label="change of the loss by slope and curvature"
    )
    change: float | None = scalar(
        "Change of the loss at the end of the step.", optional=True, label="change of the loss"
    )
    safe_radius: float | None = scalar(
        "Step up to which the cross-entropy of every prediction is sure to equal its Taylor series.", optional=True
    )
    step_ratio: float | None = scalar("length / safe_radius: below 1 is safe.", optional=True)
    limiting_fraction: float | None = scalar(
        "Share of predictions whose radius is shorter than the step; without a step, than twice the smallest radius.",
        optional=True,
        percent=True,
        label="predictions with a smaller radius",
    )
    quantile: np.ndarray | None = array("quantile", help="Share of predictions with a smaller radius.", optional=True)
    quantile_radius: np.ndarray | None = array("quantile", help="That radius.", optional=True, label="safe radius")
    cost_gradients: float | None = cost_scalar()
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")

    def inconclusive(self) -> Trouble | None:
        """That the curvature or the change of the loss is not finite."""
        numbers = {"curvature": self.curvature, "change": self.change or 0.0}
        broken = [name for name, value in numbers.items() if not math.isfinite(value)]
        if not broken:
            return None
        return Trouble(f"not finite: {', '.join(broken)}", "--dtype float64, or a shorter step", "not finite")

    def gist(self) -> list[str]:
        """Slope, curvature and, where it is known, the safe radius."""
        known = {"slope": self.slope, "curvature": self.curvature, "safe_radius": self.safe_radius}
        return [f"{name} {number(value)}" for name, value in known.items() if value is not None]

    def meaning(self) -> str:
        """Where the loss is lowest along the direction to second order, if that is known beyond rounding."""
        if not (self.slope < -SMALLEST_SLOPE * self.gradient_norm and self.curvature > 0):
            return ""
        return (
            f"to second order the loss is lowest after a step of -slope / curvature = "
            f"{-self.slope / self.curvature:.3g}, and back at its value after twice that"
        )

    def remarks(self) -> list[str]:
        """That the step is longer than the safe radius."""
        if self.step_ratio is None or self.step_ratio < 1:
            return []
        return [
            f"the step is {self.step_ratio:.3g} times the safe radius: {100 * (self.limiting_fraction or 0):.3g} % of "
            "the predictions may change in a way that no Taylor series at the start shows"
        ]


@dataclass(frozen=True)
class Direction(Analysis):
    """Directional sharpness v'Hv (Pan and Li 2023) and the safe step of cross-entropy (arXiv 2603.13552).

    >>> import landscape
    >>> result = landscape.run(landscape.Direction(lr=0.1), landscape.load("digits-mlp.pt", limit=100))
    >>> result.slope < 0 and result.change < 0  # down the gradient
    True
    """

    name: ClassVar[str] = "direction"
    summary: ClassVar[str] = "Slope, curvature and safe step along an update or the gradient."
    result: ClassVar[type[Result]] = DirectionResult
    has_figure: ClassVar[bool] = False
    takes_few_passes: ClassVar[bool] = True

    towards: str | None = option(
        None,
        kind="path",
        help="Checkpoint at the end of the step (in Python also a state dict); default: down the gradient.",
        identity=False,  # `ingredients` has the digest of its weights: the name of the file does not matter
    )
    lr: float | None = option(None, help="Learning rate of a step down the gradient.", min=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.towards, Path):
            object.__setattr__(self, "towards", str(self.towards))
        if self.towards is not None and not isinstance(self.towards, str | Mapping):
            raise UsageError(f"towards is a {type(self.towards).__name__}", fix="a path, or a state dict")
        if self.towards is not None and self.lr is not None:
            raise UsageError("--towards and --lr are two steps", fix="one of them")

    def measurement(self) -> MeasurementModule:
        """The module that measures."""
        from landscape.analyses import direction_measurement

        return direction_measurement

    def ingredients(self, objective: Objective) -> dict[str, Any]:
        """The digest of the checkpoint at the end of the step, whatever its file is called."""
        if self.towards is None:
            return {}
        from landscape.evaluation.other_checkpoints import other_checkpoint

        return {"end": other_checkpoint(objective, self.towards, "--towards").digest}
