"""Measures the loss along one direction: slope, curvature, the change by the step, and the safe radii."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from landscape.algorithms.lanczos.symmetry import SYMMETRY_PRODUCTS, product_if_symmetric
from landscape.analyses.base import Plan, Progress, State
from landscape.analyses.direction import DirectionResult
from landscape.analyses.shared.products import count_gradients
from landscape.compute.inner_products import dot, norm
from landscape.errors import UsageError, listing
from landscape.evaluation.other_checkpoints import other_checkpoint
from landscape.losses.predictions import safe_radii
from landscape.objective.micro_batch import seconds_per_gradient
from landscape.operators import HessianOperator
from landscape.operators.pushforward import push_forward

if TYPE_CHECKING:
    from torch import Tensor

    from landscape.analyses.direction import Direction
    from landscape.data.batches import Batch
    from landscape.objective import Objective

RADIUS_QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5)  # of the predictions' safe radii
PUSH_FORWARD_GRADIENTS = 5 / 3  # a forward pass, a backward pass, and one through the latter
COST_IN_GRADIENTS = 10  # the time of the whole measurement


def measure(
    analysis: Direction, objective: Objective, resume: State | None
) -> Generator[Progress, None, DirectionResult]:
    """Yields after the curvature and after the safe radii; returns both with the slope and the change by the step."""
    reference = objective.reference
    gradient = objective.gradient()
    unit, length, notes = _direction(analysis, objective, gradient)
    state: dict[str, np.ndarray] = dict(resume or {})

    def progress(note: str) -> Progress:
        """A step that is done, with a snapshot of the numbers so far."""
        return Progress(len(state), 2, note, lambda: {name: value.copy() for name, value in state.items()})

    if "second" not in state:
        image = product_if_symmetric(HessianOperator(objective), unit, 0)
        state["second"] = np.array(dot(unit, image))
        yield progress("curvature")
    if "radii" not in state:
        state["radii"] = _safe_radii(objective, unit)
        yield progress("safe radii")
    has_radii = objective.loss.structure.has_classes
    slope, curvature = dot(gradient, unit), float(state["second"])
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
        **_radius_fields(state["radii"], length),
        cost_gradients=count_gradients(
            objective,
            products=SYMMETRY_PRODUCTS,
            gradients=1 + (PUSH_FORWARD_GRADIENTS if has_radii else 0),
            losses=0 if length is None else 1,
        ),
        loss=reference.loss,
        gradient_norm=reference.gradient_norm,
        parameters=objective.space.size,
        samples=objective.batches.samples,
        notes=notes,
    )


def plan(analysis: Direction, objective: Objective) -> Plan:  # noqa: ARG001 (a measurement module's)
    """Bytes of a few vectors, one product, and the seconds of ten gradients."""
    seconds = seconds_per_gradient(objective)
    facts = {"gradient": f"{seconds:.3g} s"}
    return Plan(bytes=6 * objective.theta.nbytes, products=1, seconds=COST_IN_GRADIENTS * seconds, facts=facts)


def _direction(
    analysis: Direction, objective: Objective, gradient: Tensor
) -> tuple[Tensor, float | None, tuple[str, ...]]:
    """The unit vector `(P,)`, the length of the step, None without a step, and notes about the checkpoint at its end.

    Raises UsageError if the gradient is zero, or the other checkpoint has the same weights.
    """
    notes: tuple[str, ...] = ()
    if analysis.towards is None:
        move, why = -gradient, "the gradient is zero"
    else:
        end = other_checkpoint(objective, analysis.towards, "--towards")
        move, why = end.theta - objective.theta, f"{end.name} has the same weights"
        notes = (f"the step ends at {end.name}",)
        if fixed := end.differing_tensors():
            notes += (
                f"only measured parameters move: {listing(fixed)} stay as they are here, so that the end of the step "
                "is not the other checkpoint",
            )
    size = norm(move)
    if not size > 0:
        raise UsageError(f"there is no direction: {why}", fix="--towards another checkpoint")
    length = size if analysis.towards is not None else None if analysis.lr is None else analysis.lr * size
    return move / size, length, notes


def _safe_radii(objective: Objective, unit: Tensor) -> np.ndarray:
    """The safe radius of each prediction along `unit` `(P,)`; empty for a loss that is not a cross-entropy."""
    if not objective.loss.structure.has_classes:
        return np.zeros(0, np.float32)
    radii: list[Tensor] = []

    def kernel(batch: Batch) -> Tensor:
        """Appends the safe radii of one batch; the sum over batches is not used."""
        of_batch = safe_radii(objective.loss, *push_forward(objective, batch, unit), batch.targets)
        if of_batch is not None:
            radii.append(of_batch)
        return torch.zeros(())

    objective.alone().accumulate(kernel)
    every: np.ndarray = (torch.cat(radii) if radii else torch.zeros(0)).cpu().numpy()
    return every


def _radius_fields(radii: np.ndarray, length: float | None) -> dict[str, Any]:
    """The fields about a step of that length; nothing without radii."""
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
