"""The diagonal preconditioner that an Adam optimizer's saved state implies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from landscape.checkpoints.names import strip_wrappers
from landscape.errors import CheckpointError, listing

FIX = "--preconditioner FILE names a file of positive tensors under the parameters' names"


def adam_preconditioner(
    state: Mapping[str, Any] | None, parameters: Mapping[str, Tensor], where: str
) -> dict[str, Tensor]:
    """sqrt(v_hat) + eps by parameter: the divisor of Adam's steps (Kingma and Ba 2015, algorithm 1).

    v_hat is the second moment, or AMSGrad's largest one, divided by 1 - beta_2^step. `parameters` are the model's, in
    order: the state numbers them, unless the optimizer was made from named parameters. A parameter that never had a
    gradient is left out. Raises CheckpointError if the state is missing, is not Adam's, or does not tell which tensor
    belongs to which parameter.
    """
    if state is None:
        raise CheckpointError(
            f"{where} holds no optimizer state to precondition with",
            why="looked for a dictionary with state and param_groups under any name: optimizer, optimizer_states, ...",
            fix=FIX,
        )
    try:
        groups = state["param_groups"]
        numbers = [number for group in groups for number in group["params"]]
        trainable = [name for name, tensor in parameters.items() if tensor.requires_grad]
        names = trainable if len(trainable) == len(numbers) else list(parameters)
        known = frozenset(parameters)
        given = [strip_wrappers(name, known) for group in groups for name in group.get("param_names", ())]
        found = _entries(state, given or names)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CheckpointError(
            f"{where}: its optimizer state is not Adam's: {type(error).__name__}: {error}", fix=FIX
        ) from error
    if not found:
        raise CheckpointError(f"{where}: its optimizer state is not Adam's: it has no second moments", fix=FIX)
    wrong = [name for name, tensor in found.items() if name not in parameters or parameters[name].shape != tensor.shape]
    if wrong or len(given or names) != len(numbers) or (len(groups) > 1 and not given):
        raise CheckpointError(
            f"{where}: its optimizer state does not tell which parameter is which: {len(numbers)} tensors in "
            f"{len(groups)} groups for {len(parameters)} parameters"
            + (f"; not fitting: {listing(wrong)}" if wrong else ""),
            why="without names it knows them by their order alone, which is model.parameters()' for one group only",
            fix=f"make the optimizer from model.named_parameters(), or {FIX}",
        )
    return found


def _entries(state: Mapping[str, Any], names: list[str]) -> dict[str, Tensor]:
    entries: dict[str, Tensor] = {}
    numbered = ((number, group) for group in state["param_groups"] for number in group["params"])
    for (number, group), name in zip(numbered, names, strict=False):
        if number in state["state"]:  # a parameter that never had a gradient has none
            moments, _ = state["state"][number], group["amsgrad"]  # which RAdam's and NAdam's groups lack
            second: Tensor = moments.get("max_exp_avg_sq", moments["exp_avg_sq"])
            unbiased = second.double() / (1 - group["betas"][1] ** float(moments["step"]))
            entries[name] = torch.sqrt(unbiased) + group["eps"]
    return entries
