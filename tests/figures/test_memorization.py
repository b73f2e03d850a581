"""The picture of memorization, in every variant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import tanh_net
from matplotlib.figure import Figure
from memorized import fit_net
from torch import Tensor

import landscape
from landscape import Memorization, Objective
from landscape.figures import draw, drawn, save
from landscape.figures.memorization import draw_activation_ratios, draw_curvature_mass, draw_score_histogram
from landscape.figures.registry import panel_count

Data = tuple[Tensor, Tensor]
FEW: dict[str, Any] = {"bands": (0.1, 0.5), "controls": 1, "resamples": 30}


@pytest.mark.parametrize(
    ("options", "panels"),
    [
        ({}, 6),
        ({"per_layer": False}, 6),
        ({"scores": False}, 4),
        ({"scores": False, "per_layer": False, "controls": 0}, 3),
    ],
    ids=["all", "no-layers", "no-scores", "least"],
)
def test_every_variant_of_memorization_draws(
    classification: Data, options: dict[str, Any], panels: int, tmp_path: Path
) -> None:
    result = landscape.run(Memorization(**{**FEW, **options}), fit_net(classification))
    assert drawn(result)
    assert panel_count(result) == panels
    save(result, tmp_path / "a.png", heading="a", fingerprint="f")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_without_populations_it_draws_too(classification: Data, tmp_path: Path) -> None:
    result = landscape.run(Memorization(**FEW), Objective(tanh_net(), classification, "cross_entropy"))
    save(result, tmp_path / "a.png", heading="a", fingerprint="f")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_the_spectrum_shows_changes_intervals_and_controls(classification: Data) -> None:
    result = landscape.run(Memorization(**FEW), fit_net(classification))
    axes = Figure(figsize=(30, 4)).subplots(1, 6, squeeze=False)[0]
    draw(result, axes)
    heights = [bar.get_height() for bar in axes[0].patches]
    assert np.allclose(sorted(heights), sorted(result.delta_loss.ravel()))
    labels = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert {"memorized", "clean", "held-out", "same-norm noise", "random components"} <= set(labels)
    assert axes[0].get_yscale() == "symlog"
    image = axes[3].images[0].get_array()
    names = list(result.population)
    wanted = result.layer_delta_loss[names.index("memorized")] - result.layer_delta_loss[names.index("clean")]
    assert np.allclose(image, wanted)
    assert "not memorization" in axes[2].get_title()
    assert (
        axes[4].get_title()
        == f"edit damage: AUROC {dict(zip(result.score, result.auroc, strict=True))['edit_damage']:.3f}"
    )


def test_only_the_true_labels_of_memorized_samples_are_dashed(classification: Data) -> None:
    x, y = classification
    objective = fit_net(classification)
    objective.populations = {"memorized": (x[:6], y[:6]), "truth": (x[:6], (y[:6] + 1) % 3)}
    axes = Figure().subplots()
    draw_activation_ratios(landscape.run(Memorization(**FEW, scores=False), objective), axes)
    styles = {line.get_label(): line.get_linestyle() for line in axes.lines}
    assert styles["memorized"] == "-"
    assert styles["truth"] == "--"


def test_each_layer_has_a_curve_of_its_mass_up_to_all_of_it(classification: Data) -> None:
    result = landscape.run(Memorization(**FEW, scores=False), fit_net(classification))
    axes = Figure().subplots()
    draw_curvature_mass(result, axes)
    curves = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert list(curves) == ["0", "2", "all layers, at rho"]
    assert curves["0"][-1] == pytest.approx(1)
    assert np.array_equal(curves["all layers, at rho"], result.rho)


def test_bars_of_a_histogram_sum_to_one_for_each_kind_and_nonpositive_scores_are_said(classification: Data) -> None:
    result = landscape.run(Memorization(**FEW), fit_net(classification))
    damage = np.linspace(-0.5, 1, len(result.edit_damage))
    axes = Figure().subplots()
    draw_score_histogram(replace(result, edit_damage=damage), "edit_damage", axes)
    heights = sum(bar.get_height() for bar in axes.patches)
    assert heights == pytest.approx(2)
    assert axes.get_xlabel() == "edit damage (nonpositive at the left)"
    axes = Figure().subplots()
    draw_score_histogram(replace(result, edit_damage=np.exp(damage)), "edit_damage", axes)
    assert axes.get_xlabel() == "edit damage"
