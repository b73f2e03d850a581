"""Whether a loss gives the same for the same output; it may change its targets, of which each pass has a copy."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from landscape.compute.random_state import begin_at_seed, global_states
from landscape.errors import TaskError, listing
from landscape.objective.checks.check import Check, Outcome, Trial
from landscape.objective.user_errors import reraise_user_errors

SEEDS = 16  # tried for a loss that draws random numbers


def examine_loss_purity(trial: Trial) -> Outcome:
    """Evaluates the loss once, and compares the random generators before and after it.

    Raises TaskError for a loss that depends on random numbers.
    """
    batch = trial.fresh_batch()
    with torch.enable_grad():
        theta = trial.theta.detach().requires_grad_()
        output = reraise_user_errors(batch, lambda: trial.function.output(theta, batch))
        states = global_states()
        trial.function.forward(
            theta, lambda: trial.loss.total(trial.loss.structure.scored_output(output), batch.targets)
        )
    after = global_states()
    drawn = [name for name, state in after.items() if states.get(name, state) != state]
    if not drawn:
        return Outcome("holds", "the loss drew no random number")
    _require_loss_without_chance(trial, drawn)
    found = f"the loss draws random numbers from {listing(drawn)}: {SEEDS} seeds gave one value"
    return Outcome("noted", found, changes={"function": replace(trial.function, draws_numbers=True)})


LOSS_PURITY = Check("loss", "the loss draws nothing", "1 forward pass of a few samples", examine_loss_purity)


def _require_loss_without_chance(trial: Trial, drawn: list[str]) -> None:
    """Raises TaskError if the loss depends on the seed of the random generators."""
    totals: list[Tensor] = []
    for seed in range(SEEDS):
        with begin_at_seed(seed), torch.enable_grad():
            point = trial.theta.detach().requires_grad_()
            totals.append(trial.batch_loss.batch_total(point, trial.fresh_batch()).detach())
        if not torch.allclose(totals[0], totals[-1], rtol=1e-6, atol=0.0, equal_nan=True):
            raise TaskError(
                f"loss {trial.loss.name} is random: it depends on draws from {listing(drawn)}",
                why="a curvature needs one fixed function",
                fix="draw once, and keep the numbers with the data",
            )
