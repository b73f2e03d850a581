"""What an Adam optimizer's saved state implies: the diagonal preconditioner, and the update of its next step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.checkpoints.names import strip_wrappers
from landscape.errors import CheckpointError, listing

FIX = "--preconditioner FILE names a file of positive tensors under the parameters' names"
UPDATE_FIX = "--update gradient, or a checkpoint that was saved with the state of Adam or AdamW"


@dataclass(frozen=True)
class AdamEntry:
    """What the state holds of one parameter: its second moments, or AMSGrad's largest ones, and its steps.

    `betas` and `eps` are those of its group; `moments` and `group` are what the state holds besides.
    """

    second: Tensor
    step: float
    betas: tuple[float, float]
    eps: float
    moments: Mapping[str, Any]
    group: Mapping[str, Any]

    @property
    def decay(self) -> float:
        """The weight decay of its group."""
        return float(self.group.get("weight_decay", 0.0))

    def require_moments(self, name: str, like: Tensor, where: str) -> None:
        """Raises CheckpointError unless it holds all moments, in the shape of the parameter."""
        needed = ["exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if self.group["amsgrad"] else [])]
        if any(getattr(self.moments.get(moment), "shape", None) != like.shape for moment in needed):
            raise CheckpointError(
                f"{where}: its optimizer state has no moments that fit {name}: {', '.join(needed)}", fix=UPDATE_FIX
            )


@dataclass(frozen=True)
class AdamUpdate:
    """The update of Adam's next step by parameter, per unit of learning rate: weights move by -rate times it.

    `rate` is the learning rate of the state's first group that has one; the updates of other groups are in its units.
    `without` are the parameters of which the state has no moments. `assumes_decoupled` says that the state has a weight
    decay, and does not tell whether it is Adam's or AdamW's, as which it is taken.
    """

    tensors: Mapping[str, Tensor]
    rate: float
    without: tuple[str, ...]
    assumes_decoupled: bool = False


def adam_preconditioner(
    state: Mapping[str, Any] | None, parameters: Mapping[str, Tensor], where: str
) -> dict[str, Tensor]:
    """sqrt(v_hat) + eps by parameter: the divisor of Adam's steps (Kingma and Ba 2015, algorithm 1).

    v_hat is the second moment, or AMSGrad's largest one, divided by 1 - beta_2^step. `parameters` are the model's, in
    order: the state numbers them, unless the optimizer was made from named parameters. A parameter that never had a
    gradient is left out. Raises CheckpointError if the state is missing, is not Adam's, or does not tell which tensor
    belongs to which parameter.
    """
    return {
        name: torch.sqrt(one.second.double() / (1 - one.betas[1] ** one.step)) + one.eps
        for name, one in _adam_entries(state, parameters, where, FIX).items()
    }


def adam_update(
    state: Mapping[str, Any] | None,
    parameters: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    where: str,
) -> AdamUpdate:
    """The update of the next step, whose gradients are given by parameter (Kingma and Ba 2015, algorithm 1).

    Weight decay is part of it, as the state's groups have it: added to the gradient (Adam), or to the update (AdamW,
    Loshchilov and Hutter 2019). `parameters` are as for `adam_preconditioner`. Raises CheckpointError as that does, and
    for moments that are missing.
    """
    entries = {n: one for n, one in _adam_entries(state, parameters, where, UPDATE_FIX).items() if n in gradients}
    rates = {name: float(one.group["lr"]) for name, one in entries.items()}
    rate = next((each for each in rates.values() if each > 0), 0.0)
    tensors = {}
    for name, one in entries.items():
        one.require_moments(name, parameters[name], where)
        update = _next_update(one, parameters[name].detach().double().cpu(), gradients[name].double().cpu())
        tensors[name] = update * (rates[name] / rate) if rate else update
    without = tuple(name for name in gradients if name not in tensors)
    untold = any(one.decay and "decoupled_weight_decay" not in one.group for one in entries.values())
    return AdamUpdate(tensors, rate, without, untold)


def _next_update(one: AdamEntry, weight: Tensor, gradient: Tensor) -> Tensor:
    """The update of one parameter, per unit of learning rate, in float64."""
    moments, (first_rate, second_rate), step = one.moments, one.betas, one.step + 1
    gradient = -gradient if one.group.get("maximize") else gradient
    decoupled = bool(one.group.get("decoupled_weight_decay", True))
    if not decoupled:
        gradient = gradient + one.decay * weight
    first = first_rate * moments["exp_avg"].double().cpu() + (1 - first_rate) * gradient
    second = second_rate * moments["exp_avg_sq"].double().cpu() + (1 - second_rate) * gradient.square()
    if one.group["amsgrad"]:
        second = torch.maximum(moments["max_exp_avg_sq"].double().cpu(), second)
    update: Tensor = first / (1 - first_rate**step) / (torch.sqrt(second / (1 - second_rate**step)) + one.eps)
    return update + one.decay * weight if decoupled else update


def _adam_entries(
    state: Mapping[str, Any] | None, parameters: Mapping[str, Tensor], where: str, fix: str
) -> dict[str, AdamEntry]:
    """What the state holds of each parameter; raises CheckpointError, with the fix, if it is not Adam's."""
    if state is None:
        raise CheckpointError(
            f"{where} holds no optimizer state of Adam",
            why="looked for a dictionary with state and param_groups under any name: optimizer, optimizer_states, ...; "
            "in a directory for optimizer.pt",
            fix=fix,
        )
    try:
        groups = state["param_groups"]
        numbers = [number for group in groups for number in group["params"]]
        trainable = [name for name, tensor in parameters.items() if tensor.requires_grad]
        names = trainable if len(trainable) == len(numbers) else list(parameters)
        known = frozenset(parameters)
        given = [strip_wrappers(name, known) for group in groups for name in group.get("param_names", ())]
        if not given and len(groups) > 1:
            given = _names_by_shape(state, names, parameters)
        found = _entries(state, given or names)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CheckpointError(
            f"{where}: its optimizer state is not Adam's: {type(error).__name__}: {error}", fix=fix
        ) from error
    if not found:
        raise CheckpointError(f"{where}: its optimizer state is not Adam's: it has no second moments", fix=fix)
    wrong = [
        name for name, one in found.items() if name not in parameters or parameters[name].shape != one.second.shape
    ]
    if wrong or len(given or names) != len(numbers) or (len(groups) > 1 and not given):
        raise CheckpointError(
            f"{where}: its optimizer state does not tell which parameter is which: {len(numbers)} tensors in "
            f"{len(groups)} groups for {len(parameters)} parameters"
            + (f"; not fitting: {listing(wrong)}" if wrong else ""),
            why="without names their order tells, that of model.parameters(), of several groups if their shapes differ",
            fix=f"make the optimizer from model.named_parameters(), or {fix}",
        )
    return found


def _names_by_shape(state: Mapping[str, Any], names: list[str], parameters: Mapping[str, Tensor]) -> list[str]:
    """The names in the order of the groups' numbers, if no shape is in two groups; else more names than numbers.

    Each group has its parameters in the order of the model: matrices with weight decay, vectors without, are the usual
    two groups. None if a parameter never had a gradient, and so has no known shape.
    """
    groups = [[state["state"].get(number) for number in group["params"]] for group in state["param_groups"]]
    if any(one is None for group in groups for one in group):
        return []
    shapes = [{tuple(one["exp_avg_sq"].shape) for one in group} for group in groups]
    return [name for group in shapes for name in names if tuple(parameters[name].shape) in group]


def _entries(state: Mapping[str, Any], names: list[str]) -> dict[str, AdamEntry]:
    entries: dict[str, AdamEntry] = {}
    numbered = ((number, group) for group in state["param_groups"] for number in group["params"])
    for (number, group), name in zip(numbered, names, strict=False):
        if number in state["state"]:  # a parameter that never had a gradient has none
            moments, _ = state["state"][number], group["amsgrad"]  # which RAdam's and NAdam's groups lack
            second: Tensor = moments.get("max_exp_avg_sq", moments["exp_avg_sq"])
            betas = float(group["betas"][0]), float(group["betas"][1])
            entries[name] = AdamEntry(second, float(moments["step"]), betas, float(group["eps"]), moments, group)
    return entries
