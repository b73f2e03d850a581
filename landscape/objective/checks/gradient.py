"""Whether the gradient in theta is the gradient that the untouched model and loss have in their own parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from landscape.compute.budget import is_large
from landscape.compute.inner_products import distance, norm
from landscape.compute.precision import default_float64
from landscape.compute.random_state import begin_at_seed
from landscape.errors import LandscapeError, TaskError, listing
from landscape.network.graph_leaves import backward
from landscape.network.scope import Resident, Substitution, work_within
from landscape.network.state import attribute_changes, plain_state
from landscape.objective.batch_loss import BatchLoss
from landscape.objective.checks.check import Check, Outcome, Trial, probe_vector
from landscape.objective.checks.gradient_sketch import compress
from landscape.objective.model_function import FORWARD_SEED, ModelFunction

PERTURBATION = 1e-2  # of the weights, relative to their size: other weights than those that the module itself holds
# differences between the gradients of one tensor: relative to that tensor's gradient, and to the whole gradient
TOLERANCES = {torch.float32: (1e-3, 1e-5), torch.float64: (1e-6, 1e-9)}
KERNEL_RTOL = 5e-2  # between torch's fused kernels in low precision and the kernels that have second derivatives


def examine_gradient(trial: Trial) -> Outcome:
    """Compares the gradients at weights near the checkpoint's; a model that differs is measured by a resident copy.

    Raises TaskError, with the parameters' names, if that gradient differs too.
    """
    points = (_perturb(trial), trial.theta)
    references = ((point, reference_gradient(trial, point)) for point in points)
    point, expected = next((pair for pair in references if pair[1] is not None), (trial.theta, None))
    if expected is None:
        return Outcome("not run", "the model's own gradient is not finite here, or cannot be computed")
    gap, names = _compare(trial, trial.function, point, expected)
    if not names:
        return Outcome("holds", f"relative difference {gap:.1e}", error=gap)
    if trial.function.blocks:
        whole = replace(trial.function, blocks=())
        whole_gap, whole_names = _compare(trial, whole, point, expected)
        if not whole_names:
            found = "recompute: off, since a block leaves more behind than what it returns"
            return Outcome("noted", found, error=whole_gap, changes={"function": whole})
    function = _with_resident(trial.function)
    if function is not None:
        copied_gap, copied_names = _compare(trial, function, point, expected)
        if not copied_names:
            found = "the model runs parts of itself again in the backward pass: a copy of it keeps theta meanwhile"
            return Outcome("noted", found, error=copied_gap, changes={"function": function})
    same_kernels = reference_gradient(trial, point, own_kernels=False)
    if same_kernels is not None and gap < KERNEL_RTOL and not _compare(trial, trial.function, point, same_kernels)[1]:
        return Outcome("holds", f"relative difference {gap:.1e}, that of other kernels' rounding", error=gap)
    _require_same_again(trial, point, expected)
    raise TaskError(
        f"the gradient of the loss in {listing(names)} is not the model's own: relative difference {gap:.2g}",
        why="the model or the loss uses these parameters in a way that does not follow theta, or computes gradients of "
        "its own in the backward pass",
        fix="use the parameters as attributes of the model in forward and in the loss, and torch's own derivatives; "
        "--params leaves parameters out",
    )


GRADIENT = Check("gradient", "the gradient is the model's own", "2 gradients of a few samples", examine_gradient)


def reference_gradient(trial: Trial, point: Tensor, *, own_kernels: bool = True) -> dict[str, Tensor] | None:
    """The gradient by name that `backward` leaves in the parameters of the user's module, as `compress` returns it.

    None if it is not finite. The module has leaf parameters with the values of `point` through both passes, as in
    training. With `own_kernels` torch computes as it does for the user, else as it does for measurements.
    """
    function = trial.function
    named = function.state(point)
    own = point is not trial.theta  # then the module may write into it
    parameters = {
        n: nn.Parameter(named[n].detach() if own else named[n].detach().clone()) for n in function.space.names
    }
    state = {function.scope_name(name): tensor for name, tensor in {**named, **parameters}.items()}
    batch, found = trial.fresh_batch(), dict[str, Tensor]()

    def add(name: str, part: Tensor) -> None:
        """Adds a part of the gradient in one tensor."""
        part = compress(part, len(point))
        found[name] = found[name].add_(part) if name in found else part

    def work() -> None:
        """Both passes, inside which the module holds the leaf parameters."""
        output = trial.loss.structure.scored_output(function.call(batch))
        backward(trial.loss.total(output, batch.targets), parameters, add)

    try:
        with torch.enable_grad():
            if own_kernels:
                _run_with_own_kernels(function, parameters, state, work)
            else:
                function.forward({**named, **parameters}, work)
    except LandscapeError:
        raise
    except Exception:  # the user's model and loss may raise anything; the measurement reports it where it needs it
        return None
    for name in parameters.keys() - found.keys():
        found[name] = compress(torch.zeros_like(parameters[name]), len(point))
    return found if all(bool(gradient.isfinite().all()) for gradient in found.values()) else None


def _require_same_again(trial: Trial, point: Tensor, expected: Mapping[str, Tensor]) -> None:
    """Raises TaskError if the model's own gradient is another one the second time."""
    attributes = plain_state(trial.function.module)
    again = reference_gradient(trial, point)
    rtol, _ = TOLERANCES[trial.theta.dtype]
    if again is None or all(torch.allclose(again[n], g, rtol=rtol / 10, atol=0.0) for n, g in expected.items()):
        return
    changed = attribute_changes(trial.function.module, attributes)
    raise TaskError(
        "the model's own gradient is another one every time",
        why=f"it keeps state from pass to pass: {listing(changed)}" if changed else "something in it is random",
        fix="make the forward pass deterministic in eval mode, and the same at every call",
    )


def _run_with_own_kernels(
    function: ModelFunction,
    parameters: Mapping[str, nn.Parameter],
    state: dict[str, Tensor],
    work: Callable[[], None],
) -> None:
    """Runs the work inside the scope with torch's own kernels."""
    captured = {key: parameters[name] for key, name in function.captured.items() if name in parameters}
    wide = any(parameter.dtype == torch.float64 for parameter in parameters.values())
    created = default_float64() if wide else nullcontext()
    with ExitStack() as stack:
        for context in (*function.modes(), created, begin_at_seed(FORWARD_SEED), Substitution(captured)):
            stack.enter_context(context)
        work_within(function.scope, state, work)


def _compare(
    trial: Trial, function: ModelFunction, point: Tensor, expected: Mapping[str, Tensor]
) -> tuple[float, list[str]]:
    """The relative difference of two gradients, and the names of the tensors where it is more than rounding."""
    batch_loss, norms = BatchLoss(function, trial.loss), {name: norm(g) for name, g in expected.items()}
    gaps = dict(norms)  # of zeros

    def note_distance(name: str, part: Tensor) -> None:
        """Notes how far the gradient in one tensor is from the expected one."""
        gaps[name] = distance(compress(part, len(point)), expected[name])

    try:
        if function.resident is None and is_large(len(point)):
            batch_loss.visit_gradient(point, trial.fresh_batch(), note_distance)
        else:
            _, gradient = batch_loss.batch_gradient(point, trial.fresh_batch())
            for name, part in function.space.unflatten(gradient).items():
                note_distance(name, part)
    except TaskError as error:
        return math.inf, [f"its parameters ({error.what})"]
    whole, total = (math.sqrt(sum(size**2 for size in every.values())) for every in (norms, gaps))
    rtol, whole_rtol = TOLERANCES[trial.theta.dtype]
    bad = [name for name, gap in gaps.items() if not gap <= rtol * norms[name] + whole_rtol * whole]
    return (total / whole if whole else total), bad


def _perturb(trial: Trial) -> Tensor:
    """Weights near theta that all differ from the module's own, zeros too."""
    noise = probe_vector(trial.theta, "gradient")
    weights = trial.function.space.unflatten(trial.theta)
    for name, part in trial.function.space.unflatten(noise).items():
        if part.numel():
            part.mul_(PERTURBATION * (float(weights[name].square().mean().sqrt()) or 1.0))
    return noise.add_(trial.theta)


def _with_resident(function: ModelFunction) -> ModelFunction | None:
    """The function by a copy that keeps theta; None if the module cannot be copied."""
    try:
        return replace(function, resident=Resident(function.scope, function.mode))
    except Exception:  # the user's module may refuse in any way
        return None
