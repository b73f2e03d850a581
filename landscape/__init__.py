"""The geometry of a neural network's loss around a checkpoint.

    objective = landscape.load("ckpt.pt")                       # or landscape.Objective(model, batches, loss)
    result = landscape.run(landscape.Eig(k=5), objective)       # result.eigenvalues, result.residuals
    landscape.read("ckpt.landscape.h5").eig.to_dataframe()      # what a command or run(..., output=) has written
    landscape.save("ckpt.pt", model, data="digits", loss="cross_entropy", spec={"model": "mlp"})

Names are imported on first use (PEP 562), so that `import landscape` does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape.algorithms.linear_systems.solve import solve as solve
    from landscape.analyses import Critical as Critical
    from landscape.analyses import Density as Density
    from landscape.analyses import Diagonal as Diagonal
    from landscape.analyses import Direction as Direction
    from landscape.analyses import Edit as Edit
    from landscape.analyses import Eig as Eig
    from landscape.analyses import Flatness as Flatness
    from landscape.analyses import Influence as Influence
    from landscape.analyses import Llc as Llc
    from landscape.analyses import Measures as Measures
    from landscape.analyses import Memorization as Memorization
    from landscape.analyses import Sensitivity as Sensitivity
    from landscape.analyses import Sharpness as Sharpness
    from landscape.analyses import Surface as Surface
    from landscape.analyses import Trace as Trace
    from landscape.checkpoints import save as save
    from landscape.errors import LandscapeError as LandscapeError
    from landscape.loading import load as load
    from landscape.objective import Objective as Objective
    from landscape.session import read as read
    from landscape.session import run as run
    from landscape.side_by_side import compare as compare
    from landscape.tracking import track as track

HOMES = {
    "Critical": "landscape.analyses",
    "Density": "landscape.analyses",
    "Diagonal": "landscape.analyses",
    "Direction": "landscape.analyses",
    "Edit": "landscape.analyses",
    "Eig": "landscape.analyses",
    "Flatness": "landscape.analyses",
    "Influence": "landscape.analyses",
    "LandscapeError": "landscape.errors",
    "Llc": "landscape.analyses",
    "Measures": "landscape.analyses",
    "Memorization": "landscape.analyses",
    "Objective": "landscape.objective",
    "Sensitivity": "landscape.analyses",
    "Sharpness": "landscape.analyses",
    "Surface": "landscape.analyses",
    "Trace": "landscape.analyses",
    "compare": "landscape.side_by_side",
    "load": "landscape.loading",
    "read": "landscape.session",
    "run": "landscape.session",
    "save": "landscape.checkpoints",
    "solve": "landscape.algorithms.linear_systems.solve",
    "track": "landscape.tracking",
}
__all__ = [
    "Critical",
    "Density",
    "Diagonal",
    "Direction",
    "Edit",
    "Eig",
    "Flatness",
    "Influence",
    "LandscapeError",
    "Llc",
    "Measures",
    "Memorization",
    "Objective",
    "Sensitivity",
    "Sharpness",
    "Surface",
    "Trace",
    "compare",
    "load",
    "read",
    "run",
    "save",
    "solve",
    "track",
]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'landscape' has no attribute {name!r}")
    return getattr(importlib.import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
