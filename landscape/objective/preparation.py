"""Preparation of an objective before its first pass: weights, data, loss, the number of terms, and the micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from landscape.choices import Mode, Outputs
from landscape.compute.budget import room
from landscape.compute.precision import full_precision
from landscape.compute.strategy import ProductSettings
from landscape.data.batches import Batch, to_device
from landscape.data.concatenation import concatenate
from landscape.data.survey import Batches, FirstSamples, survey
from landscape.data.trees import copy_targets
from landscape.errors import NumericalError, TaskError, listing
from landscape.losses.huggingface import padding_count, padding_token
from landscape.losses.own_arguments import with_own_arguments
from landscape.losses.preflight import choose_loss
from landscape.losses.protocol import Loss
from landscape.network import one_dictionary
from landscape.network.filters import filter_axes
from landscape.network.memory_overlap import overlapping
from landscape.network.one_dictionary import AsOneArgument
from landscape.network.space import ParameterSpace
from landscape.network.stored_weights import describe_narrow, round_weights_
from landscape.network.weight_norm import uses_weight_norm
from landscape.network.wrappers import trainable_parameters, unwrap
from landscape.objective.batch_loss import BatchLoss
from landscape.objective.block_choice import choose_blocks, recomputation_note
from landscape.objective.checks.check import ModelTrial, Trial, run_checks, sample_count
from landscape.objective.checks.finding import Finding
from landscape.objective.checks.first_output import require_deterministic_output
from landscape.objective.checks.opening import MODEL_CHECKS, OPENING_CHECKS
from landscape.objective.cutting import WHOLE_ONLY, takes_whole_batches_only
from landscape.objective.micro_batch import SampleCost, plan_micro_batch
from landscape.objective.model_function import ModelFunction
from landscape.objective.narrow_weights import narrow_on_samples
from landscape.objective.objective_function import TRIAL_SAMPLES, ObjectiveFunction, require_agreement, try_terms
from landscape.objective.shared_memory import place
from landscape.objective.views import count_terms
from landscape.objective.weights_digest import tensor_hashes


@dataclass(frozen=True)
class Weights:
    """The model as a function of theta, its trainable parameters `(P,)`, and the sha256 of each of its tensors."""

    function: ModelFunction
    theta: Tensor
    hashes: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Prepared:
    """A model, its data and its loss, tried and checked on the first samples.

    `joinable` says that batches may be concatenated, `as_given` that they may be neither split nor joined.
    """

    function: ModelFunction
    theta: Tensor
    loss: Loss
    batches: Batches
    count: float
    joinable: bool
    as_given: bool
    activation_bytes: int
    micro_batch: int
    checks: tuple[Finding, ...]
    notes: tuple[str, ...]
    sample_cost: SampleCost | None = None  # of a gradient, where it was timed


def prepare_weights(
    model: nn.Module,
    params: tuple[str, ...],
    device: torch.device,
    dtype: torch.dtype,
    loss: Any = None,
    mode: Mode = "eval",
    settings: ProductSettings = ProductSettings(),  # noqa: B008 (it is frozen)
    *,
    share: bool = False,
) -> Weights:
    """Copies of the model's parameters and buffers on the device, those selected by `params` as one vector.

    With `share` the model's tensors become parts of them, where device and dtype are the same.
    A loss, or an objective, that is a module with parameters of its own adds them, under names that begin with `loss.`.
    Raises TaskError for a model without parameters that can be measured, NumericalError for NaN or infinity in them.
    """
    module = unwrap(model)
    criterion, prefix = criterion_of(loss, module)
    own = criterion_tensors(criterion, module, prefix)
    parameters = {**trainable_parameters(module), **{n: t for n, t in own.items() if t.requires_grad}}
    space = ParameterSpace.of(parameters, filter_axes(module)).select(params)
    buffers = dict(module.named_buffers())
    named = {**dict(module.named_parameters()), **buffers, **own}
    _require_separate_memory(named, set(space.names))
    narrow = describe_narrow(named, dtype)
    theta = torch.empty(space.size, dtype=dtype, device=device)
    parts = space.unflatten(theta)
    tensors = {name: place(tensor, parts.get(name), theta, share=share) for name, tensor in named.items()}
    rounding = round_weights_(parts, str(settings.weights_dtype)) if settings.keeps_narrow_weights else ""
    require_finite_weights(tensors, buffers)
    fixed = {name: tensor for name, tensor in tensors.items() if name not in set(space.names)}
    function = ModelFunction(module, space, fixed, criterion, prefix, uses_weight_norm(module), mode=mode)
    return Weights(function, theta, tensor_hashes(tensors), tuple(filter(None, (narrow, rounding))))


def prepare(
    weights: Weights,
    data: Any,
    loss: Any,
    *,
    device: torch.device,
    dtype: torch.dtype,
    micro_batch: int | None,
    limit: int | None,
    settings: ProductSettings,
    outputs: Outputs | None = None,
    objective: ObjectiveFunction | None = None,
    examine: Callable[..., Prepared] | None = None,
) -> Prepared:
    """Surveys the data, chooses the loss, checks what measurements assume, and plans the micro-batch.

    `data`, `loss`, `limit`, `micro_batch` and `outputs` are as in `Objective`; `objective` takes the place of model and
    loss, and `examine` that of `check_and_plan`. Raises TaskError for data, a model or a loss that cannot be measured.
    """
    budget, function = room("data", device), weights.function
    as_items = objective is not None and not objective.has_outputs
    if objective is not None:
        function = replace(function, user_pass=objective.user_pass)
        data, loss = objective.data_of(data), objective.loss
    one_argument = None
    if objective is None:
        data = one_argument = AsOneArgument(with_own_arguments(function.module, loss, data), function.module)
    beginning = None if limit is None else FirstSamples(data, limit, as_items=as_items)
    look = partial(survey, beginning or data, device=device, dtype=dtype, budget=budget, as_items=as_items)
    plan = partial(
        examine or check_and_plan,
        weights,
        function,
        loss,
        budget=budget,
        micro_batch=micro_batch,
        settings=settings,
        outputs=outputs,
        objective=objective,
    )
    batches = look()
    try:
        prepared = plan(batches)
    except TaskError:
        if not takes_whole_batches_only(function, weights.theta, batches):
            raise
        prepared = plan(look(unit=WHOLE_ONLY))
    notes = [
        *weights.notes,
        one_dictionary.NOTE if one_argument and one_argument.used else "",
        *prepared.notes,
        _limit_note(limit) if beginning and beginning.cut else "",
    ]
    prepared = replace(prepared, notes=tuple(filter(None, notes)))
    return _narrow(prepared, str(settings.weights_dtype)) if settings.keeps_narrow_weights else prepared


def _narrow(prepared: Prepared, kind: str) -> Prepared:
    """The same with weights in a narrow dtype."""
    function, zeros = narrow_on_samples(prepared.function, prepared.theta, kind, prepared.loss, prepared.batches)
    return replace(prepared, function=function, theta=zeros)


def check_and_plan(
    weights: Weights,
    function: ModelFunction,
    loss: Any,
    batches: Batches,
    *,
    budget: int,
    micro_batch: int | None,
    settings: ProductSettings,
    outputs: Outputs | None,
    objective: ObjectiveFunction | None,
) -> Prepared:
    """Chooses the loss, checks what measurements assume of these batches, and plans the micro-batch.

    Raises TaskError for a model or a loss that cannot be measured on them.
    """
    device = weights.theta.device
    first = to_device(next(next(iter(batches)).split(TRIAL_SAMPLES)), device, weights.theta.dtype)
    joined = concatenate(batches, budget)
    with full_precision(settings.tf32):
        few = next(first.split(sample_count(weights.theta.numel())))
        model_trial, model_findings = run_checks(MODEL_CHECKS, ModelTrial(function, weights.theta, few))
        function = model_trial.function
        chosen, loss_note = try_loss(function, weights.theta, loss, first, batches, outputs, objective)
        function, each = choose_blocks(settings, function, chosen, weights.theta, first)
        size = micro_batch or plan_micro_batch(joined, each, weights.theta, function.space.size)
        trial = Trial(function, weights.theta, few, chosen, batches, joined, micro_batch=size, activations=each)
        trial, findings = run_checks(OPENING_CHECKS, trial)
    notes = loss_note, recomputation_note(trial.function, settings)
    return conclude(trial, (*model_findings, *findings), micro_batch, notes)


def conclude(trial: Trial, findings: tuple[Finding, ...], micro_batch: int | None, notes: tuple[str, str]) -> Prepared:
    """What the checks have left, with a note on the loss, and one on where weights and activations are."""
    batches, function = trial.batches, trial.function
    measured, size = trial.joined if trial.joinable else batches, trial.micro_batch
    if trial.as_given:
        size = batches.largest
    elif not trial.joinable:
        size = micro_batch or plan_micro_batch(batches, trial.activations, trial.theta, function.space.size)
    return Prepared(
        function=function,
        theta=trial.theta,
        loss=trial.loss,
        batches=measured,
        count=count_terms(BatchLoss(function, trial.loss), measured),
        joinable=trial.joinable,
        as_given=trial.as_given,
        activation_bytes=trial.activations.size,
        micro_batch=size,
        checks=findings,
        notes=(
            notes[0],
            batches.note,
            notes[1],
            padding_note(trial.loss, function.module, batches),
            *(finding.found for finding in findings if finding.verdict in ("noted", "broken")),
            _micro_batch_note(micro_batch, batches) if trial.as_given else "",
        ),
    )


def require_finite_weights(tensors: Mapping[str, Tensor], buffers: Iterable[str]) -> None:
    """Raises NumericalError for NaN or infinity, but in the named buffers that hold -infinity, as masks do."""
    masks = {name for name in buffers if bool((tensors[name] == -torch.inf).any())}
    require_finite_tensors({name: tensor for name, tensor in tensors.items() if name not in masks}, "weights")


def require_finite_tensors(
    tensors: Mapping[str, Tensor],
    kind: str,
    fix: str = "measure an earlier checkpoint; landscape never repairs weights",
) -> None:
    """Raises NumericalError, with their names and the `fix`, if any of the tensors holds NaN or infinity."""
    bad = [
        f"{name} ({int((~tensor.isfinite()).sum())} of {tensor.numel()})"
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
    if bad:
        raise NumericalError(
            f"NaN or infinity in {kind}: {listing(bad)}",
            fix=fix,
        )


def _require_separate_memory(tensors: Mapping[str, Tensor], measured: set[str]) -> None:
    """Raises TaskError if a measured parameter shares memory with another tensor and is not the same parameter."""
    pairs = [pair for pair in overlapping(tensors) if measured & set(pair)]
    if pairs:
        raise TaskError(
            f"tensors of the model share memory: {listing(' and '.join(pair) for pair in pairs)}",
            why="they move together in the model, and would not where theta takes their place",
            fix="make them one nn.Parameter, or give each memory of its own (tensor.clone())",
        )


def criterion_of(loss: Any, module: nn.Module) -> tuple[nn.Module | None, str]:
    """The loss if it is a module with tensors that the model does not have, and the beginning of their names."""
    tensors = {id(tensor) for tensor in [*module.parameters(), *module.buffers()]}
    if not isinstance(loss, nn.Module) or all(id(parameter) in tensors for parameter in loss.parameters()):
        return None, ""
    taken = any(name.startswith("loss.") for name, _ in [*module.named_parameters(), *module.named_buffers()])
    return loss, "criterion." if taken else "loss."


def criterion_tensors(criterion: nn.Module | None, module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """The parameters and buffers of a loss that are not the model's, by name."""
    if criterion is None:
        return {}
    shared = {id(tensor) for tensor in [*module.parameters(), *module.buffers()]}
    named = [*criterion.named_parameters(), *criterion.named_buffers()]
    return {f"{prefix}{name}": tensor for name, tensor in named if id(tensor) not in shared}


def try_loss(
    function: ModelFunction,
    theta: Tensor,
    loss: Any,
    first: Batch,
    batches: Batches,
    outputs: Outputs | None,
    objective: ObjectiveFunction | None,
) -> tuple[Loss, str]:
    """The loss to measure with, tried on the first samples, and a note if it was inferred."""
    if objective is not None and not objective.has_outputs:
        return try_terms(objective, function, theta, batches, first.map(Tensor.clone)), ""
    chosen, note = _try_loss_of_outputs(function, theta, loss, first.map(Tensor.clone), outputs)
    if objective is not None:
        require_agreement(objective, function, chosen, theta, batches)
    return chosen, note


def _try_loss_of_outputs(
    function: ModelFunction, theta: Tensor, loss: Any, first: Batch, outputs: Outputs | None
) -> tuple[Loss, str]:
    """A loss of the model's outputs, tried on the first samples, and a note if it was inferred."""
    theta = theta.detach().requires_grad_()
    with torch.enable_grad():

        def evaluate(chosen: Loss, output: Any, batch: Batch) -> Tensor:
            """The summed loss of an output, where model and loss hold theta."""
            return function.forward(
                theta, lambda: chosen.total(chosen.structure.scored_output(output), copy_targets(batch.targets))
            )

        def forward(batch: Batch) -> Any:
            """The model's output at theta."""
            return function.output(theta, batch)

        output = require_deterministic_output(function.module, forward, first)
        return choose_loss(function.module, forward, loss, first, output=output, evaluate=evaluate, outputs=outputs)


def _micro_batch_note(micro_batch: int | None, batches: Batches) -> str:
    """A note that the micro-batch that was asked for would change the loss, or ""."""
    if micro_batch is None or micro_batch >= batches.largest:
        return ""
    return f"--micro-batch {micro_batch} is not used: it would change the loss"


def padding_note(loss: Loss, model: nn.Module, batches: Batches) -> str:
    """A note on scored tokens that look like padding, or ""."""
    token = padding_token(loss, model)
    padded = sum(padding_count(loss, token, batch.targets) for batch in batches)
    remedy = "if they are, give attention_mask or labels of -100"
    return f"{padded:,} scored tokens are {token}, as padding is: {remedy}" if padded else ""


def _limit_note(limit: int | None) -> str:
    biased = "fewer samples bias the largest eigenvalue, and every worst case, upwards"
    return f"only the first {limit:,} samples are measured: {biased}"
