"""The checks after a measurement: the loss and the weights are what they were, and derivatives are derivatives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from landscape.data.batches import Batch, to_device
from landscape.data.trees import leaves
from landscape.errors import LandscapeError, listing
from landscape.losses.terms import TermsLoss
from landscape.network.state import attribute_changes, plain_state
from landscape.objective.batch_loss import BatchLoss
from landscape.objective.checks.check import Check, Outcome, sample_count
from landscape.objective.checks.derivatives import DerivativeErrors, derivative_errors, judge
from landscape.objective.checks.finding import Finding
from landscape.objective.checks.float64 import in_float64
from landscape.objective.weights_digest import tensor_changes

if TYPE_CHECKING:
    from landscape.objective.objective import Objective

LOSS_RTOL = {torch.float32: 1e-5, torch.float64: 1e-10}  # between the losses before and after: sums in the same order
LOSS_ATOL = 1e-6  # for losses near 0, where float32 outputs decide
PRECISION_RTOL = 2e-4  # of the largest output: bfloat16 and float16 inside a model make 5e-4 to 1e-2, float32 1e-6
WIDER = "--dtype float64"
SMALL_LOSS = 1e-3  # mean loss below which it is the cause of few digits
LOST_DIGITS, FEW_DIGITS = 1e-2, 2e-4  # relative differences from float64: a product is lost, or has few digits
CUSTOM_FIX = (
    "landscape doctor CKPT names it too; replace custom autograd functions, detach() and rounding by differentiable "
    "operations, or leave their parameters out with --params"
)


@dataclass(frozen=True)
class Measured:
    """An objective after a measurement; `attributes` is what its model kept before it.

    `differentiates` says whether the measurement took gradients, `multiplies` whether it multiplied by the Hessian.
    """

    objective: Objective
    attributes: Mapping[str, Any]
    differentiates: bool = True
    multiplies: bool = True

    @cached_property
    def samples(self) -> Batch:
        """The first samples, on the device."""
        objective = self.objective
        batch = next(next(iter(objective.batches)).split(sample_count(objective.theta.numel())))
        return to_device(batch, objective.device, objective.dtype)

    @cached_property
    def errors(self) -> DerivativeErrors:
        """The errors of the derivatives, of the first samples."""
        objective = self.objective
        measure = partial(derivative_errors, objective.function, objective.loss, objective.theta, self.samples)
        if not self.multiplies:
            return measure(second=False)
        try:
            return measure(second=True)
        except LandscapeError as error:
            return replace(measure(second=False), missing=error.what)

    @property
    def where(self) -> str:
        """In which of the parameters derivatives were compared, if not in all."""
        some, every = self.errors.parameters, self.objective.space.size
        return f", in {some:,} of {every:,} parameters: the smallest tensors, and a module of each class" * (
            some < every
        )


def examine_repetition(measured: Measured) -> Outcome:
    """Compares weights and loss with those before the measurement."""
    objective = measured.objective
    changed = tensor_changes(objective.function, objective.theta, objective.weight_hashes)
    state = attribute_changes(objective.model, measured.attributes)
    every = objective.ranks.gather((changed, state), "what has changed")  # each has seen other samples
    changed, state = (list(dict.fromkeys(name for lists in every for name in lists[part])) for part in (0, 1))
    if changed:
        return Outcome(
            "broken",
            f"the forward pass changed {listing(changed)} during the measurement",
            "leave weights and buffers alone in eval mode, or freeze what changes them",
        )
    return examine_loss_again(objective, state)


def examine_loss_again(objective: Objective, state: list[str]) -> Outcome:
    """Compares the loss with that before the measurement; `state` names what the model keeps otherwise than then."""
    before, after = objective.reference.loss, float(objective.value())
    gap = abs(after - before)
    if gap <= LOSS_RTOL[objective.dtype] * abs(before) + LOSS_ATOL * (objective.dtype == torch.float32):
        return Outcome("holds", f"the loss is {after:.6g} again", error=gap / abs(before) if before else gap)
    reason = (
        f"it keeps state from pass to pass: {listing(state)}" if state else "something in it is random in eval mode"
    )
    return Outcome(
        "broken",
        f"the loss at the checkpoint was {before:.8g} before the measurement and is {after:.8g} after it: {reason}",
        "make the forward pass deterministic in eval mode, and the same at every call",
        gap / abs(before) if before else gap,
    )


def examine_slope(measured: Measured) -> Outcome:
    """Compares the gradient with differences of the loss."""
    if not measured.differentiates:
        return Outcome("not run", "no gradient was measured")
    fault = "the gradient is not the derivative of the loss (an operation cuts or rewrites gradients)"
    return judge(measured.errors.gradient, fault, CUSTOM_FIX, measured.where)


def examine_curvature(measured: Measured) -> Outcome:
    """Compares the Hessian-vector product with differences of the gradient."""
    if measured.objective.settings.hvp == "difference":
        return Outcome("holds", "products are differences of gradients themselves, with their error")
    if not measured.differentiates or measured.errors.product is None:
        missing = measured.errors.missing if measured.differentiates else ""
        return Outcome("not run", missing or "no product of the Hessian was measured")
    fault = "the second derivative is not that of the gradient (an operation computes its derivative by itself)"
    return judge(
        measured.errors.product,
        fault,
        f"--hvp difference, which needs gradients alone; or {CUSTOM_FIX}",
        measured.where,
    )


def examine_precision(measured: Measured) -> Outcome:
    """Compares the outputs of a few samples, and their product with the Hessian, with those in float64."""
    objective, batch = measured.objective, measured.samples
    if objective.dtype == torch.float64:
        return Outcome("holds", "float64 was asked for")
    gap = None if isinstance(objective.loss, TermsLoss) else _output_gap(objective, batch)
    if gap is not None and gap > PRECISION_RTOL:
        found = f"the model computes in less than float32: its outputs differ from those in float64 by {gap:.1e}"
        return Outcome("noted", f"{found}, and so do all numbers that follow from them", error=gap)
    gaps = {} if gap is None else {"outputs": gap}
    if measured.differentiates and _is_rounding(objective):
        found = f"the loss is {objective.reference.loss:.2g}, and float32 has no digits for what makes it larger than 0"
        return Outcome("broken", found, WIDER)
    if not measured.differentiates or measured.errors.rounding is None:
        return Outcome("holds", _describe_gaps(gaps) or "nothing was compared", error=gap)
    part = batch.size / max(objective.batches.samples, batch.size)
    return _judge_digits(measured.errors, objective.reference.loss, part, gaps)


def _output_gap(objective: Objective, batch: Batch) -> float:
    """The largest difference of the outputs of a few samples from those in float64, relative to the largest output."""
    wide, point = in_float64(objective.function, objective.theta, objective.loss, batch)
    with torch.no_grad():
        outputs = leaves(objective.batch_output(objective.theta, batch))
        wide_batch = to_device(batch, objective.device, torch.float64)
        exact = leaves(BatchLoss(wide, objective.loss).batch_output(point, wide_batch))
        return max((_relative_gap(one, other) for one, other in zip(outputs, exact, strict=True)), default=0.0)


def _is_rounding(objective: Objective) -> bool:
    """Whether the mean loss is 0 to float32: of predictions that are never wholly sure, or with a gradient."""
    loss, eps = abs(objective.reference.loss), torch.finfo(objective.dtype).eps
    never_sure = objective.loss.structure.kind in ("classes", "binary")
    return loss < eps if never_sure else loss == 0 and objective.reference.gradient_norm > 0


def _judge_digits(errors: DerivativeErrors, loss: float, part: float, gaps: dict[str, float]) -> Outcome:
    """The outcome for gradient and product of the first samples, a part of all, in float32 beside those in float64.

    1 - p of a prediction p near 1 has few digits in float32, and the curvature of cross-entropy consists of it; so have
    small residuals of a regression, of which gradients consist. Samples of little loss have as little of the whole, and
    rounding of many samples is a mean of independent errors: digits are lost if it is still large then.
    """
    assert errors.rounding is not None
    share = min(1.0, abs(errors.loss / loss)) if loss else 1.0
    derivatives = dict(zip(("gradients", "products"), errors.rounding, strict=True))
    error = share * max(derivatives.values())
    if not error > FEW_DIGITS:
        return Outcome("holds", _describe_gaps(gaps | derivatives), error=error)
    cause = "losses so near 0 leave" if errors.loss < SMALL_LOSS else "rounding leaves"
    found = f"{cause} few digits: of the first samples, {_describe_gaps(derivatives)}"
    lost = share * math.sqrt(part) * derivatives["products"] > LOST_DIGITS
    return Outcome("broken" if lost else "noted", found, WIDER, error)


def _describe_gaps(gaps: Mapping[str, float]) -> str:
    """Relative differences from float64 in words."""
    named = ", ".join(f"{name} by {gap:.1e}" for name, gap in gaps.items())
    return f"differences from float64: {named}" if named else ""


def _relative_gap(one: Tensor, other: Tensor) -> float:
    """The largest difference of two outputs relative to the largest output; 0 for integers."""
    if not other.is_floating_point() or not other.numel():
        return 0.0
    scale = float(other[other.isfinite()].abs().max()) if bool(other.isfinite().any()) else 0.0
    gap = (one.double() - other.double()).nan_to_num(posinf=0.0, neginf=0.0).abs().max()
    return float(gap) / scale if scale else 0.0


CLOSING_CHECKS: tuple[Check[Measured], ...] = (
    Check("repetition", "the loss is the same at the end", "1 forward pass over the data", examine_repetition),
    Check("slope", "the gradient is the derivative of the loss", "3 gradients of a few samples", examine_slope),
    Check(
        "precision",
        "the numbers have the digits of the precision that is asked for",
        "2 forward passes and 2 products of a few samples",
        examine_precision,
    ),
    Check("curvature", "products are derivatives of the gradient", "1 product of a few samples", examine_curvature),
)


def begin(objective: Objective) -> Mapping[str, Any]:
    """What the model keeps before a measurement, for the checks after it; evaluates the loss at the checkpoint."""
    _ = objective.reference
    return plain_state(objective.model)


def check_afterwards(
    objective: Objective, attributes: Mapping[str, Any], *, differentiates: bool, multiplies: bool | None = None
) -> tuple[Finding, ...]:
    """What the checks after a measurement find; a check that fails itself is "not run", so that no result is lost.

    `attributes` is what `begin` returned. Without `multiplies` the strategies tell whether there were products.
    """
    products = any("hessian" in key.operator for key in objective.strategies.chosen)
    multiplies = (products if multiplies is None else multiplies) and objective.settings.hvp != "difference"
    measured = Measured(objective, attributes, differentiates, multiplies)
    with objective.precision():
        return tuple(check.finding(check.attempt(measured)) for check in objective.closing_checks or CLOSING_CHECKS)
