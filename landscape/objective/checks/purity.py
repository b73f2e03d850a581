"""Whether forward passes leave the model as it is and give the same result every time.

A pass that changes its parameters is refused. Buffers that it changes are given to each pass anew, and random numbers
that it draws begin at one seed in each pass, so that the loss is a function of theta.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from landscape.compute.random_state import begin_at_seed, global_states
from landscape.data.batches import leaves
from landscape.errors import TaskError, listing
from landscape.network.wrappers import same_values
from landscape.objective.checks.check import Check, ModelTrial, Outcome

SEEDS = 64  # tried for a model that draws random numbers: a layer that is dropped at 2 % shows at 3 of 4 models
FIX = "make the forward pass deterministic in eval mode, without changes of the module"


def examine_purity(trial: ModelTrial) -> Outcome:
    """Runs one forward pass, and compares parameters, buffers and random generators before and after it.

    Raises TaskError for a pass that changes parameters, or whose output depends on random numbers.
    """
    function, theta = trial.function, trial.theta.clone()
    fixed = {name: tensor.clone() for name, tensor in function.fixed.items()}
    before = global_states()
    try:
        with torch.enable_grad():  # a model may differentiate in its inputs
            replace(function, fixed=fixed).output(theta, trial.fresh_batch())
    except Exception as error:  # the next pass of the user's model raises it again, and says what it was given
        return Outcome("not run", f"the model fails: {type(error).__name__}")
    drawn = [name for name, state in global_states().items() if before.get(name, state) != state]
    _require_unchanged_parameters(trial, theta, fixed)
    buffers = [name for name, _ in function.module.named_buffers() if name in fixed]
    written = frozenset(name for name in buffers if not same_values(fixed[name], function.fixed[name]))
    changed = replace(function, written=written, draws_numbers=bool(drawn))
    if drawn:
        _require_output_without_chance(replace(trial, function=replace(function, written=written)), drawn)
    notes = [*_note_on_buffers(written), *_note_on_draws(drawn)]
    return Outcome(
        "noted" if notes else "holds",
        "; ".join(notes) or "a forward pass changed no parameter and no buffer, and drew no random number",
        changes={"function": changed},
    )


PURITY = Check(
    "purity", "forward passes change nothing and draw nothing", "1 forward pass of a few samples", examine_purity
)


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
    """Raises TaskError if the output of one sample depends on the seed of the random generators."""
    one = next(trial.first.split(1))
    outputs = []
    for seed in range(SEEDS):
        with begin_at_seed(seed), torch.enable_grad():
            outputs.append(
                [leaf.detach().clone() for leaf in leaves(trial.function.output(trial.theta, one.map(Tensor.clone)))]
            )
        if any(not _close(a, b) for a, b in zip(outputs[0], outputs[-1], strict=True)):
            raise TaskError(
                f"the model is random in eval mode: its output depends on draws from {listing(drawn)}",
                why="e.g. dropout or layer drop that is not turned off by training=self.training",
                fix="make the forward pass deterministic in eval mode",
            )


def _close(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs of the same pass are equal but for rounding in another order of summation."""
    if one.shape != other.shape or not one.is_floating_point():
        return one.shape == other.shape and torch.equal(one, other)
    return torch.allclose(one, other, rtol=1e-5, atol=1e-6 * float(one.abs().nan_to_num().max() or 1), equal_nan=True)


def _note_on_buffers(written: frozenset[str]) -> list[str]:
    if not written:
        return []
    return [
        f"forward passes change the buffer {listing(sorted(written))}: each pass starts from the checkpoint's values"
    ]


def _note_on_draws(drawn: list[str]) -> list[str]:
    if not drawn:
        return []
    tried = f"{SEEDS} seeds gave one output, and each pass begins at the same seed"
    return [f"the model draws random numbers in eval mode from {listing(drawn)}: {tried}"]
