"""The pictures of surfaces, in every variant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SAMPLES, tanh_net
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor, nn

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.figures import FIGURES, save_figure, save_surfaces, surface

Data = tuple[Tensor, Tensor]
TRAJECTORY = SAMPLES / "digits-mlp-trajectory"


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
    assert FIGURES[SurfaceResult][0](result) == panels
    save_figure(result, tmp_path / "a.png", title="a $b", fingerprint="f")
    assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.mark.parametrize("suffix", [".pdf", ".svg"])
def test_other_formats(classification: Data, suffix: str, tmp_path: Path) -> None:
    save_figure(measured(classification), tmp_path / f"a{suffix}", title="a", fingerprint="f")
    assert (tmp_path / f"a{suffix}").read_bytes()[:5] in (b"%PDF-", b"<?xml")


def test_a_regression_has_no_accuracy(tmp_path: Path) -> None:
    x = torch.randn(9, 5)
    result = landscape.run(Surface(grid="5"), Objective(nn.Linear(5, 1), [(x, x[:, :1])], "mse"))
    assert FIGURES[SurfaceResult][0](result) == 1
    save_figure(result, tmp_path / "a.png", title="a", fingerprint="f")


def test_a_metric_has_a_panel(classification: Data, tmp_path: Path) -> None:
    result = measured(classification, metric=lambda output, target: output.softmax(1).amax(1))
    assert FIGURES[SurfaceResult][0](result) == 3
    figure = Figure()
    surface.draw(result, figure.subplots(1, 3), {})
    assert {"accuracy", "metric"} <= {axes.get_ylabel() for axes in figure.axes}


def test_names_that_are_shared_are_the_title_and_long_ones_are_cut(classification: Data) -> None:
    lines = [measured(classification, dim=1), measured(classification, dim=1, seeds=2)]
    figure = Figure()
    surface.draw_together(lines, [f"{'x' * 90}.pt, by filter", "b.pt, by filter"], [axes := figure.subplots()])
    assert figure.get_suptitle() == "by filter"
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(labels[0]) < 62
    assert labels[1] == "b.pt, mean of 2"


def test_a_trajectory_is_a_path_and_its_axes_say_what_they_explain() -> None:
    objective = landscape.load(TRAJECTORY / "step-0840.pt", limit=50)
    result = landscape.run(Surface(trajectory=str(TRAJECTORY), grid="7"), objective)
    axes = Figure().subplots(1, 2)
    surface.draw(result, list(axes), {})
    path = next(line for line in axes[0].lines if line.get_label() == "trajectory, projected")
    assert np.array_equal(path.get_xdata(), result.place_alpha)
    assert f"{100 * result.explained_alpha:.3g} % of the variance" in axes[0].get_xlabel()
    assert axes[0].get_aspect() == 1


def test_the_lowest_point_and_the_checkpoint_are_marked(classification: Data) -> None:
    result = measured(classification)
    axes = Figure().subplots(1, 2)
    surface.draw(result, axes, {})
    lowest = next(line for line in axes[0].lines if str(line.get_label()).startswith("lowest"))
    row, column = np.unravel_index(result.loss.argmin(), result.loss.shape)
    assert result.beta is not None
    assert (lowest.get_xdata()[0], lowest.get_ydata()[0]) == (result.alpha[column], result.beta[row])
    assert f"{result.loss.min():.3g}" in str(lowest.get_label())


def test_nan_is_hatched_and_a_clipped_scale_says_so(classification: Data, tmp_path: Path) -> None:
    result = measured(classification)
    losses = result.loss.copy()
    losses[0, 0], losses[1, 1], losses[3, 3] = np.nan, np.inf, 1e-9
    broken = replace(result, loss=losses)
    figure = Figure()
    axes = figure.subplots(1, 2)
    surface.draw(broken, axes, {})
    assert any(patch.get_hatch() for patch in axes[0].patches)
    assert any("clipped at 0.001" in extra.get_ylabel() for extra in figure.axes)
    save_figure(broken, tmp_path / "a.png", title="a", fingerprint="f")
    nothing = replace(result, loss=np.full_like(losses, np.nan))
    save_figure(nothing, tmp_path / "b.png", title="b", fingerprint="f")
    tiny = replace(result, loss=1 + 1e-14 * np.arange(losses.size).reshape(losses.shape))
    save_figure(tiny, tmp_path / "d.png", title="d", fingerprint="f")
    many = replace(result, loss=np.stack([losses] * 30), seed=np.arange(30))
    assert FIGURES[SurfaceResult][0](many) == 9
    constant = replace(result, loss=np.ones_like(losses))
    save_figure(constant, tmp_path / "c.png", title="c", fingerprint="f")


def test_the_scale_is_logarithmic_where_it_can_be_and_one_for_all() -> None:
    first, second = np.array([[1.0, 10.0]]), np.array([[0.1, np.nan]])
    norm = surface.loss_scale([first, second])
    assert isinstance(norm, LogNorm)
    assert (norm.vmin, norm.vmax) == (0.1, 10)
    assert not isinstance(surface.loss_scale([np.array([[-1.0, 2.0]])]), LogNorm)
    assert surface.loss_scale([np.array([[1e-9, 1.0]])]).vmax == pytest.approx(1e-3)


def test_several_results_share_one_scale(classification: Data, tmp_path: Path) -> None:
    planes = [measured(classification, seed=seed) for seed in range(3)]
    save_surfaces(planes, tmp_path / "a.png", names=["a", "b", "c"], fingerprint="f")
    axes = Figure().subplots(1, 3)
    surface.draw_together(planes, ["a", "b", "c"], axes)
    limits = {panel.collections[0].get_clim() for panel in axes}
    assert limits == {(min(p.loss.min() for p in planes), max(p.loss.max() for p in planes))}
    lines = [measured(classification, dim=1, seeds=2), measured(classification, dim=1)]
    save_surfaces(lines, tmp_path / "b.png", names=["a", "$b"], fingerprint="f")
    assert (tmp_path / "b.png").stat().st_size > 10_000


def test_a_solid_draws_nan_too(classification: Data, tmp_path: Path) -> None:
    result = measured(classification)
    save_figure(result, tmp_path / "a.png", title="a", fingerprint="f", solid=True)
    losses = result.loss.copy()
    losses[0, 0] = np.nan
    save_figure(replace(result, loss=losses - 2), tmp_path / "b.png", title="b", fingerprint="f", solid=True)
    assert (tmp_path / "b.png").stat().st_size > 10_000
