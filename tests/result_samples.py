"""Results with names, values and dimensions that a test can see through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from landscape.analyses.base import Result, Trouble
from landscape.fields import Gauge, array, scalar


@dataclass(frozen=True, kw_only=True)
class SampleResult(Result):
    """Curves over radii, layers with names, and numbers with errors of both spellings."""

    tables: ClassVar[tuple[str, ...]] = ("layer", "radius")

    radius: np.ndarray = array("radius", help="Radii.")
    height: np.ndarray = array("radius", "start", help="Heights.", unit="m")
    layer: np.ndarray = array("layer", help="Names.", words=True)
    layer_size: np.ndarray = array("layer", help="Sizes.")
    mass: float = scalar("Mass.", "kg", gauge=Gauge(error="mass_error"))
    mass_error: float = scalar("Its error.")
    length: float = scalar("Length.")
    length_se: float = scalar("Its standard error.")
    width: float | None = scalar("Absent.", optional=True)
    settled: bool = scalar("Whether it has settled.")
    loss: float = scalar("Loss.")
    stuck: str = ""

    def inconclusive(self) -> Trouble | None:
        return Trouble(self.stuck, "go on") if self.stuck else None


def sample_result(**changes: object) -> SampleResult:
    values: dict[str, object] = {
        "radius": np.array([0.5, 1.0]),
        "height": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, np.nan]]),
        "layer": np.array(["<script>alert(1)</script>", 'a "b", c']),
        "layer_size": np.array([7, 8]),
        "mass": 2.34567,
        "mass_error": 0.0123,
        "length": 10.0,
        "length_se": 20.0,
        "settled": True,
        "loss": 0.25,
        "attributes": {"checkpoint": "runs/<b>net</b>.pt"},
    }
    return SampleResult(**{**values, **changes})  # type: ignore[arg-type]
