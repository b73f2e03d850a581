"""Solids in three dimensions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from conftest import tanh_net
from torch import Tensor

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.figures import save

Data = tuple[Tensor, Tensor]


def measured(classification: Data, **options: Any) -> SurfaceResult:
    result: SurfaceResult = landscape.run(
        Surface(**{"grid": "7", **options}), Objective(tanh_net(), [classification], "cross_entropy")
    )
    return result


def test_a_solid_draws_nan_too(classification: Data, tmp_path: Path) -> None:
    result = measured(classification)
    save(result, tmp_path / "a.png", heading="a", fingerprint="f", form="solid")
    losses = result.loss.copy()
    losses[0, 0] = np.nan
    save(replace(result, loss=losses - 2), tmp_path / "b.png", heading="b", fingerprint="f", form="solid")
    assert (tmp_path / "b.png").stat().st_size > 10_000
