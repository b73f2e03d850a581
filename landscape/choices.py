"""Words, and the confidence of intervals, that options and the code behind them share; it needs no torch."""

from __future__ import annotations

from typing import Literal

CONFIDENCE = 0.95  # of all intervals and bands
NORMAL_HALF_WIDTH = 1.96  # standard errors in half of an interval of that confidence, of a normal distribution
Adaptive = Literal["none", "element", "filter"]
LogitNorm = Literal["none", "l2", "std"]
Norm = Literal["l2", "linf"]
Labels = Literal["sampled", "exact", "gold"]
Noise = Literal["gaussian", "uniform"]
Normalize = Literal["filter", "layer", "tensor", "none"]
# Populations whose names have a meaning, and DATA: the samples that the objective itself is measured on.
MEMORIZED, CLEAN, HELD_OUT, NEVER_SEEN = "memorized", "clean", "held-out", "never-seen"
DATA = "data"
# The spelling of the first versions, which checkpoints, settings, results and baselines may still hold. Fingerprints
# and seeds always use it, so that results of all versions stay comparable.
FORMER_POPULATIONS = {"memorised": MEMORIZED}
OperatorName = Literal["hessian", "ggn", "fisher", "empirical-fisher", "preconditioned", "pyhessian"]
Outputs = Literal["logits", "probabilities", "log-probabilities"]
Mode = Literal["eval", "train"]
BatchNormMode = Literal["fixed", "interpolate", "recompute"]


def population_name(name: str) -> str:
    """The name of a population in its present spelling: `memorized` for `memorised`, any other name unchanged."""
    return FORMER_POPULATIONS.get(name, name)


def stored_population(name: str) -> str:
    """The name of a population as fingerprints and seeds spell it: `memorised` for `memorized`."""
    return next((former for former, present in FORMER_POPULATIONS.items() if name == present), name)
