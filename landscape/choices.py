"""Words that options and the code behind them share; this module needs no torch."""

from __future__ import annotations

from typing import Literal

Adaptive = Literal["none", "element", "filter"]
LogitNorm = Literal["none", "l2", "std"]
Norm = Literal["l2", "linf"]
Labels = Literal["sampled", "exact", "gold"]
Noise = Literal["gaussian", "uniform"]
Normalize = Literal["filter", "layer", "tensor", "none"]
MEMORISED, CLEAN, HELD_OUT, CONTROL = "memorised", "clean", "held-out", "never-seen"  # populations that mean something
DATA = "data"  # and the one that is measured
BatchNormMode = Literal["fixed", "interpolate", "recompute"]
