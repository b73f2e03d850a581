"""What the result of `density` says of itself."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from conftest import SAMPLES

import landscape
from landscape import Density
from landscape.analyses.density import DensityResult


@pytest.fixture
def result() -> DensityResult:
    """A density whose ends have converged."""
    names = [f.name for f in fields(DensityResult) if f.type == "float"]
    numbers = {**dict.fromkeys(names, 1.0), "lambda_max": 10.0, "lambda_max_se": 1e-3, "lambda_min_se": 1e-3}
    return DensityResult(
        **{**numbers, "negative_mass": 0.3, "negative_mass_se": 0.01},
        grid=np.linspace(-1, 11, 5),
        density=np.ones(5),
        density_se=np.zeros(5),
        ritz_nodes=np.zeros((2, 3)),
        ritz_weights=np.full((2, 3), 1 / 3),
        products=6,
        exact_weights=True,
        parameters=100,
        samples=5,
    )


def test_a_density_without_doubts_has_no_remarks(result: DensityResult) -> None:
    assert result.trouble() is None
    assert result.remarks() == []


def test_ends_with_a_large_residual_ask_for_more_steps(result: DensityResult) -> None:
    for name in ("lambda_max_se", "lambda_min_se"):
        (remark,) = replace(result, **{name: 0.2}).remarks()  # 2 % of the largest node
        assert remark.startswith("the ends of the spectrum have not converged: more --steps")


def test_random_weights_are_a_remark(result: DensityResult) -> None:
    (remark,) = replace(result, exact_weights=False).remarks()
    assert "memory did not hold all probes at once" in remark


@pytest.mark.parametrize(("mass", "error", "remarks"), [(0.3, 0.29, 0), (0.3, 0.31, 1), (0.01, 0.05, 0)])
def test_a_negative_mass_below_its_error_is_uncertain(
    result: DensityResult, mass: float, error: float, remarks: int
) -> None:
    assert len(replace(result, negative_mass=mass, negative_mass_se=error).remarks()) == remarks


def test_unconverged_ends_are_a_remark() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt")
    assert any("more --steps" in remark for remark in landscape.run(Density(probes=2, steps=3), objective).remarks())
    assert not any("more --steps" in r for r in landscape.run(Density(probes=2, steps=30), objective).remarks())


# -- what was bought -----------------------------------------------------------------------------------------------


def test_a_band_without_a_summary_says_nothing_of_its_price(result: DensityResult) -> None:
    """As in files of earlier versions."""
    assert result.bought() == result.more(10.0) == ""


@pytest.mark.parametrize(
    ("share", "more"),
    [
        # errors by the probes: half as large with four times as many, and Student's t falls from 3.18 to 2.13
        (0.0, "4 times the products would narrow that to about 1.26: --probes 16 --steps 30, about 40 s"),
        # errors by the steps: half as large with twice as many
        (1.0, "2 times the products would narrow that to about 1.41: --probes 4 --steps 60, about 20 s"),
    ],
    ids=["probes", "steps"],
)
def test_more_of_what_leaves_the_larger_error_is_advised(result: DensityResult, share: float, more: str) -> None:
    sized = replace(result, ritz_nodes=np.zeros((4, 30)), products=120, band_factor=2.0, quadrature_share=share)
    assert sized.bought() == (
        "120 products (4 probes x 30 steps) bought the density to within a factor of 2 (95 %, median), "
        "the trace to 1e+02 %"
    )
    assert sized.more(10.0) == more


def test_steps_beyond_the_parameters_are_not_advised(result: DensityResult) -> None:
    sized = replace(result, ritz_nodes=np.zeros((4, 100)), band_factor=2.0, quadrature_share=0.9)
    assert "--probes 16 --steps 100" in sized.more(1.0)
    assert "--steps 100" in replace(sized, ritz_nodes=np.zeros((4, 80))).more(1.0)


@pytest.mark.parametrize("factor", [1.0, 1.01, float("inf"), float("nan")])
def test_nothing_is_advised_for_a_band_that_is_narrow_or_unknown(result: DensityResult, factor: float) -> None:
    assert replace(result, trace_se=0.02, band_factor=factor, quadrature_share=0.1).more(1.0) == ""


def test_an_uncertain_trace_of_isolated_eigenvalues_asks_for_probes(result: DensityResult) -> None:
    """Its band is narrow, whatever share of that the steps leave."""
    sized = replace(result, ritz_nodes=np.zeros((4, 30)), trace_se=0.03, band_factor=1.0, quadrature_share=0.9)
    assert (
        sized.more(10.0)
        == "4 times the products would halve the error of the trace: --probes 16 --steps 30, about 40 s"
    )


BELOW = {"below": 0.5, "share_below": 0.02, "share_below_se": 0.005, "share_below_low": 0.01, "share_below_high": 0.035}


def test_the_share_below_is_a_sentence_with_its_bounds(result: DensityResult) -> None:
    (remark,) = replace(result, **BELOW).remarks()
    assert remark == "at most 3.5 % of the eigenvalues (3) lie below -0.5, and at least 1 % (95 % each)"
    assert replace(result, **BELOW).not_gateable("share_below", ()) == ""


def test_a_share_below_with_wide_bounds_is_not_determined(result: DensityResult) -> None:
    wide = replace(result, **{**BELOW, "below": 0.0, "share_below": 0.2, "share_below_high": 0.6})
    assert "eigenvalues below 0: not determined (between 1 and 60 %)" in wide.remarks()[0]
    assert wide.not_gateable("share_below", ()) == "its bounds are too wide"
    assert wide.not_gateable("trace", ()) == ""


def test_an_analysis_without_below_is_the_one_of_earlier_versions() -> None:
    assert "below" not in Density().identity()
    assert Density(below=0.0).identity()["below"] == 0


def bulk(result: DensityResult, weights: list[list[float]], **changes: float) -> DensityResult:
    """A density of two probes with nodes at 10, at 5, and three near zero."""
    nodes = np.array([[-0.01, 0.0, 0.01, 5.0, 10.0]] * 2)
    numbers = {"lambda_min": -0.01, "lambda_min_se": 0.1, "r_e": 0.001, "r_e_se": 0.01}
    return replace(result, ritz_nodes=nodes, ritz_weights=np.array(weights), **{**numbers, **changes})


def test_the_bulk_is_what_lies_between_the_outermost_small_nodes(result: DensityResult) -> None:
    weights = [[0.05, 0.8, 0.05, 0.05, 0.05]] * 2
    assert bulk(result, weights).meaning() == "at least 80 % of the eigenvalues are below 1 % of the largest"
    few = [[0.2, 0.4, 0.2, 0.1, 0.1]] * 2  # 80 % may lie there, and 40 % are sure to
    assert bulk(result, few).meaning() == ""
    unlike = [[0.05, 0.85, 0.0, 0.05, 0.05], [0.05, 0.75, 0.1, 0.05, 0.05]]
    assert bulk(result, unlike).meaning() == ""  # two probes leave 80 +- 64 %


def test_a_negative_end_is_named_if_its_residual_allows_it(result: DensityResult) -> None:
    weights = [[0.05, 0.8, 0.05, 0.05, 0.05]] * 2
    sure = bulk(result, weights, lambda_min=-0.5, r_e=0.05, r_e_se=0.01)
    assert sure.meaning().endswith(", the most negative one found is 5 % of the largest")
    assert "negative" not in bulk(result, weights, lambda_min=-0.15, r_e=0.05, r_e_se=0.01).meaning()
    assert "negative" not in bulk(result, weights, lambda_min=-0.5, r_e=0.05, r_e_se=0.03).meaning()
