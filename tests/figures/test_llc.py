"""The picture of chains: their losses, the burn-in, and the running estimate."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

from landscape.analyses.llc.llc import LlcResult
from landscape.figures import draw
from landscape.figures.registry import panel_count


def result_of(**changes: Any) -> LlcResult:
    """Two chains of 60 draws."""
    one = np.ones(2)
    fields: dict[str, Any] = {
        "llc": 5.0, "llc_se": 0.1, "lower": 4.8, "upper": 5.2, "rtol": 0.05, "r_hat": 1.01, "distance_r_hat": 1.02,
        "effective_draws": 200.0, "burn_in": 10, "draws": 60, "acceptance": 0.8, "step_size": 0.1, "leaps": 4,
        "nbeta": 100.0, "gamma": 1.0, "gamma_effect": 0.1, "gamma_effect_se": 0.01, "work_deviation": 0.5,
        "broken_proposals": 0, "rounding": 0.01, "lower_loss_share": 0.0, "loss": 0.1, "gradient_norm": 0.0,
        "parameters": 20, "samples": 50, "chain": np.array(["checkpoint", "random"]), "chain_llc": one,
        "chain_distance": one, "chain_acceptance": one, "excess": np.random.default_rng(0).normal(5, 1, (2, 60)),
        "running_draws": np.array([20, 40, 60]), "running_llc": np.full(3, 5.0), "running_se": np.full(3, 0.1),
    }  # fmt: skip
    return LlcResult(**{**fields, **changes})


def words_of(result: LlcResult) -> tuple[list[set[str]], list[str]]:
    """The words of the legends, and the titles."""
    figure, axes = plt.subplots(1, panel_count(result))
    draw(result, axes)
    legends = [{text.get_text() for text in one.get_legend().get_texts()} for one in axes[:2]]
    titles = [one.get_title() for one in axes]
    figure.canvas.draw()
    plt.close(figure)
    return legends, titles


def test_chains_are_told_apart_by_their_starts_and_the_burn_in_is_shaded() -> None:
    legends, titles = words_of(result_of())
    assert legends[0] == {"from the checkpoint", "from random points", "burn-in"}
    assert legends[1] == {"estimate", "95 % interval", "burn-in"}
    assert titles == ["2 chains, R-hat 1.010", "5 (4.8 to 5.2), gamma 1"]


def test_without_a_burn_in_nothing_is_shaded() -> None:
    assert words_of(result_of(burn_in=0))[0][0] == {"from the checkpoint", "from random points"}


@pytest.mark.parametrize("missing", [False, True], ids=["finite", "nan"])
def test_layers_have_a_panel(missing: bool) -> None:
    values = np.array([2.0, np.nan if missing else 1.0])
    layers = {"layer": np.array(["a", "b"]), "layer_llc": values, "layer_llc_se": values / 10}
    assert words_of(result_of(**layers))[1][2] == "by block"
