"""The same objective at other weights: those that a model has now, or those of a state dict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from landscape import checkpoints
from landscape.compute.strategy import StrategyCache
from landscape.errors import CheckpointError, TaskError, UsageError, listing
from landscape.network.stored_weights import round_weights_
from landscape.network.wrappers import first_names, unwrap
from landscape.objective.model_function import ModelFunction
from landscape.objective.narrow_weights import narrow_on_samples
from landscape.objective.preconditioner import NamedTensors
from landscape.objective.preparation import require_finite_weights
from landscape.objective.source import ObjectiveSource
from landscape.objective.weights_digest import digest_of, tensor_hashes

if TYPE_CHECKING:
    from landscape.objective.objective import Objective

STATE_DICT = "the state dict"


def at_weights(
    objective: Objective,
    weights: nn.Module | Mapping[str, Tensor],
    preconditioner: NamedTensors | Callable[[], NamedTensors] | None,
    source: ObjectiveSource | None,
) -> Objective:
    """The objective at the weights of a model or a state dict, which are copied; data, loss and plan stay.

    Raises TaskError for another model, CheckpointError for a state dict of one, and NumericalError for weights that
    are not finite.
    """
    if objective.function.in_parts:
        raise UsageError("an objective in parts stays at its weights", fix="landscape.load for each checkpoint")
    named = tensors_of(objective, weights)
    function, theta = replace(objective.function, stored={}), objective.theta.new_empty(objective.space.size)
    parts, notes = function.space.unflatten(theta), ""
    for name, part in parts.items():
        part.copy_(named[name].detach())
    if objective.settings.keeps_narrow_weights:
        notes = round_weights_(parts, str(objective.settings.weights_dtype))
    fixed = {name: _copy_like(named[name], like) for name, like in function.fixed.items()}
    require_finite_weights({**parts, **fixed}, _buffers_of(function))
    hashes, function = tensor_hashes({**parts, **fixed}), replace(function, fixed=fixed)
    if objective.settings.keeps_narrow_weights:
        kind = str(objective.settings.weights_dtype)
        function, theta = narrow_on_samples(function, theta, kind, objective.loss, objective.batches)
    own = source or ObjectiveSource(conditions=objective.source.conditions)
    earlier = [note for note in objective.notes if note not in objective.source.notes]
    other = objective.variant(
        function=function,
        theta=theta,
        weight_hashes=hashes,
        weights_sha256=digest_of(hashes),
        source=own,
        notes=tuple(dict.fromkeys([*own.notes, *earlier, *([notes] if notes else [])])),
        strategies=_strategies_for_other_weights(objective.strategies),
        _preconditioner_source=preconditioner,
    )
    vars(other).pop("_preconditioner", None)
    return other


def tensors_of(objective: Objective, weights: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every parameter and buffer of the objective by name, with the values of a model or a state dict.

    Buffers that a state dict leaves out stay as they are, and so does a loss with parameters; beside a model, such a
    loss has the values that it has now.
    """
    function = objective.function
    if isinstance(weights, nn.Module):
        return {**_tensors_of_model(function, unwrap(weights)), **_tensors_of_criterion(function)}
    if not isinstance(weights, Mapping):
        raise UsageError(f"at() takes a model or a state dict, not {type(weights).__name__}", fix="at(model)")
    try:
        fitted, _ = checkpoints.fit(weights, function.module.state_dict(), STATE_DICT, "model of the objective")
    except CheckpointError as error:
        raise CheckpointError(error.what, why=error.why, fix="a state dict of the same model") from None
    names = first_names(function.module)
    return {**function.state(objective.theta), **{names[n]: t for n, t in fitted.items() if n in names}}


def _tensors_of_model(function: ModelFunction, module: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers of a model; raises TaskError if it is another than that of the function."""
    if module is not function.module and (different := _differences(function.module, module)):
        raise TaskError(
            f"the model is not that of the objective: {listing(different)}",
            fix="at(model) takes a model of the same architecture; landscape.Objective(model, ...) takes any",
        )
    named = dict([*module.named_parameters(), *module.named_buffers()])
    wanted = [name for name in (*function.space.names, *function.fixed) if not function.in_criterion(name)]
    sizes = {name: tensor.shape for name, tensor in function.space.unflatten(torch.empty(function.space.size)).items()}
    sizes |= {name: tensor.shape for name, tensor in function.fixed.items()}
    wrong = [name for name in wanted if name not in named or named[name].shape != sizes[name]]
    if wrong:
        raise TaskError(
            f"the model has no tensors of these names and shapes: {listing(wrong)}",
            fix="a model of the same architecture, or landscape.Objective(model, ...) anew",
        )
    return {name: named[name] for name in wanted}


def _tensors_of_criterion(function: ModelFunction) -> dict[str, Tensor]:
    """The parameters and buffers of a loss that has some, as they are now."""
    if function.criterion is None:
        return {}
    named = [*function.criterion.named_parameters(), *function.criterion.named_buffers()]
    return {f"{function.prefix}{name}": tensor for name, tensor in named}


def _differences(one: nn.Module, other: nn.Module) -> list[str]:
    """The modules by name that are of other classes, or made with other arguments."""
    first, second = (_description(module) for module in (one, other))
    names = dict.fromkeys([*first, *second])
    return [name or type(other).__name__ for name in names if first.get(name) != second.get(name)]


def _description(module: nn.Module) -> dict[str, Any]:
    """The class and the arguments that it tells of every module by name."""
    return {name: (type(part).__qualname__, part.extra_repr()) for name, part in module.named_modules()}


def _buffers_of(function: ModelFunction) -> set[str]:
    """The names of the model's buffers among the fixed tensors."""
    return {name for name, _ in function.module.named_buffers()} & function.fixed.keys()


def _copy_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A copy of a fixed tensor, where another one lies and in its precision."""
    return tensor.detach().to(like.device, like.dtype, copy=True)


def _strategies_for_other_weights(earlier: StrategyCache) -> StrategyCache:
    """The strategies of earlier products, but not the steps of differences and programs, which belong to weights."""
    chosen = {key: strategy for key, strategy in earlier.chosen.items() if strategy.kind != "difference"}
    return StrategyCache(chosen=chosen, graphs=dict(earlier.graphs), room=earlier.room, notes=earlier.notes)
