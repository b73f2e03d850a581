"""The result of `critical`: the critical step with its interval, the points evaluated, and what they leave open."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.base import Result, Trouble
from landscape.analyses.shared.cost import cost_scalar
from landscape.analyses.shared.meaning import stored_options
from landscape.fields import Gauge, array, scalar

if TYPE_CHECKING:
    import numpy as np

MORE_PASSES_ONLY = "the same command with a larger --passes resumes it"
MORE_PASSES = f"{MORE_PASSES_ONLY}, or a larger --tol with --restart"


@dataclass(frozen=True, kw_only=True)
class CriticalResult(Result):
    """The critical step along one update d, theta - eta d: where the loss is no longer below L(theta)."""

    tables: ClassVar[tuple[str, ...]] = ("point",)
    facts: ClassVar[tuple[str, ...]] = ("passes", "loss", "other_loss", "edge", "edge_ratio")
    follows_loss: ClassVar[bool] = False

    critical_step: float = scalar(
        "Smallest step eta at which the loss is no longer below that at the weights; NaN where it was not found.",
        gauge=Gauge("critical_step_se", by_samples=True),
    )
    critical_step_se: float | None = scalar(
        "Its standard error by the choice of the samples, and by rounding, for this update.", optional=True
    )
    critical_sharpness: float = scalar("2 / critical step.", gauge=Gauge("critical_sharpness_se", by_samples=True))
    critical_sharpness_se: float | None = scalar("Its standard error, from that of the step.", optional=True)
    interval: np.ndarray | None = array(
        "end", help="Ends of the 95 % interval of the critical step by the choice of the samples.", optional=True
    )
    bracket: np.ndarray = array(
        "end", help="Largest step evaluated whose loss is below that at the weights, and the next one, whose is not."
    )
    tol: float = scalar("Largest width of the bracket asked for, relative to its upper end.")
    passes: int = scalar("Forward passes over the data, that at the weights and that for rounding among them.")
    slope: float | None = scalar("-g'd: derivative of the loss in the step, at the weights.", optional=True)
    update_norm: float = scalar("Length of the update d.")
    relative_step: float = scalar("Length of the critical step relative to that of the weights.")
    largest_drop: float = scalar("Largest drop of the loss below that at the weights, at the points evaluated.")
    rounding: float = scalar("Smallest change of the loss that is clearly more than rounding.")
    learning_rate: float | None = scalar("Learning rate of the run.", optional=True)
    edge: float | None = scalar("2 / learning rate.", optional=True, label="2 / learning rate")
    edge_ratio: float | None = scalar(
        "critical sharpness / edge = learning rate / critical step: above 1 a step of the run raises the loss.",
        optional=True,
        label="critical sharpness / (2 / learning rate)",
    )
    other_loss: float | None = scalar(
        "Mean loss of the --other-data at the weights, from which steps lead.", optional=True
    )
    other_samples: int | None = scalar("Samples in the --other-data.", optional=True)
    cost_gradients: float | None = cost_scalar()
    loss: float = scalar("Mean loss at the checkpoint, of the data that the update is from.")
    gradient_norm: float = scalar("Norm of the gradient of that mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")
    point_step: np.ndarray = array("point", help="Steps evaluated, in ascending order.")
    point_change: np.ndarray = array(
        "point",
        help="Mean loss there minus that at the weights.",
        gauge=Gauge("point_change_error", by_samples=True),
        label="change of the loss",
    )
    point_change_error: np.ndarray | None = array(
        "point", help="Its standard error by the choice of the samples, from their differences.", optional=True
    )

    def inconclusive(self) -> Trouble | None:
        """Why the critical step is not known: no descent, no rise, hidden by rounding, or not finite beyond it."""
        lower, upper = self.bracket.tolist()
        if math.isfinite(self.critical_step):
            return self._uncertain_step()
        if lower == 0:
            return self._no_descent(upper)
        if math.isinf(upper):
            why = f"the loss is still below that at the weights after a step of {lower:.3g}, which is a lower bound"
            return Trouble(f"{why}: critical sharpness below {2 / lower:.3g}", MORE_PASSES_ONLY)
        why = f"the loss is below that at the weights at a step of {lower:.3g}, and not finite at {upper:.3g}"
        return Trouble(f"{why}: it crosses at no step that was evaluated", "--dtype float64", "not finite")

    def _uncertain_step(self) -> Trouble | None:
        """That the passes did not suffice, or that the drop before the critical step is not beyond rounding."""
        lower, upper = self.bracket.tolist()
        if self.largest_drop < self.rounding:
            return Trouble(
                f"the loss drops by {self.largest_drop:.2g} at most, which is not clearly more than rounding "
                f"({self.rounding:.2g})",
                "--dtype float64",
                "degenerate",
            )
        if upper - lower > self.tol * upper:
            return Trouble(
                f"the critical step lies between {lower:.4g} and {upper:.4g} after {self.passes} passes", MORE_PASSES
            )
        return None

    def _no_descent(self, upper: float) -> Trouble:
        """That no step was found at which the loss is below that at the weights."""
        if self.slope is not None and self.slope >= 0:
            why = f"the update leads upwards: the derivative of the loss in the step is {self.slope:.3g}"
        else:
            why = f"the loss is nowhere below that at the weights, down to a step of {upper:.3g}"
        change = float(abs(self.point_change[0])) if len(self.point_change) else math.nan
        hidden = f", where its change of {change:.2g} is not clearly more than rounding" * (change < self.rounding)
        fix = "--dtype float64" if hidden else "--update gradient, which leads downwards"
        return Trouble(why + hidden, fix, "degenerate")

    def meaning(self) -> str:
        """Which steps lower the loss, of those evaluated, unless one of them contradicts it."""
        lower, upper = self.bracket.tolist()
        below = self.point_change[self.point_step <= lower]
        if not len(below) or not (below < 0).all():
            return ""
        unit = "learning rates" if self.update_is_gradient else "steps"
        return f"{unit} up to {lower:.3g} lower the loss (of those evaluated), {upper:.3g} does not"

    @property
    def update_is_gradient(self) -> bool:
        """Whether the update is that of gradient descent, whose step is a learning rate."""
        return stored_options(self).get("update") == "gradient"

    def remarks(self) -> list[str]:
        """The two losses, the edge of stability, and what the interval leaves open."""
        sentences = []
        if self.other_loss is not None:
            sentences.append(
                f"the update is from the data of loss {self.loss:.5g}, the loss along it from the --other-data: "
                f"{self.other_loss:.5g} at the weights, of {self.other_samples:,} samples"
            )
        if self.interval is not None and math.isfinite(self.critical_step):
            low, high = self.interval.tolist()
            end = f"{high:.5g}" if math.isfinite(high) else "no upper end"
            sentences.append(f"95 % interval of the critical step by the choice of the samples: {low:.5g} to {end}")
            if low == 0:
                sentences.append("other samples may have no descent along this update at all")
        if self.edge_ratio is not None and math.isfinite(self.edge_ratio):
            side = "above" if self.edge_ratio > 1 else "below"
            sentences.append(
                f"a step of the run is {self.edge_ratio:.3g} critical steps: critical sharpness {side} "
                f"2 / learning rate = {self.edge:.4g}"
            )
        return sentences
