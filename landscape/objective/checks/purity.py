"""Whether forward passes leave the model as it is and give the same result every time.

A pass that changes its parameters is refused. Buffers that it changes are given to each pass anew, and random numbers
that it draws begin at one seed in each pass, so that the loss is a function of theta.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from landscape.choices import Mode
from landscape.compute.random_state import begin_at_seed, global_states, seed_all
from landscape.data.batches import Batch
from landscape.data.trees import leaves
from landscape.errors import TaskError, listing
from landscape.network.scope import Resident, Scope
from landscape.network.state import Attribute, attribute_changes, plain_state, reset_attributes
from landscape.network.wrappers import same_values
from landscape.objective.checks.check import Check, ModelTrial, Outcome
from landscape.objective.model_function import ModelFunction

SEEDS = 64  # tried for a model that draws random numbers: a layer that is dropped at 2 % shows at 3 of 4 models


def examine_purity(trial: ModelTrial) -> Outcome:
    """Runs one forward pass, and compares parameters, buffers and random generators before and after it.

    Raises TaskError for a pass that changes parameters, or whose output depends on random numbers.
    """
    function, theta = trial.function, trial.theta.clone()
    fixed = {name: tensor.clone() for name, tensor in function.fixed.items()}
    attributes = plain_state(function.module)
    try:
        reassigned, drawn = pass_and_look(replace(function, fixed=fixed), theta, trial)
    except Exception as error:  # the next pass of the user's model raises it again, and says what it was given
        return Outcome("not run", f"the model fails: {type(error).__name__}")
    _require_unchanged_parameters(trial, theta, fixed)
    buffers = [name for name, _ in function.module.named_buffers() if name in fixed]
    written = frozenset(name for name in buffers if not same_values(fixed[name], function.fixed[name]))
    if drawn and function.mode == "eval":
        _require_output_without_chance(replace(trial, function=replace(function, written=written)), drawn)
    kept = attribute_changes(function.module, attributes)
    if kept:
        _require_output_without_memory(replace(trial, function=replace(function, written=written)), kept, attributes)
    notes = [*_note_on_buffers({*written, *reassigned}), *_note_on_draws(drawn, function.mode)]
    also = f"; its output does not depend on what it keeps: {listing(kept)}" if kept else ""
    return Outcome(
        "noted" if notes else "holds",
        "; ".join(notes) or f"a forward pass changed no parameter and no buffer, and drew no random number{also}",
        changes={"function": replace(function, written=written, draws_numbers=bool(drawn))},
    )


PURITY = Check(
    "purity", "forward passes change nothing and draw nothing", "1 forward pass of a few samples", examine_purity
)


def pass_and_look(
    function: ModelFunction, theta: Tensor, trial: ModelTrial, call: Callable[[Batch], Any] | None = None
) -> tuple[list[str], list[str]]:
    """Runs a forward pass; returns the names of buffers that are other objects after it, and generators it used.

    `call` takes the place of the function's own.
    """

    def work() -> tuple[list[str], list[str]]:
        """The pass, and a look at the buffers while the module holds them."""
        batch = trial.fresh_batch()
        if function.mode == "train":
            seed_all(batch.first)  # where the pass begins
        states = global_states()
        (call or function.call)(batch)
        drawn = [name for name, state in global_states().items() if states.get(name, state) != state]
        buffers = dict(function.module.named_buffers())
        return [name for name, t in function.fixed.items() if name in buffers and buffers[name] is not t], drawn

    with torch.enable_grad():  # a model may differentiate in its inputs, or ask whether its output has a graph
        try:
            return function.forward(theta.detach().requires_grad_(), work)
        except RuntimeError:  # e.g. a write into a weight that has a graph
            return function.forward(theta.detach(), work)


def _require_unchanged_parameters(trial: ModelTrial, theta: Tensor, fixed: Mapping[str, Tensor]) -> None:
    """Raises TaskError, with their names, if a forward pass changed parameters."""
    before, after = trial.function.space.unflatten(trial.theta), trial.function.space.unflatten(theta)
    others = {name for name, _ in trial.function.module.named_parameters()} & fixed.keys()
    changed = [name for name in before if not same_values(before[name], after[name])]
    changed += [name for name in others if not same_values(fixed[name], trial.function.fixed[name])]
    if changed:
        raise TaskError(
            f"the forward pass changes the parameter {listing(changed)}",
            why="the loss would not be measured at the checkpoint's weights, and its derivatives do not see the change",
            fix="leave the weights alone in forward (weight.data.clamp_, max_norm, ...): apply it once, save, measure",
        )


def _require_output_without_chance(trial: ModelTrial, drawn: list[str]) -> None:
    """Raises TaskError if the output of the first samples depends on the seed of the random generators.

    All of them are taken together: noise shows in no contrastive loss of one sample, nor does another order.
    """
    outputs = []
    for seed in range(SEEDS):
        with begin_at_seed(seed), torch.enable_grad():
            output = trial.function.output(trial.theta.detach().requires_grad_(), trial.fresh_batch())
            outputs.append([leaf.detach().clone() for leaf in leaves(output)])
        if any(not is_close(a, b) for a, b in zip(outputs[0], outputs[-1], strict=True)):
            raise _depends_on_chance(trial, drawn)


def _depends_on_chance(trial: ModelTrial, drawn: list[str]) -> TaskError:
    """The error for a model, or a user's objective, whose output depends on random numbers."""
    if trial.function.user_pass is not None:
        return TaskError(
            f"the objective is random: it depends on draws from {listing(drawn)}",
            why="e.g. noise, augmentations, negatives or dropout that are drawn inside of the function",
            fix="draw once, and keep the numbers with the data: docs/bring-your-own.md has a VAE",
        )
    return TaskError(
        f"the model is random in eval mode: its output depends on draws from {listing(drawn)}",
        why="e.g. dropout or layer drop that is not turned off by training=self.training",
        fix="make the forward pass deterministic in eval mode",
    )


def _require_output_without_memory(trial: ModelTrial, kept: list[str], attributes: Mapping[str, Attribute]) -> None:
    """Raises TaskError if the output depends on what the module kept of other samples; checked on fresh copies."""
    try:
        copies = [Resident(Scope(trial.function.module)).scope.model for _ in range(2)]
        for copied in copies:
            reset_attributes(copied, kept, attributes)
    except Exception:  # the user's module may refuse in any way; the check at the end compares the loss
        return
    alone, after_others = (replace(trial.function, module=copied) for copied in copies)
    with torch.enable_grad():
        theta = trial.theta.detach().requires_grad_()
        try:
            expected = alone.output(theta, trial.fresh_batch())
        except Exception:  # of a model as it is built, e.g. one that writes into its weights at its first pass alone
            return
        try:
            after_others.output(theta, next(trial.fresh_batch().split(1)))
            output = after_others.output(theta, trial.fresh_batch())
            same = all(is_close(a.detach(), b.detach()) for a, b in zip(leaves(expected), leaves(output), strict=True))
        except Exception:  # what it kept does not fit other samples
            same = False
    if not same:
        raise depends_on_memory(kept)


def depends_on_memory(kept: Sequence[str]) -> TaskError:
    """That the output depends on what the model kept from earlier passes."""
    return TaskError(
        f"the model's output depends on what it kept from earlier passes: {listing(kept)}",
        why="the loss would depend on which samples went through the model before",
        fix="compute it anew in every pass, or register it as a buffer that is saved with the weights",
    )


def is_close(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs of the same pass are equal but for rounding in another order of summation."""
    if one.shape != other.shape or not one.is_floating_point():
        return one.shape == other.shape and torch.equal(one, other)
    return torch.allclose(one, other, rtol=1e-5, atol=1e-6 * float(one.abs().nan_to_num().max() or 1), equal_nan=True)


def _note_on_buffers(written: Collection[str]) -> list[str]:
    if not written:
        return []
    return [
        f"forward passes change the buffer {listing(sorted(written))}: each pass starts from the checkpoint's values"
    ]


def _note_on_draws(drawn: list[str], mode: Mode) -> list[str]:
    if not drawn:
        return []
    if mode == "train":
        return [f"in train mode random numbers from {listing(drawn)} begin at the place of each batch's first sample"]
    tried = f"{SEEDS} seeds gave one output, and each pass begins at the same seed"
    return [f"the model draws random numbers in eval mode from {listing(drawn)}: {tried}"]
