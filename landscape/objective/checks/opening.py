"""The checks before a measurement, in their order: each takes the model and the loss as the earlier ones left them."""

from __future__ import annotations

from landscape.objective.checks.check import Check, ModelTrial, Trial
from landscape.objective.checks.gradient import GRADIENT
from landscape.objective.checks.independence import INDEPENDENCE
from landscape.objective.checks.leaves import LEAVES
from landscape.objective.checks.loss_purity import LOSS_PURITY
from landscape.objective.checks.modes import MODES
from landscape.objective.checks.purity import PURITY

MODEL_CHECKS: tuple[Check[ModelTrial], ...] = (PURITY,)  # before a loss is chosen
OPENING_CHECKS: tuple[Check[Trial], ...] = (LOSS_PURITY, MODES, LEAVES, GRADIENT, INDEPENDENCE)
