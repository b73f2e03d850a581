"""Every analysis, in the order in which the command line lists them."""

from __future__ import annotations

from landscape.analyses.base import Analysis, Plan, Progress, Result, Trouble
from landscape.analyses.critical.critical import Critical
from landscape.analyses.density import Density
from landscape.analyses.diagonal import Diagonal
from landscape.analyses.direction import Direction
from landscape.analyses.eig import Eig
from landscape.analyses.influence.influence import Influence
from landscape.analyses.llc.llc import Llc
from landscape.analyses.measures import Measures
from landscape.analyses.memorization.edit import Edit
from landscape.analyses.memorization.memorization import Memorization
from landscape.analyses.neighborhood.flatness import Flatness
from landscape.analyses.neighborhood.sharpness import Sharpness
from landscape.analyses.sensitivity.sensitivity import Sensitivity
from landscape.analyses.surfaces.surface import Surface
from landscape.analyses.trace import Trace

ANALYSES: tuple[type[Analysis], ...] = (
    Eig,
    Density,
    Trace,
    Diagonal,
    Sharpness,
    Flatness,
    Critical,
    Measures,
    Direction,
    Sensitivity,
    Llc,
    Surface,
    Memorization,
    Edit,
    Influence,
)

__all__ = [
    "ANALYSES",
    "Analysis",
    "Critical",
    "Density",
    "Diagonal",
    "Direction",
    "Edit",
    "Eig",
    "Flatness",
    "Influence",
    "Llc",
    "Measures",
    "Memorization",
    "Plan",
    "Progress",
    "Result",
    "Sensitivity",
    "Sharpness",
    "Surface",
    "Trace",
    "Trouble",
]
