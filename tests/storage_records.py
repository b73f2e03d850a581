"""Records that the tests of storage write and read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landscape.fields import array, scalar
from landscape.storage.write import write_results


@dataclass(frozen=True)
class Record:
    grid: np.ndarray = array("grid", help="A coordinate.", unit="m")
    heights: np.ndarray = array("row", "grid", help="Values over it.")
    flags: np.ndarray = array("row", help="Yes or no.")
    total: float = scalar("A number.")
    extra: np.ndarray | None = array("row", help="May be absent.", optional=True)


def make_record(rows: int = 3, columns: int = 4, **changes: Any) -> Record:
    heights = np.arange(rows * columns, dtype=float).reshape(rows, columns)
    values = {"grid": np.linspace(0, 1, columns), "heights": heights, "flags": np.arange(rows) % 2 == 0, "total": 1.5}
    return Record(**{**values, **changes})


def write_record(path: Path, name: str = "demo", **changes: Any) -> Record:
    written = make_record(**changes)
    write_results(path, name, written, {"status": "complete", "absent": None})
    return written


@dataclass(frozen=True)
class Named:
    layer: np.ndarray = array("layer", help="Names.")
    size: np.ndarray = array("layer", help="A number each.")
    often: float | None = scalar("May be absent.", optional=True)
