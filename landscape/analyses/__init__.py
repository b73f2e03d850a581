"""Every analysis, in the order in which the command line lists them."""

from __future__ import annotations

from landscape.analyses.base import Analysis, Plan, Progress, Result
from landscape.analyses.eig import Eig

ANALYSES: tuple[type[Analysis], ...] = (Eig,)

__all__ = ["ANALYSES", "Analysis", "Eig", "Plan", "Progress", "Result"]
