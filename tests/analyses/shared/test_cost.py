"""The cost of measurements against the products, gradients and losses that are made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import pytest
from analysis_contract import drained
from conftest import tanh_net
from counted_work import LOSS, PRODUCT, count_work
from torch import Tensor

import landscape
from landscape import Density, Direction, Eig, Flatness, Measures, Objective, Sharpness, Trace
from landscape.analyses.base import Analysis
from landscape.analyses.direction_measurement import PUSH_FORWARD_GRADIENTS
from landscape.analyses.measures_measurement import SAMPLES_COST
from landscape.analyses.shared.cost import add_cost
from landscape.analyses.shared.products import BLOCK_COST
from landscape.compute.strategy import ProductSettings

Data = tuple[Tensor, Tensor]


@pytest.fixture
def objective(classification: Data) -> Objective:
    return Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")


@pytest.mark.parametrize(
    ("analysis", "beside"),
    [
        (Eig(k=2), 0),
        (Eig(k=2, operator="ggn"), 0),
        (Eig(k=2, block=2), 0),
        (Eig(k=2, resample=4), 0),
        (Eig(k=1, data_error="90%"), 0),
        (Trace(rtol=0.3, method="hutchinson"), 0),
        (Trace(rtol=0.3, method="hutch++"), 0),
        (Trace(rtol=0.3, method="hutchinson", resample=4), 0),
        (Density(probes=2, steps=5), 0),
        (Flatness(starts=3, steps=4), 0),
        (Flatness(starts=9, steps=4, rho=(0.05, 0.1), per_layer=True), 0),
        (Sharpness(starts=9, steps=4, draws=16), 0),
        (Sharpness(starts=1, steps=3, draws=0, m=9), 0),
        (Sharpness(starts=5, steps=3, draws=18, m=9, rho=(0.1, 0.2), per_layer=True), 0),
        (Sharpness(starts=0, draws=16, noise="uniform"), 0),
        (Sharpness(starts=3, steps=4, draws=16, rho=0.2, curve=(0.1, 0.4)), 0),
        (Sharpness(starts=3, steps=4, draws=0, norm="linf", logit_norm="l2"), 0),
        (Measures(draws=0, rtol=0.5), SAMPLES_COST),
        (Eig(k=2, by="class"), LOSS),
        (Eig(k=2, by="class", operator="ggn"), LOSS),
        (Trace(rtol=0.3, method="hutchinson", by="class"), LOSS),
        (Sharpness(starts=5, steps=3, draws=18, rho=(0.1, 0.2), by="class"), LOSS),
        (Measures(draws=0, rtol=0.5, by="class"), 2 * SAMPLES_COST + LOSS),
        (Direction(lr=0.1), PUSH_FORWARD_GRADIENTS),
        (Direction(), PUSH_FORWARD_GRADIENTS),
    ],
    ids=lambda value: value.name if isinstance(value, Analysis) else "",
)
def test_the_cost_is_that_of_what_is_made(analysis: Analysis, beside: float, objective: Objective) -> None:
    _ = objective.reference  # the loss and the gradient at the checkpoint belong to every measurement
    analysis.ingredients(objective)  # reads the samples of populations, and tries the first of each
    with count_work(objective.batches.samples) as work:
        _, result = drained(analysis.measure(objective))
    assert result.cost_gradients == pytest.approx(work.gradients + beside, rel=1e-12)


def test_the_noise_of_sigmas_costs_a_loss_each(objective: Objective) -> None:
    with_noise, without = (landscape.run(Measures(draws=draws, rtol=0.5), objective) for draws in (3, 0))
    sigmas = with_noise.pac_bayes_sigma, with_noise.pac_bayes_magnitude_sigma
    steps = sum(1 if sigma is None else 17 for sigma in sigmas)
    assert with_noise.cost_gradients - without.cost_gradients == pytest.approx((1 + 3 * steps) * LOSS)


@pytest.mark.parametrize(
    ("analysis", "groups"),
    [(Eig(k=1, per_layer=True), 2), (Density(probes=2, steps=5, per_layer=True), 2)],
    ids=["eig", "density"],
)
def test_passes_for_blocks_cost_more_than_products(analysis: Eig | Density, groups: int, objective: Objective) -> None:
    result = landscape.run(analysis, objective)
    alone = landscape.run(replace(analysis, per_layer=False), objective)
    passes = result.layer_products if isinstance(analysis, Eig) else 10
    expected = PRODUCT * passes * (1 + groups * BLOCK_COST)
    assert result.cost_gradients - alone.cost_gradients == pytest.approx(expected)


def test_differences_of_gradients_are_two_each(classification: Data) -> None:
    objective = Objective(
        tanh_net(), [classification], "cross_entropy", dtype="float64", settings=ProductSettings("difference")
    )
    eig = landscape.run(Eig(k=1), objective)
    assert eig.cost_gradients == 2 * eig.products
    trace = landscape.run(Trace(rtol=0.5, method="hutchinson"), objective)
    assert trace.cost_gradients == 2 * trace.products + 32  # eight probes for the error, each at two steps


def test_drawn_labels_cost_products_of_their_own(objective: Objective) -> None:
    exact, drawn = (landscape.run(Density(probes=2, steps=5, operator=name), objective) for name in ("ggn", "fisher"))
    assert drawn.cost_gradients == exact.cost_gradients + 8 * 1.5


def test_files_without_the_cost_are_read(objective: Objective, tmp_path: Path) -> None:
    path = tmp_path / "one.landscape.h5"
    written = landscape.run(Trace(rtol=0.3), objective, output=path)
    assert landscape.read(path).trace.cost_gradients == written.cost_gradients
    with h5py.File(path, "r+") as file:
        del file["trace/cost_gradients"]
    assert landscape.read(path).trace.cost_gradients is None


def test_costs_add_up(objective: Objective) -> None:
    result = landscape.run(Trace(rtol=0.3), objective)
    assert add_cost(result, 2.5).cost_gradients == result.cost_gradients + 2.5
    assert add_cost(replace(result, cost_gradients=None), 2.5).cost_gradients == 2.5
