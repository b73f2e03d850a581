"""A script for ranks: measures with every analysis, and the first rank prints a hash of each result as JSON."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import numpy as np
import torch
from torch import nn

import landscape
from landscape.compute import ranks

ANALYSES: dict[str, Any] = {
    "eig": lambda: landscape.Eig(k=3),
    "eig of blocks": lambda: landscape.Eig(k=2, block=2, operator="ggn"),
    "trace": lambda: landscape.Trace(rtol=0.2),
    "diagonal": lambda: landscape.Diagonal(rtol=0.3),
    "diagonal of ggn": lambda: landscape.Diagonal(operator="ggn"),
    "density": lambda: landscape.Density(probes=2),
    "density by budget": lambda: landscape.Density(budget=0.05),
    "sharpness": lambda: landscape.Sharpness(starts=2, steps=3, draws=8),
    "sharpness by budget": lambda: landscape.Sharpness(budget=0.001),
    "flatness": lambda: landscape.Flatness(starts=1, steps=2),
    "surface": lambda: landscape.Surface(dim=1, grid=7),
    "direction": lambda: landscape.Direction(),
    "critical": lambda: landscape.Critical(),
    "sensitivity": lambda: landscape.Sensitivity(prune=(0.5,), budget=4),
    "llc": lambda: landscape.Llc(draws=32, rtol=10.0),
    "measures": lambda: landscape.Measures(),
    "memorization": lambda: landscape.Memorization(),
    "influence": lambda: landscape.Influence(query="samples:0,3", self_=True),
    "influence by factors": lambda: landscape.Influence(inverse="ekfac", query="samples:0,3", self_=True),
}


def digest(value: Any) -> str:
    """A hash of the arrays and numbers of a result; its notes and checks are words."""
    sha = hashlib.sha256()
    for name, part in sorted(vars(value).items()):
        if isinstance(part, np.ndarray) and part.dtype.kind in "fiub":
            sha.update(name.encode() + part.tobytes())
        elif isinstance(part, float | int):
            sha.update(f"{name} {part!r}".encode())
    return sha.hexdigest()[:16]


def objective(dtype: str) -> landscape.Objective:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3))
    data = (torch.randn(50, 6, generator=generator), torch.arange(50) % 3)
    return landscape.Objective(model, data, "cross_entropy", dtype=dtype)


def main(dtype: str, names: list[str]) -> None:
    ranks.join()
    found: dict[str, Any] = {}
    for name in names or ANALYSES:
        result = landscape.run(ANALYSES[name](), objective(dtype))
        found[name] = digest(result) if dtype == "float32" else float(np.ravel(getattr(result, "eigenvalues", 0))[0])
    if ranks.current().is_first:
        print(json.dumps(found))
    ranks.leave()


main(sys.argv[1], sys.argv[2:])
