"""The pictures of memorization and edit, in every variant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import tanh_net
from matplotlib.figure import Figure
from memorized import fit_net
from torch import Tensor

import landscape
from landscape import Edit, Memorization, Objective
from landscape.figures import FIGURES, drawn, save_figure

Data = tuple[Tensor, Tensor]
FEW: dict[str, Any] = {"bands": (0.1, 0.5), "controls": 1, "resamples": 30}


@pytest.mark.parametrize(
    ("options", "panels"),
    [
        ({}, 6),
        ({"per_layer": False}, 5),
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
    assert FIGURES[type(result)][0](result) == panels
    save_figure(result, tmp_path / "a.png", title="a", fingerprint="f")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_without_populations_it_draws_too(classification: Data, tmp_path: Path) -> None:
    result = landscape.run(Memorization(**FEW), Objective(tanh_net(), classification, "cross_entropy"))
    save_figure(result, tmp_path / "a.png", title="a", fingerprint="f")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_the_spectrum_shows_changes_intervals_and_controls(classification: Data) -> None:
    result = landscape.run(Memorization(**FEW), fit_net(classification))
    axes = Figure().subplots(1, 6, squeeze=False)[0]
    FIGURES[type(result)][1](result, axes, {})
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


def test_the_sweep_shows_every_population_and_the_chosen_rho(classification: Data, tmp_path: Path) -> None:
    result = landscape.run(Edit(max_loss_increase=0.1), fit_net(classification))
    assert FIGURES[type(result)][0](result) == 2
    axes = Figure().subplots(1, 2, squeeze=False)[0]
    FIGURES[type(result)][1](result, axes, {})
    assert np.array_equal(axes[0].lines[0].get_ydata(), result.accuracy[0])
    chosen = [line for line in axes[1].lines if line.get_label() == "chosen"]
    assert result.rho[round(chosen[0].get_xdata()[0])] == result.chosen_rho
    assert axes[1].get_yscale() == "log"
    save_figure(result, tmp_path / "a.png", title="a", fingerprint="f")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_a_loss_without_classes_has_one_panel(generator: Any, tmp_path: Path) -> None:
    import torch

    x, y = torch.randn(20, 5, generator=generator), torch.randn(20, 3, generator=generator)
    result = landscape.run(Edit(rho=(0.5,)), Objective(tanh_net(), (x, y), "mse"))
    assert FIGURES[type(result)][0](result) == 1
    save_figure(result, tmp_path / "a.png", title="a", fingerprint="f")
