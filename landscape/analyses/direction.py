"""The loss along one direction: slope, curvature, and how long a step may be."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.analyses.base import Analysis, Plan, Progress, Result, State, Trouble
from landscape.analyses.shared.timing import seconds_per_gradient
from landscape.errors import UsageError, listing
from landscape.fields import array, option, scalar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.data.batches import Batch
    from landscape.objective import Objective

RADIUS_QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5)  # of the predictions' safe radii
COST_IN_GRADIENTS = 10  # that all of it takes, in time


@dataclass(frozen=True, kw_only=True)
class DirectionResult(Result):
    """Along the unit vector v: what a step of a given length does, and what it was predicted to do."""

    tables: ClassVar[tuple[str, ...]] = ("quantile",)
    follows_loss: ClassVar[bool] = False

    slope: float = scalar("g'v: how fast the loss rises along the direction.")
    curvature: float = scalar("v'Hv, the directional sharpness.")
    length: float | None = scalar("Length of the step: to the other checkpoint, or of one with --lr.", optional=True)
    predicted_change: float | None = scalar("slope length + curvature length^2 / 2.", optional=True)
    change: float | None = scalar("What the loss changes by at the end of the step.", optional=True)
    safe_radius: float | None = scalar(
        "Step up to which the cross-entropy of every prediction is sure to equal its Taylor series.", optional=True
    )
    step_ratio: float | None = scalar("length / safe_radius: below 1 is safe.", optional=True)
    limiting_fraction: float | None = scalar(
        "Share of predictions that are not safe over the whole step; without one, whose radius is below twice the "
        "smallest.",
        optional=True,
    )
    quantile: np.ndarray | None = array("quantile", help="Share of predictions with a smaller radius.", optional=True)
    quantile_radius: np.ndarray | None = array("quantile", help="That radius.", optional=True)
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")

    def trouble(self) -> Trouble | None:
        """That the curvature or the change of the loss is not finite."""
        numbers = {"curvature": self.curvature, "change": self.change or 0.0}
        broken = [name for name, value in numbers.items() if not math.isfinite(value)]
        if not broken:
            return None
        return Trouble(f"not finite: {', '.join(broken)}", "--dtype float64, or a shorter step", "not finite")

    def remarks(self) -> list[str]:
        if self.step_ratio is None or self.step_ratio < 1:
            return []
        return [
            f"the step is {self.step_ratio:.3g} times the safe radius: {100 * (self.limiting_fraction or 0):.3g} % of "
            "the predictions may change in a way that no Taylor series at the start shows"
        ]


@dataclass(frozen=True)
class Direction(Analysis):
    """Directional sharpness v'Hv (Pan and Li 2023) and the safe step of cross-entropy (arXiv 2603.13552)."""

    name: ClassVar[str] = "direction"
    summary: ClassVar[str] = "Slope, curvature and safe step length along an update or the gradient."
    result: ClassVar[type[Result]] = DirectionResult

    towards: str | None = option(
        None,
        kind="path",
        help="Checkpoint at the end of the step (in Python also a state dict); default: down the gradient.",
        identity=False,  # what it holds counts, not what its file is called
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

    def measure(self, objective: Objective, resume: State | None = None) -> Generator[Progress, None, DirectionResult]:
        import numpy as np
        import torch

        from landscape.algorithms.lanczos.symmetry import product_if_symmetric
        from landscape.operators import HessianOperator

        reference = objective.reference
        gradient = objective.gradient()
        unit, length = self._line(objective, gradient)
        known: dict[str, np.ndarray] = dict(resume or {})

        def done(note: str) -> Progress:
            return Progress(len(known), 2, note, lambda: {name: value.copy() for name, value in known.items()})

        if "second" not in known:
            image = product_if_symmetric(HessianOperator(objective), unit, 0)
            known["second"] = np.array(float(torch.sum(unit.double() * image)))
            yield done("curvature")
        if "radii" not in known:
            known["radii"] = _radii(objective, unit)
            yield done("safe radii")
        slope, curvature = float(torch.sum(gradient.double() * unit)), float(known["second"])
        step: dict[str, Any] = {}
        if length is not None:
            end = torch.add(objective.theta, unit, alpha=length)
            step = {
                "length": length,
                "predicted_change": slope * length + curvature * length**2 / 2,
                "change": float(objective.value(end)) - reference.loss,
            }
        return DirectionResult(
            slope=slope,
            curvature=curvature,
            **step,
            **_safety(known["radii"], length),
            loss=reference.loss,
            gradient_norm=reference.gradient_norm,
            parameters=objective.space.size,
            samples=objective.batches.samples,
        )

    def plan(self, objective: Objective) -> Plan:
        seconds = seconds_per_gradient(objective)
        facts = {"gradient": f"{seconds:.3g} s"}
        return Plan(bytes=6 * objective.theta.nbytes, products=1, seconds=COST_IN_GRADIENTS * seconds, facts=facts)

    def ingredients(self, objective: Objective) -> dict[str, Any]:
        """The end of the step, whatever its file is called."""
        if self.towards is None:
            return {}
        from landscape.evaluation.other_checkpoints import other_checkpoint

        return {"end": other_checkpoint(objective, self.towards, "--towards").digest}

    def _line(self, objective: Objective, gradient: Tensor) -> tuple[Tensor, float | None]:
        """The unit vector `(P,)` and the length of the step, None if there is none."""
        import torch

        from landscape.evaluation.other_checkpoints import other_checkpoint

        if self.towards is not None:
            end = other_checkpoint(objective, self.towards, "--towards")
            objective.notes.append(f"the step ends at {end.name}")
            move = end.theta - objective.theta
            if moved := end.differing_tensors():
                objective.notes.append(
                    f"only measured parameters move: {listing(moved)} stay as they are here, so that the end of the "
                    "step is not the other checkpoint"
                )
        else:
            move = -gradient
        size = float(torch.linalg.vector_norm(move, dtype=torch.float64))
        if not size > 0:
            what = "the gradient is zero" if self.towards is None else f"{end.name} has the same weights"
            raise UsageError(f"there is no direction: {what}", fix="--towards another checkpoint")
        length = size if self.towards is not None else None if self.lr is None else self.lr * size
        return move / size, length


def _radii(objective: Objective, unit: Tensor) -> np.ndarray:
    """The safe radius of each prediction; empty for a loss that is no cross-entropy."""
    import torch

    from landscape.losses.predictions import safe_radii
    from landscape.operators.pushforward import push_forward

    if not objective.loss.structure.has_classes:
        return torch.zeros(0).numpy()
    found: list[Tensor] = []

    def kernel(batch: Batch) -> Tensor:
        radii = safe_radii(objective.loss, *push_forward(objective, batch, unit), batch.targets)
        if radii is not None:
            found.append(radii)
        return torch.zeros(())

    objective.accumulate(kernel)
    every: np.ndarray = (torch.cat(found) if found else torch.zeros(0)).cpu().numpy()
    return every


def _safety(radii: np.ndarray, length: float | None) -> dict[str, Any]:
    """What the radii say of a step of that length."""
    import numpy as np

    if not len(radii):
        return {}
    smallest = float(radii.min())
    limit = length if length is not None else 2 * smallest
    return {
        "safe_radius": smallest,
        "step_ratio": None if length is None else length / smallest,
        "limiting_fraction": float((radii < limit).mean()),
        "quantile": np.array(RADIUS_QUANTILES),
        "quantile_radius": np.quantile(radii, RADIUS_QUANTILES, method="lower"),
    }
