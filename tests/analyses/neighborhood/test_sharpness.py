"""The options of sharpness: the contract of an analysis, contradictions, and the protocol that follows."""

from __future__ import annotations

from typing import Any

import pytest
from analysis_contract import AnalysisContract
from conftest import tanh_net
from torch import Tensor

from landscape import Objective, Sharpness
from landscape.errors import UsageError

Data = tuple[Tensor, Tensor]


class TestSharpness(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Sharpness:
        return Sharpness(rho=(0.1, 0.3), m=10, starts=5, steps=4, draws=6, per_layer=True)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


class TestSharpnessOfNormalizedLogits(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Sharpness:
        return Sharpness(norm="linf", logit_norm="l2", starts=3, steps=3, draws=12, rtol=5.0, max_draws=40)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


# -- closed forms --------------------------------------------------------------------------------------------------


# -- small radii ---------------------------------------------------------------------------------------------------


# -- batches -------------------------------------------------------------------------------------------------------


# -- symmetries ----------------------------------------------------------------------------------------------------


# -- odd weights ---------------------------------------------------------------------------------------------------


# -- definitions of others -----------------------------------------------------------------------------------------


def test_the_protocol_of_andriushchenko_and_what_may_be_changed_in_it() -> None:
    chosen = Sharpness(preset="andriushchenko").protocol
    assert (chosen.m, chosen.starts, chosen.norm, chosen.adaptive) == (128, 1, "l2", "element")
    assert chosen.rho == (0.25, 0.5, 1.0, 2.0)
    assert chosen.average_rho == (0.05, 0.1, 0.2, 0.4)
    box = Sharpness(preset="andriushchenko", norm="linf", starts=5).protocol
    assert box.rho == (0.001, 0.002, 0.004, 0.008)
    assert box.starts == 5
    assert Sharpness(preset="andriushchenko", rho=(0.5,)).protocol.average_rho == (0.1,)
    assert Sharpness(preset="andriushchenko", rho=(0.3,), average_rho=(0.07,)).protocol.average_rho == (0.07,)
    with pytest.raises(UsageError, match="has no noise beside --rho 0.3"):
        Sharpness(preset="andriushchenko", rho=(0.3,))


# -- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": (0.1, -1.0)}, "--rho is -1"),
        ({"rho": (0.1, 0.2), "average_rho": (0.1,)}, "2 --rho and 1 --average-rho"),
        ({"starts": 0, "draws": 0}, "neither worst case nor average"),
        ({"adaptive": "layer"}, "--adaptive is 'layer'"),
        ({"preset": "swa"}, "--preset is 'swa'"),
        ({"average_rho": (float("nan"),)}, "--average-rho is nan"),
        ({"rho": "wide"}, "--rho is 'wide'"),
        ({"adaptive": "none", "unscaled": "*.bias"}, "--adaptive none does not scale"),
        ({"adaptive": "none", "adaptive_eta": 0.1}, "--adaptive none does not scale"),
        ({"draws": 1}, "--draws 1 has no standard error"),
        ({"draws": 0, "rtol": 0.1}, "--draws 0 leaves out"),
        ({"draws": 0, "rho": 0.1, "average_rho": 0.2}, "--draws 0 leaves out"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Sharpness(**options)


def test_radii_are_sorted_and_a_number_is_one_radius() -> None:
    assert Sharpness(rho=(0.3, 0.1, 0.3)).protocol.rho == (0.1, 0.3)
    assert Sharpness(rho=0.4).protocol.average_rho == (0.4,)  # type: ignore[arg-type]
    assert Sharpness(fixed="*.bias").scaling.fixed == ("*.bias",)  # type: ignore[arg-type]
    assert Sharpness(preset="asam", adaptive="none").protocol.unscaled == ()
    assert Sharpness(rho=(1.0, 0.5), average_rho=(0.1, 0.2)).protocol.average_rho == (0.2, 0.1)


# -- samples -------------------------------------------------------------------------------------------------------
