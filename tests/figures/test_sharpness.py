"""The figure of sharpness, in every variant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import tanh_net
from matplotlib.figure import Figure
from torch import Tensor

import landscape
from landscape import Objective, Sharpness
from landscape.figures import draw, save
from landscape.figures.registry import panel_count

Data = tuple[Tensor, Tensor]


FEW = {"steps": 3, "draws": 4}


@pytest.mark.parametrize(
    ("options", "panels"),
    [
        ({"rho": (0.1, 0.2, 0.4), "starts": 5, "per_layer": True}, 3),
        ({"rho": 0.1, "starts": 1}, 1),
        ({"starts": 0}, 1),
        ({"norm": "linf", "starts": 3, "draws": 0}, 2),
        ({"rho": 1e-9, "starts": 3}, 2),
        ({"rho": tuple(np.geomspace(0.01, 1, 12)), "starts": 2}, 2),
        ({"curve": (0.1, 0.4), "starts": 3}, 2),
        ({"curve": (0.1, 0.4), "starts": 0}, 1),
        ({"curve": (0.1, 0.4), "starts": 1, "draws": 0}, 1),
    ],
    ids=[
        "curve",
        "one-step",
        "average-only",
        "box",
        "rounding",
        "many-radii",
        "followed",
        "average-curve",
        "box-curve",
    ],
)
def test_every_variant_of_sharpness_draws(
    classification: Data, options: dict[str, Any], panels: int, tmp_path: Path
) -> None:
    result = landscape.run(Sharpness(**{**FEW, **options}), Objective(tanh_net(), [classification], "cross_entropy"))
    assert panel_count(result) == panels
    save(result, tmp_path / "a.png", heading="a", fingerprint="f")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_the_curve_shows_rises_laws_and_the_loss(classification: Data) -> None:
    result = landscape.run(
        Sharpness(rho=(0.2, 0.4), starts=3, steps=5, draws=20), Objective(tanh_net(), [classification], "cross_entropy")
    )
    axes = Figure().subplots(1, 2, squeeze=False)[0]
    draw(result, axes)
    assert np.array_equal(axes[0].lines[0].get_ydata(), result.s_max)
    law = axes[0].lines[1]
    assert np.interp(0.4, law.get_xdata(), law.get_ydata()) == pytest.approx(result.s_max_law[1], rel=1e-3)
    assert axes[0].get_xscale() == "log"
    assert axes[0].get_yscale() == "log"
    assert [text.get_text() for text in axes[1].get_yticklabels()] == list(result.start)


def test_followed_radii_are_lines_with_laws_and_ticks_along_all_of_them(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    result = landscape.run(Sharpness(curve=(0.05, 0.1, 0.4), starts=3, steps=5, draws=20), objective)
    axes = Figure().subplots(1, 2, squeeze=False)[0]
    draw(result, axes)
    drawn = [line.get_ydata() for line in axes[0].lines if len(line.get_ydata()) == len(result.radius)]
    assert any(np.array_equal(values, result.radius_s_max) for values in drawn)
    assert any(np.array_equal(values, result.radius_s_avg) for values in drawn)
    law = next(line for line in axes[0].lines if line.get_linestyle() == "--")
    assert (law.get_xdata()[0], law.get_xdata()[-1]) == pytest.approx((0.05, 0.4))
    assert [text.get_text() for text in axes[0].get_xticklabels()] == ["0.05", "0.1", "0.2", "0.4"]
    assert [text.get_text() for text in axes[1].get_yticklabels()] == list(result.start)
