"""Whether a model and its loss compute the same with and without a record for gradients."""

from __future__ import annotations

from dataclasses import replace

import torch

from landscape.objective.checks.check import Check, Outcome, Trial
from landscape.objective.checks.first_output import outputs_agree

LOSS_RTOL = 1e-2  # of the loss: a loss near 0 may be a difference of large outputs


def examine_modes(trial: Trial) -> Outcome:
    """Compares outputs and loss under `torch.no_grad` with those that have a graph."""
    reason = _difference(trial)
    if not reason:
        return Outcome("holds", "outputs and loss are the same with and without gradients")
    found = f"{reason}: every pass records gradients"
    return Outcome("noted", found, changes={"function": replace(trial.function, needs_gradients=True)})


MODES = Check("modes", "one function with and without gradients", "2 forward passes of a few samples", examine_modes)


def _difference(trial: Trial) -> str:
    """How passes without gradients differ, as a sentence; "" if they do not."""
    batch_loss = trial.batch_loss
    with torch.enable_grad():
        theta = trial.theta.detach().requires_grad_()
        expected, loss = batch_loss.output_and_total(theta, trial.fresh_batch())
    try:
        with torch.no_grad():
            output, other = batch_loss.output_and_total(trial.theta, trial.fresh_batch())
    except Exception:  # the user's model may raise anything
        return "the model or the loss fails without gradients"
    same = outputs_agree(expected, output) and torch.allclose(loss, other, rtol=LOSS_RTOL, equal_nan=True)
    return "" if same else "another function is computed without gradients"
