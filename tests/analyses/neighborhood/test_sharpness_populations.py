"""The sharpness of populations: quadratic losses whose maxima are known, sums over populations, and the contract."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract
from conftest import tanh_net
from population_objectives import population_objective, samples_of_class

import landscape
from landscape import Objective, Sharpness
from landscape.analyses.neighborhood.search_state import BallSearch
from landscape.analyses.neighborhood.sharpness_populations import _search_for

OPTIONS = {"rho": (0.05,), "starts": 4, "draws": 16}


class TestSharpnessByClass(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Sharpness:
        return Sharpness(by="class", rho=(0.02, 0.05), starts=2, draws=4)

    @pytest.fixture
    def objective(self) -> Objective:
        return population_objective()


def test_mean_rises_add_to_that_of_all_samples() -> None:
    result = landscape.run(Sharpness(by="class", **OPTIONS), population_objective())
    assert result.population_share @ result.population_s_avg[0] == pytest.approx(result.s_avg[0], rel=1e-10)


def test_a_population_has_the_maximum_of_its_own_samples() -> None:
    result = landscape.run(Sharpness(by="class", **OPTIONS), population_objective())
    alone = Objective(tanh_net(), samples_of_class(1), "cross_entropy", dtype="float64")
    # with the scales of the same weights, and as many starts as a population has
    own = landscape.run(Sharpness(rho=(0.05,), starts=2, draws=0), alone)
    assert result.population_s_max[0, 1] == pytest.approx(own.s_max[0], rel=1e-6)
    assert list(result.population_starts[0]) == [2, 2, 2]


def test_the_worst_case_of_all_is_no_worse_than_the_mean_of_the_worst_cases() -> None:
    result = landscape.run(Sharpness(by="class", **OPTIONS), population_objective())
    assert result.s_max[0] <= result.population_share @ result.population_s_max[0] * (1 + 1e-6)


def test_linear_losses_in_a_ball_rise_by_the_dual_norm_of_each_population() -> None:
    def objective(model: torch.nn.Module, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"up": (model.weight * 3).sum(1), "down": (-model.weight).sum(1)}

    net = torch.nn.Linear(4, 1, bias=False)
    terms = Objective(net, torch.ones(1, 4), objective=objective, dtype="float64")
    result = landscape.run(Sharpness(by="term", rho=(0.1,), starts=2, draws=0, adaptive="none"), terms)
    np.testing.assert_allclose(result.population_s_max[0], [0.6, 0.2], rtol=1e-9)  # rho ||g|| with ||g|| = 6 and 2


@pytest.mark.parametrize(("starts", "m", "expected"), [(9, None, (4, None)), (1, 8, (1, 8)), (3, 40, (1, None))])
def test_a_population_takes_fewer_starts_and_batches_that_fit(
    starts: int, m: int | None, expected: tuple[int, int | None]
) -> None:
    search = _search_for(BallSearch("l2", (0.1,), starts, 20, m, 0, (0.05,)), samples=20)
    assert (search.starts, search.samples) == expected
    assert search.curve == ()
