"""Options of `llc`, and what its result says of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import tanh_net
from torch import Tensor

import landscape
from landscape import Objective
from landscape.analyses.llc.llc import Llc, LlcResult
from landscape.analyses.llc.posterior import default_gamma
from landscape.errors import UsageError


def result_of(**changes: Any) -> LlcResult:
    one = np.ones(2)
    fields: dict[str, Any] = {
        "llc": 5.0, "llc_se": 0.1, "lower": 4.8, "upper": 5.2, "rtol": 0.05, "r_hat": 1.01, "distance_r_hat": 1.02,
        "effective_draws": 200.0, "burn_in": 0, "draws": 100, "acceptance": 0.8, "step_size": 0.1, "leaps": 4,
        "nbeta": 100.0, "gamma": 1.0, "gamma_effect": 0.1, "gamma_effect_se": 0.01, "work_deviation": 0.5,
        "broken_proposals": 0, "lower_loss_share": 0.0, "loss": 0.1, "gradient_norm": 0.0, "parameters": 20,
        "samples": 50, "chain": np.array(["checkpoint", "random"]), "chain_llc": one, "chain_distance": one,
        "chain_acceptance": one, "excess": np.eye(2, 9), "rounding": 0.01, "running_draws": one, "running_llc": one,
        "running_se": one,
    }  # fmt: skip
    return LlcResult(**{**fields, **changes})


def test_chains_that_agree_are_conclusive() -> None:
    assert result_of().trouble() is None
    assert result_of().remarks() == ["95 % interval 4.8 to 5.2, R-hat 1.010, 200 effective draws of 200"]


LAYERS = {"layer": np.array(["a", "b"]), "layer_r_hat": np.array([1.0, np.nan])}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"llc": float("nan")}, "the losses of the chains are not finite"),
        ({"excess": np.zeros((2, 9)), "r_hat": float("nan")}, "the loss is the same at all 100 draws of all chains"),
        ({"rounding": 0.3}, "rounding may move the coefficient 5 by 0.3"),
        ({"r_hat": 1.2}, "do not agree after 100 draws: R-hat of their losses is 1.2"),
        ({"r_hat": float("nan")}, "R-hat of their losses is nan"),
        ({"distance_r_hat": 1.06}, "R-hat of their distances from the checkpoint is 1.06"),
        ({"llc": -1.0}, "the coefficient is negative, -1 +- 0.1"),
        ({"work_deviation": -3.5}, "x'grad U is -3.5 standard errors off its mean"),
        ({"step_bias": 1.5}, "bias the coefficient 5 by 1.5"),
        ({"llc_se": 0.3}, "standard error 0.3 of 5 after 100 draws, 0.05 of it was asked for"),
        (LAYERS, "the chains of b do not agree"),
    ],
    ids=[
        "nan",
        "flat",
        "rounding",
        "losses",
        "stuck",
        "distances",
        "negative",
        "equilibrium",
        "bias",
        "error",
        "layer",
    ],
)
def test_each_trouble_names_its_reason(changes: Any, why: str) -> None:
    assert why in str(result_of(**changes).trouble())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gamma_effect": 1.0}, "half of it would add about 0.693"),
        ({"lower_loss_share": 0.25}, "25 % of the draws have a lower loss"),
        ({"broken_proposals": 3}, "not finite at 3 proposals"),
    ],
    ids=["gamma", "lower", "broken"],
)
def test_remarks_name_what_weakens_the_number(changes: Any, words: str) -> None:
    assert any(words in remark for remark in result_of(**changes).remarks())


def test_options_that_mean_nothing_are_refused(classification: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(UsageError, match="gamma is 0"):
        Llc(gamma=0.0)
    with pytest.raises(UsageError, match="two ways"):
        Llc(per_layer=True, blocks=("a",))
    with pytest.raises(UsageError, match="all weights are zero"):
        default_gamma(torch.zeros(3))
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    with pytest.raises(UsageError, match="--batch 25 of 24 samples"):
        landscape.run(Llc(batch=25), objective)


def test_the_coefficient_is_a_number_of_parameters() -> None:
    assert (
        result_of().meaning()
        == "the loss rises around the checkpoint as with 2 llc = 10 ± 0.4 (95 %) parameters, of 20"
    )
    assert result_of(gamma_effect=1.0).meaning().endswith("of 20 at this gamma")
    assert result_of(lower=-0.5, upper=10.5).meaning() == ""
    assert result_of(upper=np.nan, lower=np.nan).meaning() == ""
    assert result_of(r_hat=1.2).sentences()[0] == result_of(r_hat=1.2).remarks()[0]
