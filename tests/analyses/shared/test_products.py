"""The operator of an analysis, its costs, and quadratic forms by group of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import tanh_net
from oracles.dense import dense_hessian
from torch import Tensor

from landscape import Eig, Objective
from landscape.analyses.shared.products import (
    build_operator,
    group_quadratics,
    product_facts,
    require_resampling,
    seconds_per_product,
)
from landscape.compute.strategy import ProductSettings
from landscape.errors import UsageError
from landscape.objective.micro_batch import SampleCost

Data = tuple[Tensor, Tensor]


@pytest.fixture
def objective(classification: Data) -> Objective:
    return Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")


def test_the_operator_is_the_one_that_the_options_name(objective: Objective, classification: Data) -> None:
    hessian = build_operator(Eig(), objective).to_dense()
    assert torch.allclose(hessian, dense_hessian(tanh_net(), [classification]), atol=1e-12)
    labels = [build_operator(Eig(operator="fisher", seed=seed), objective).to_dense() for seed in (0, 0, 1)]
    assert torch.equal(labels[0], labels[1])
    assert not torch.allclose(labels[0], labels[2])


def test_the_groups_quadratic_forms_add_up_to_those_of_the_whole(objective: Objective) -> None:
    analysis = Eig(resample=5)  # groups of 4 and 5 samples
    operator = build_operator(analysis, objective)
    block = torch.randn(objective.space.size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sums, counts = group_quadratics(analysis, operator, objective, block)
    assert sums.shape == (5, 3)
    assert sorted(counts) == [4, 5, 5, 5, 5]
    exact = (block * (operator @ block)).sum(dim=0)
    assert np.allclose(sums.sum(axis=0) / counts.sum(), exact, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resample": 25}, "--resample 25 groups of 24 samples"),
        ({"resample": 4, "operator": "pyhessian"}, "--resample cannot take apart --operator pyhessian"),
    ],
    ids=["too-many-groups", "no-sum"],
)
def test_what_cannot_be_resampled_is_refused(options: dict[str, Any], message: str, objective: Objective) -> None:
    analysis = Eig(**options)
    with pytest.raises(UsageError, match=message):
        require_resampling(analysis, build_operator(analysis, objective), objective)


def test_without_resampling_nothing_is_required(objective: Objective) -> None:
    analysis = Eig(operator="pyhessian")
    require_resampling(analysis, build_operator(analysis, objective), objective)


def test_a_product_takes_two_gradients_and_columns_that_share_a_rebuilt_graph_a_part_of_a_third(
    objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective.sample_cost = SampleCost(seconds=0.5, output_bytes=24)  # of 24 samples
    assert seconds_per_product(Eig(), objective) == pytest.approx(2 * 0.5 * 24)
    objective.micro_batch = 6
    monkeypatch.setattr("landscape.compute.memory.free_bytes", lambda device: 0)  # graphs are rebuilt
    assert seconds_per_product(Eig(), objective) == pytest.approx(3 * 0.5 * 24)
    assert seconds_per_product(Eig(), objective, columns=4) == pytest.approx((2 + 1 / 4) * 0.5 * 24)


def test_a_difference_takes_two_gradients(classification: Data) -> None:
    settings = ProductSettings(hvp="difference")
    objective = Objective(tanh_net(), [classification], "cross_entropy", settings=settings)
    objective.sample_cost = SampleCost(seconds=0.5, output_bytes=24)
    assert seconds_per_product(Eig(), objective, columns=3) == pytest.approx(2 * 0.5 * 24)
    assert product_facts(Eig(), objective)[0]["hvp"].startswith("differences of gradients, ")


def test_facts_name_the_likely_strategy_and_make_no_product(objective: Objective) -> None:
    facts, size = product_facts(Eig(), objective, 1)
    assert facts["hvp"].startswith("loop, graphs kept, ")
    assert f"{size / 1e6:,.1f} MB" in facts["hvp"]
    assert size > 4 * objective.theta.nbytes
    assert not objective.strategies.chosen


def test_a_preconditioned_matrix_has_the_facts_of_the_hessian(objective: Objective) -> None:
    assert product_facts(Eig(operator="preconditioned"), objective, 1) == product_facts(Eig(), objective, 1)
