"""Whether every tensor that the loss can be differentiated in is part of theta."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from landscape.errors import TaskError, listing
from landscape.losses.protocol import describe_tensor
from landscape.network.graph_leaves import graph_leaves
from landscape.objective.checks.check import Check, Outcome, Trial
from landscape.objective.model_function import ModelFunction


def examine_leaves(trial: Trial) -> Outcome:
    """Walks the graphs of the loss, and puts parameters that the loss keeps as objects into theta.

    Raises TaskError if such a parameter enters the loss where theta cannot take its place.
    """
    function = trial.function
    names = {id(parameter): name for name, parameter in function.module.named_parameters()}
    kept = _lasting_leaves(trial)
    captured = {id(leaf): names[id(leaf)] for leaf in kept if id(leaf) in names}
    others = [leaf for leaf in kept if id(leaf) not in names]
    changed = replace(function, captured=captured)
    if captured:
        left = {names[id(leaf)] for leaf in _lasting_leaves(replace(trial, function=changed)) if id(leaf) in names}
        if left:
            raise _cannot_substitute(left)
    changed = replace(changed, loss_uses_parameters=_loss_uses_parameters(replace(trial, function=changed)))
    notes = [*_note_on_own(changed), *_note_on_objects(captured), *_note_on_others(others)]
    return Outcome(
        "noted" if notes else "holds",
        "; ".join(notes) or "the loss depends on no tensor with a gradient outside theta",
        changes={"function": changed},
    )


LEAVES = Check(
    "leaves",
    "theta holds every tensor that the loss is differentiable in",
    "3 forward passes of a few samples",
    examine_leaves,
)


def _lasting_leaves(trial: Trial) -> list[Tensor]:
    """The leaves of the loss's graph beside theta that outlive a pass: the same objects in two passes."""
    first = _leaves(trial)
    second = _leaves(trial) if first else {}
    return [leaf for key, leaf in first.items() if key in second]


def _leaves(trial: Trial) -> dict[int, Tensor]:
    """The leaves of the graph of one pass beside theta, by identity."""
    theta = trial.theta.detach().requires_grad_()
    with torch.enable_grad():
        found = graph_leaves(trial.batch_loss.batch_total(theta, trial.fresh_batch()))
    return {key: leaf for key, leaf in found.items() if leaf is not theta}


def _loss_uses_parameters(trial: Trial) -> bool:
    """Whether the loss of fixed outputs depends on theta."""
    theta, loss, function = trial.theta.detach().requires_grad_(), trial.loss, trial.function

    with torch.enable_grad():
        try:
            # without a graph to theta
            batch = trial.fresh_batch()
            output = loss.structure.scored_output(function.output(trial.theta.detach(), batch))
            total = function.forward(theta, lambda: loss.total(output, batch.targets))
        except Exception:  # a loss of outputs that need their graph, as gradient penalties do
            return True
        if not total.requires_grad:
            return False
        (gradient,) = torch.autograd.grad(total, theta, allow_unused=True)
    return gradient is not None


def _cannot_substitute(names: set[str]) -> TaskError:
    return TaskError(
        f"the loss holds the parameter {listing(sorted(names))} itself: it would stay where it is while theta moves",
        why="it was taken out of the model before, and is used where no other tensor can take its place",
        fix="let the loss look at model.parameters() when it is called",
    )


def _note_on_own(function: ModelFunction) -> list[str]:
    own = [name for name in function.space.names if function.in_criterion(name)]
    return [f"theta holds the loss's own parameters too: {listing(own)}"] if own else []


def _note_on_objects(captured: dict[int, str]) -> list[str]:
    names = listing(captured.values())
    return [f"the loss keeps parameters of the model as objects, which follow theta: {names}"] if captured else []


def _note_on_others(others: list[Tensor]) -> list[str]:
    if not others:
        return []
    shapes = listing(describe_tensor(leaf) for leaf in others)
    return [f"the loss can be differentiated in tensors that are no parameters of the model, and stay fixed: {shapes}"]
