"""Whether derivatives are those of the loss, by central differences of a few samples in float64.

The gradient is compared with differences of the loss, and the Hessian-vector product with differences of the gradient,
along one direction. A custom function whose backward pass is not its derivative, or forgets a part of its second
derivative, leaves the matrix symmetric: nothing but differences tells.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from landscape.compute.inner_products import distance, dot, norm
from landscape.data.batches import Batch, to_device
from landscape.errors import LandscapeError, NumericalError
from landscape.losses.protocol import Loss
from landscape.network.embeddings import padding_rows
from landscape.objective.batch_loss import BatchLoss
from landscape.objective.checks.check import Outcome, probe_vector
from landscape.objective.checks.float64 import in_float64, restrict
from landscape.objective.model_function import ModelFunction
from landscape.objective.user_errors import reraise_user_errors

# Steps relative to theta's norm, in float64. The second meets a kink in one of three draws of a MobileNet on 6 images,
# the third in none. The rough ones serve models that compute parts of themselves in float32, whose rounding hides small
# steps.
FINEST = 1e-11  # a gap that rounding explains is no answer here: rounding explains gaps of 2e-4 of the slope
STEPS, ROUGH_STEPS = (1e-7, 1e-9, FINEST), (1e-5, 1e-4, 1e-3)
# Relative to theta's norm, where the differences are taken: units whose inputs are 0 have their kink at the checkpoint
# itself (convolutions without bias behind dead units).
OFFSET = 1e-4
FLOAT32_STEPS = (1e-4, 1e-5, 1e-3)  # for models that cannot compute in float64
MAX_ERROR = 1e-3  # relative, in float64: a right derivative agrees to 1e-6
MAX_ROUGH_ERROR = 5e-2  # the same where float32 rounding or kinks blur the differences
SAME_ERROR = 2.0  # ratio of the errors of a fault at small and at large steps; those of rounding shrink with the step
LARGEST_TERM = 2.0**17  # numbers, such as logits, whose difference a loss near 0 may be
ROUNDING = 10  # multiples of the rounding of a difference quotient that are no error


@dataclass(frozen=True)
class RelativeError:
    """The relative error of a derivative; `rough` says that rounding or kinks blur the differences.

    `hidden` says that the loss is so near 0 that rounding hides its differences at every step.
    """

    value: float
    rough: bool = False
    hidden: bool = False

    @property
    def limit(self) -> float:
        """The largest error that is no fault."""
        return MAX_ROUGH_ERROR if self.rough else MAX_ERROR


@dataclass(frozen=True)
class DerivativeErrors:
    """The errors of the gradient and of the Hessian-vector product, in so many `parameters` of the model.

    `product` is None if no product was compared, with the reason in `missing` if it failed. `rounding` are the relative
    differences of gradient and product in float32 from those in float64, None if there is none, and `loss` is the mean
    loss of the samples.
    """

    gradient: RelativeError
    product: RelativeError | None
    missing: str = ""
    parameters: int = 0
    rounding: tuple[float, float] | None = None
    loss: float = math.nan


@dataclass(frozen=True)
class Quotients:
    """The difference quotient of the loss and of its gradient `(P,)`, the mean slope, and the loss at both ends."""

    loss: float
    slope: float
    gradient: Tensor
    up: float
    down: float

    def unit(self, epsilon: float) -> float:
        """What both losses are multiples of: the last digit of the numbers whose difference a loss near 0 is.

        0 where it is none, as of a loss that is a whole number.
        """
        found = min((lowest_bit(loss) for loss in (self.up, self.down) if loss), default=epsilon)
        return found if found <= LARGEST_TERM * epsilon else 0.0


@dataclass(frozen=True)
class Line(ABC):
    """The loss of a few samples along a direction `(P,)` from theta `(P,)`."""

    theta: Tensor
    direction: Tensor

    @abstractmethod
    def gradient_at(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """The loss at a point, shape (), and its gradient `(P,)`."""

    @abstractmethod
    def product(self) -> Tensor:
        """The Hessian at theta times the direction `(P,)`, as measurements compute it."""

    def quotients(self, step: float) -> Quotients:
        """The difference quotients of loss and gradient over a step to both sides."""
        (up, up_gradient), (down, down_gradient) = (
            self.gradient_at(self.theta + sign * step * self.direction) for sign in (1, -1)
        )
        slope = (dot(up_gradient, self.direction) + dot(down_gradient, self.direction)) / 2
        return Quotients(
            float(up - down) / (2 * step), slope, (up_gradient - down_gradient) / (2 * step), float(up), float(down)
        )


@dataclass(frozen=True)
class BatchLine(Line):
    """The summed loss of one batch along a direction."""

    batch_loss: BatchLoss
    batch: Batch

    def gradient_at(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """The loss at a point, and its gradient."""
        return self.batch_loss.batch_gradient(point, self.batch)

    def product(self) -> Tensor:
        """The Hessian-vector product `(P,)`, by two backward passes, as measurements compute it."""
        return self.derivatives()[2]

    def derivatives(self) -> tuple[float, Tensor, Tensor]:
        """The mean loss at theta, the gradient of the summed loss and its Hessian-vector product, both `(P,)`."""
        point = self.theta.detach().requires_grad_()

        def twice() -> tuple[float, Tensor, Tensor]:
            """Loss and gradient, and the gradient's derivative along the direction."""
            total = self.batch_loss.batch_total(point, self.batch)
            mean = float(total.detach()) / (self.batch_loss.batch_count(self.batch) or 1.0)
            (gradient,) = torch.autograd.grad(total, point, create_graph=True)
            if not gradient.requires_grad:
                return mean, gradient, torch.zeros_like(point)
            return mean, gradient.detach(), torch.autograd.grad(gradient, point, self.direction)[0]

        with torch.enable_grad():
            return reraise_user_errors(self.batch, twice)


def derivative_errors(
    function: ModelFunction, loss: Loss, theta: Tensor, batch: Batch, *, second: bool
) -> DerivativeErrors:
    """The errors of the derivatives along a random direction plus the gradient; `second` asks for the product's too.

    Raises TaskError if the model fails.
    """
    function, theta = restrict(function, theta)
    try:
        wide, point = in_float64(function, theta, loss, batch)
        line = _line(BatchLoss(wide, loss), point, to_device(batch, theta.device, torch.float64))
        found = line_errors(line, (*STEPS, *ROUGH_STEPS), second=second)
    except LandscapeError:
        if theta.dtype == torch.float64:
            raise
        line = _line(BatchLoss(function, loss), theta, batch)  # parts of it are float32, whatever it is given
        found = line_errors(line, FLOAT32_STEPS, second=second)
        return replace(found, parameters=theta.numel())
    if second and theta.dtype == torch.float32:
        narrow = BatchLine(theta, line.direction.to(theta.dtype), BatchLoss(function, loss), batch)
        found = _with_rounding(found, narrow, replace(line, theta=point))
    return replace(found, parameters=theta.numel())


def _with_rounding(found: DerivativeErrors, narrow: BatchLine, wide: BatchLine) -> DerivativeErrors:
    """The errors with the relative differences of gradient and product in float32 from those in float64."""
    loss, *exact = wide.derivatives()
    _, *rounded = narrow.derivatives()
    gradient, product = (
        _relative(distance(one.double(), other), norm(other), 0.0, 0.0)
        for one, other in zip(rounded, exact, strict=True)
    )
    return replace(found, rounding=(gradient, product), loss=loss)


def judge(error: RelativeError, fault: str, fix: str, where: str = "") -> Outcome:
    """The outcome for one relative error: `fault` and its `fix` where the error is more than rounding.

    `where` says in what it was looked at, if not in all.
    """
    if error.hidden:
        return Outcome("holds", f"rounding hides the differences of a loss so near 0{where}", error=0.0)
    if error.value <= error.limit:
        return Outcome("holds", f"relative difference {error.value:.1e}{where}", error=error.value)
    return Outcome("broken", f"{fault}: relative difference {error.value:.2g}", fix, error.value)


def _line(batch_loss: BatchLoss, theta: Tensor, batch: Batch) -> BatchLine:
    """The line from a point beside theta along a random direction plus the gradient, both of length 1."""
    noise, away = probe_vector(theta, "derivatives"), probe_vector(theta, "offset")
    scale = max(1.0, norm(theta))
    theta = away.mul_(OFFSET * scale / norm(away)).add_(theta)
    _, gradient = batch_loss.batch_gradient(theta, batch)
    length = norm(gradient)
    if math.isnan(length):  # masks of some models overflow in float64, and not in float32
        raise NumericalError("the gradient of the first samples is not a number", fix="measure in another --dtype")
    along = gradient / length if 0 < length < math.inf else torch.zeros_like(gradient)
    direction = noise.div_(norm(noise)).add_(along)
    rows = batch_loss.space.unflatten(direction)
    for name, row in padding_rows(batch_loss.model).items():
        if name in rows:  # torch gives it no gradient by definition
            rows[name][row] = 0
    return BatchLine(theta, direction.mul_(scale / norm(direction)), batch_loss, batch)


def line_errors(line: Line, steps: tuple[float, ...], *, second: bool) -> DerivativeErrors:
    """The errors over the steps; later steps are taken only where the first ones are blurred."""
    product = line.product() if second else None
    epsilon = torch.finfo(line.theta.dtype).eps
    gradient_gaps: list[float] = []
    product_gaps: list[float] = []
    hidden = 0  # steps over which the loss moves by a few of its units, and no quotient tells
    for step in steps:
        quotients = line.quotients(step)
        slope, noise = quotients.slope, ROUNDING * epsilon / step
        gap, whole = abs(quotients.loss - slope), max(abs(quotients.loss), abs(slope))
        if gap > MAX_ERROR * whole and gap <= ROUNDING * quotients.unit(epsilon) / step:
            hidden += 1
            gradient_gaps.append(math.inf)
        else:
            explained = _value_of_rounding(gradient_gaps, step)
            gradient_gaps.append(_relative(gap, whole, noise * abs(quotients.up), explained))
        if product is not None:
            gap = distance(quotients.gradient, product)
            whole = max(norm(quotients.gradient), norm(product))
            explained = _value_of_rounding(product_gaps, step)
            product_gaps.append(_relative(gap, whole, noise * abs(slope), explained))
        errors = [_settle(gaps, steps) for gaps in (gradient_gaps, product_gaps) if gaps]
        if all(error is not None for error in errors):
            break
    settled = _settle(gradient_gaps, steps)
    if settled is None and hidden >= min(len(STEPS), len(steps)):
        settled = RelativeError(0.0, hidden=True)
    return DerivativeErrors(
        settled or _worst_error(gradient_gaps, steps),
        (_settle(product_gaps, steps) or _worst_error(product_gaps, steps)) if product_gaps else None,
    )


def lowest_bit(value: float) -> float:
    """The largest power of two that a number other than 0 is a multiple of.

    >>> lowest_bit(0.75), lowest_bit(6.0)
    (0.25, 2.0)
    """
    fraction, exponent = math.frexp(value)
    digits = int(math.ldexp(fraction, 53))
    return math.ldexp(digits & -digits, exponent - 53)


def _value_of_rounding(gaps: list[float], step: float) -> float:
    """What a gap that rounding explains counts as: 0, or no answer at the finest step and after a gap that it did not.

    At a smaller step rounding explains more, also the gap that a larger one has shown.
    """
    return math.inf if step == FINEST or (step in STEPS and max(gaps, default=0.0) > MAX_ERROR) else 0.0


def _settle(gaps: list[float], steps: tuple[float, ...]) -> RelativeError | None:
    """The error as soon as a small step agrees, or a rough one does where small ones are blurred; else None."""
    sharp = gaps[: len(STEPS)] if steps[: len(STEPS)] == STEPS else []
    if sharp and min(sharp) <= MAX_ERROR:
        return RelativeError(min(sharp))
    rough = min(gaps[len(sharp) :], default=float("inf"))
    blurred = not sharp or SAME_ERROR * rough <= min(sharp)
    return RelativeError(rough, rough=True) if rough <= MAX_ROUGH_ERROR and blurred else None


def _worst_error(gaps: list[float], steps: tuple[float, ...]) -> RelativeError:
    """The error where no step agrees; that of the small steps unless larger ones are better."""
    sharp = gaps[: len(STEPS)] if steps[: len(STEPS)] == STEPS else []
    return RelativeError(min(gaps), rough=not sharp or SAME_ERROR * min(gaps) <= min(sharp))


def _relative(gap: float, whole: float, noise: float, explained: float) -> float:
    """The gap relative to the whole; `explained` where the gap is large and rounding explains it."""
    relative = gap / whole if whole > 0 else math.inf if gap else 0.0
    return explained if relative > MAX_ERROR and gap <= noise else relative
