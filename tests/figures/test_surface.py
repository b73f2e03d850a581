"""The pictures of surfaces, in every variant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tanh_net
from matplotlib.figure import Figure
from torch import Tensor, nn

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.figures import Look, draw, save, save_surfaces, surface
from landscape.figures.registry import panel_count

Data = tuple[Tensor, Tensor]


def measured(classification: Data, **options: Any) -> SurfaceResult:
    result: SurfaceResult = landscape.run(
        Surface(**{"grid": "7", **options}), Objective(tanh_net(), [classification], "cross_entropy")
    )
    return result


@pytest.mark.parametrize(
    ("options", "panels"),
    [
        ({}, 2),
        ({"seeds": 5}, 5),
        ({"dim": 1}, 1),
        ({"dim": 1, "seeds": 3}, 1),
        ({"axes": "eigen", "grid": "9x5"}, 2),
        ({"grid": "21", "adaptive": True}, 2),
    ],
    ids=["plane", "planes", "line", "lines", "eigen", "adaptive"],
)
def test_every_variant_draws(classification: Data, options: dict[str, Any], panels: int, tmp_path: Path) -> None:
    result = measured(classification, **options)
    assert panel_count(result) == panels
    save(result, tmp_path / "a.png", heading="a $b", fingerprint="f")
    assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.mark.parametrize("suffix", [".pdf", ".svg"])
def test_other_formats(classification: Data, suffix: str, tmp_path: Path) -> None:
    save(measured(classification), tmp_path / f"a{suffix}", heading="a", fingerprint="f")
    assert (tmp_path / f"a{suffix}").read_bytes()[:5] in (b"%PDF-", b"<?xml")


@pytest.mark.parametrize("width", [8.0, 8.5, 10.0, 12.0, 17.5])
def test_the_legend_of_a_plane_stands_beside_no_color_bar(classification: Data, width: float, tmp_path: Path) -> None:
    save(measured(classification), tmp_path / "a.png", panel=("loss",), width=width, title="")


def test_a_regression_has_no_accuracy(tmp_path: Path) -> None:
    x = torch.randn(9, 5)
    result = landscape.run(Surface(grid="5"), Objective(nn.Linear(5, 1), [(x, x[:, :1])], "mse"))
    assert panel_count(result) == 1
    save(result, tmp_path / "a.png", heading="a", fingerprint="f")


def test_a_metric_has_a_panel(classification: Data, tmp_path: Path) -> None:
    result = measured(classification, metric=lambda output, target: output.softmax(1).amax(1))
    assert panel_count(result) == 3
    figure = Figure()
    draw(result, figure.subplots(1, 3))
    assert {"accuracy", "metric"} <= {axes.get_ylabel() for axes in figure.axes}


def test_several_results_share_one_scale(classification: Data, tmp_path: Path) -> None:
    planes = [measured(classification, seed=seed) for seed in range(3)]
    save_surfaces(planes, tmp_path / "a.png", names=["a", "b", "c"], fingerprint="f")
    axes = Figure().subplots(1, 3)
    surface.draw_together(planes, ["a", "b", "c"], axes, Look())
    limits = {panel.collections[0].get_clim() for panel in axes}
    assert limits == {(min(p.loss.min() for p in planes), max(p.loss.max() for p in planes))}
    lines = [measured(classification, dim=1, seeds=2), measured(classification, dim=1)]
    save_surfaces(lines, tmp_path / "b.png", names=["a", "$b"], fingerprint="f")
    assert (tmp_path / "b.png").stat().st_size > 10_000
