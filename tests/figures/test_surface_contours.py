"""Planes as contours: the lowest point, the checkpoints, trajectories, and points that are not finite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from conftest import SAMPLES, tanh_net
from matplotlib.figure import Figure
from torch import Tensor

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.figures import draw, save
from landscape.figures.registry import MAX_PANELS, panel_count, panel_names
from landscape.figures.surface_contours import heat_range

Data = tuple[Tensor, Tensor]


TRAJECTORY = SAMPLES / "digits-mlp-trajectory"


def measured(classification: Data, **options: Any) -> SurfaceResult:
    result: SurfaceResult = landscape.run(
        Surface(**{"grid": "7", **options}), Objective(tanh_net(), [classification], "cross_entropy")
    )
    return result


def test_a_trajectory_is_a_path_and_its_axes_say_what_they_explain() -> None:
    objective = landscape.load(TRAJECTORY / "step-0840.pt", limit=50)
    result = landscape.run(Surface(trajectory=str(TRAJECTORY), grid="7"), objective)
    axes = Figure().subplots(1, 2)
    draw(result, list(axes))
    path = next(line for line in axes[0].lines if line.get_label() == "trajectory, projected")
    assert np.array_equal(path.get_xdata(), result.place_alpha)
    assert f"{100 * result.explained_alpha:.3g} % of the variance" in axes[0].get_xlabel()
    assert axes[0].get_aspect() == 1


def test_the_lowest_point_and_the_checkpoint_are_marked(classification: Data) -> None:
    result = measured(classification)
    axes = Figure().subplots(1, 2)
    draw(result, axes)
    lowest = next(line for line in axes[0].lines if str(line.get_label()).startswith("lowest"))
    row, column = np.unravel_index(result.loss.argmin(), result.loss.shape)
    assert result.beta is not None
    assert (lowest.get_xdata()[0], lowest.get_ydata()[0]) == (result.alpha[column], result.beta[row])
    assert f"{result.loss.min():.3g}" in str(lowest.get_label())


def test_an_accuracy_that_is_the_same_everywhere_has_a_color_bar_of_accuracies(classification: Data) -> None:
    result = measured(classification)
    assert result.accuracy is not None
    figure = Figure()
    axes = figure.subplots(1, 2)
    draw(replace(result, accuracy=np.ones_like(result.loss)), axes)
    bar = next(extra for extra in figure.axes if extra.get_ylabel() == "accuracy")
    assert bar.get_ylim() == (0, 1)
    assert heat_range(np.array([0.5, 0.7]), "accuracy") == (None, None)
    assert heat_range(np.array([np.nan]), "accuracy") == (None, None)
    assert heat_range(np.array([4.0, np.nan]), "metric") == (2, 6)
    assert heat_range(np.zeros(2), "metric") == (-0.5, 0.5)


def test_every_checkpoint_of_a_plane_has_its_letter_in_the_legend(classification: Data) -> None:
    places: Any = {"place_alpha": np.array([0.0, 1, 0]), "place_beta": np.array([0.0, 0, 1])}
    plane = replace(measured(classification), mark=np.array(["x/one.pt", "two.pt", "three.pt"]), **places)
    axes = Figure().subplots(1, 2)
    draw(plane, axes)
    labels = [str(line.get_label()) for line in axes[0].lines]
    assert f"A: one.pt, {plane.centre_loss:.3g}" in labels
    assert {"B: two.pt", "C: three.pt"} <= set(labels)
    assert [text.get_text() for text in axes[0].texts if text.get_text() in "ABC"] == ["A", "B", "C"]


def test_nan_is_hatched_and_a_clipped_scale_says_so(classification: Data, tmp_path: Path) -> None:
    result = measured(classification)
    losses = result.loss.copy()
    losses[0, 0], losses[1, 1], losses[3, 3] = np.nan, np.inf, 1e-9
    broken = replace(result, loss=losses)
    figure = Figure()
    axes = figure.subplots(1, 2)
    draw(broken, axes)
    assert any(patch.get_hatch() for patch in axes[0].patches)
    assert any("clipped at 0.001" in extra.get_ylabel() for extra in figure.axes)
    save(broken, tmp_path / "a.png", heading="a", fingerprint="f")
    nothing = replace(result, loss=np.full_like(losses, np.nan))
    save(nothing, tmp_path / "b.png", heading="b", fingerprint="f")
    tiny = replace(result, loss=1 + 1e-14 * np.arange(losses.size).reshape(losses.shape))
    save(tiny, tmp_path / "d.png", heading="d", fingerprint="f")
    many = replace(result, loss=np.stack([losses] * 30), seed=np.arange(30))
    assert panel_count(many) == MAX_PANELS
    assert len(panel_names(many)) == 30
    constant = replace(result, loss=np.ones_like(losses))
    save(constant, tmp_path / "c.png", heading="c", fingerprint="f")
