"""The figure of flatness: its curves and laws."""

from __future__ import annotations

from pathlib import Path

from conftest import tanh_net
from matplotlib.figure import Figure
from torch import Tensor

import landscape
from landscape import Flatness, Objective, Sharpness
from landscape.figures import draw, save
from landscape.figures.registry import panel_count

Data = tuple[Tensor, Tensor]


def test_flatness_draws_its_laws(classification: Data, tmp_path: Path) -> None:
    result = landscape.run(
        Flatness(rho=(0.05, 0.1), starts=3, steps=3, per_layer=True),
        Objective(tanh_net(), [classification], "cross_entropy"),
    )
    assert panel_count(result) == 3
    axes = Figure().subplots(1, 3, squeeze=False)[0]
    draw(result, axes)
    labels = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert labels[-2:] == [r"$\lambda_1 \rho^2$", r"$\rho\,\|c\,g\|$"]
    save(result, tmp_path / "a.png", heading="a", fingerprint="f")


def test_a_result_that_is_not_finite_draws_too(classification: Data, tmp_path: Path) -> None:
    import torch

    def exploding(output: Tensor, target: Tensor) -> Tensor:
        return torch.exp(40 * output.square().sum(dim=1))

    objective = Objective(tanh_net(), [classification], exploding)
    for analysis in (Sharpness(adaptive="none", rho=3.0, draws=4), Flatness(rho=3.0, starts=2)):
        save(landscape.run(analysis, objective), tmp_path / "a.png", heading="a", fingerprint="f")
