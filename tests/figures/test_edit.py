"""The picture of an edit, with and without classes and texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from conftest import tanh_net
from matplotlib.figure import Figure
from memorized import fit_net, random_texts
from torch import Tensor

import landscape
from landscape import Edit, Objective
from landscape.figures import draw, save
from landscape.figures.registry import panel_count

Data = tuple[Tensor, Tensor]


def test_the_sweep_shows_every_population_and_the_chosen_rho(classification: Data, tmp_path: Path) -> None:
    result = landscape.run(Edit(max_loss_increase=0.1), fit_net(classification))
    assert panel_count(result) == 2
    axes = Figure().subplots(1, 2, squeeze=False)[0]
    draw(result, axes)
    assert np.array_equal(axes[0].lines[0].get_ydata(), result.accuracy[0])
    chosen = [line for line in axes[1].lines if line.get_label() == "chosen"]
    assert result.rho[round(chosen[0].get_xdata()[0])] == result.chosen_rho
    assert axes[1].get_yscale() == "log"
    save(result, tmp_path / "a.png", heading="a", fingerprint="f")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_a_loss_without_classes_has_one_panel(generator: Any, tmp_path: Path) -> None:
    import torch

    x, y = torch.randn(20, 5, generator=generator), torch.randn(20, 3, generator=generator)
    result = landscape.run(Edit(rho=(0.5,)), Objective(tanh_net(), (x, y), "mse"))
    assert panel_count(result) == 1
    save(result, tmp_path / "a.png", heading="a", fingerprint="f")


def test_texts_have_a_panel_of_recitation_without_the_populations_that_are_not_texts() -> None:
    objective = random_texts()
    ids, targets = objective.populations["memorized"]
    objective.populations = {**objective.populations, "other": (ids, targets.flip(0))}
    result = landscape.run(Edit(rho=(0.5,)), objective)
    assert panel_count(result) == 3
    axes = Figure().subplots(1, 3, squeeze=False)[0]
    draw(result, axes)
    assert axes[0].get_ylabel() == "texts recited"
    assert [line.get_label() for line in axes[0].lines] == ["memorized", "clean", "chosen"]
    assert [line.get_label() for line in axes[2].lines] == ["memorized", "clean", "other", "chosen"]
