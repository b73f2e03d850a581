"""Runs of all probes: resumed, with little memory, planned, and with steps beyond the parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract, drained
from conftest import tanh_net
from oracles.dense import dense_hessian
from torch import Tensor, nn

import landscape
from landscape import Density, Eig, Objective, session
from landscape.analyses.density import FIRST_LOOKS
from landscape.analyses.shared.products import product_facts
from landscape.compute.budget import PRODUCT_VECTORS, SPARE
from landscape.errors import Interrupted, UsageError
from landscape.objective.counted_time import NUMBERS_PER_SECOND, seconds_per_gradient_by_count
from landscape.storage.read import read_results

Data = tuple[Tensor, Tensor]


class TestDensity(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Density:
        return Density(probes=3, steps=8, points=50)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


class TestDensityByLayer(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Density:
        return Density(probes=2, steps=5, points=50, per_layer=True)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


def test_probes_and_steps_beyond_the_parameters_give_the_spectrum_itself(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    result = landscape.run(Density(probes=2, steps=64), objective)
    exact = np.linalg.eigvalsh(dense_hessian(tanh_net(), [classification]).numpy())
    assert result.ritz_nodes.shape == (2, 39)
    for nodes, weights in zip(result.ritz_nodes, result.ritz_weights, strict=True):
        apart = np.abs(nodes[weights > 0][:, None] - exact[None, :])
        assert apart.min(axis=1).max() < 1e-10  # every node is an eigenvalue
        assert apart.min(axis=0).max() < 1e-10  # and every eigenvalue a node; copies share one


def test_memory_for_one_probe_at_a_time_gives_the_same(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    analysis = Density(probes=3, steps=10)
    expected = landscape.run(analysis, objective)
    each = 11 * objective.theta.nbytes

    def beside(room: float) -> int:
        """The free memory that has so much room beside a product."""
        return int((PRODUCT_VECTORS * objective.theta.nbytes + objective.graph_bytes + room) / (1 - SPARE))

    monkeypatch.setattr("landscape.compute.memory.free_bytes", lambda device: beside(1.5 * each))
    assert np.allclose(landscape.run(analysis, objective).density, expected.density, rtol=1e-8)
    assert analysis.plan(objective).bytes == each + product_facts(analysis, objective, 1)[1]
    monkeypatch.setattr("landscape.compute.memory.free_bytes", lambda device: beside(0.9 * each))
    with pytest.raises(UsageError, match="fewer --steps"):
        landscape.run(analysis, objective)


def test_the_plan_counts_products(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    plan = Density(probes=3, steps=10).plan(objective)
    assert plan.products == 30
    assert plan.bytes == 3 * 11 * 39 * 4 + product_facts(Density(), objective, 3)[1]
    assert plan.seconds > 0


def test_only_results_of_the_same_matrix_are_drawn_together(classification: Data, tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    density: dict[str, Any] = {"probes": 2, "steps": 5}
    landscape.run(Eig(k=2), objective, output=output)
    landscape.run(Density(**density), objective, output=output)
    assert set(session.results_of_same_matrix(read_results(output), "density")) == {"eig"}
    landscape.run(Density(**density, operator="ggn"), objective, output=output)
    assert session.results_of_same_matrix(read_results(output), "density") == {}


# -- sizes of a first look -----------------------------------------------------------------------------------------


def wide(data: Data) -> Objective:
    """A net of more parameters than a first look has steps."""
    torch.manual_seed(0)
    return Objective(nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 3)), [data], "cross_entropy")


@pytest.mark.parametrize(
    ("given", "sizes"),
    [({"probes": 3, "steps": 10}, (3, 10)), ({"probes": 3}, (3, 64)), ({"steps": 10}, (8, 10))],
    ids=["both", "probes", "steps"],
)
def test_sizes_that_are_given_are_not_the_budget_s(
    given: dict[str, int], sizes: tuple[int, int], classification: Data
) -> None:
    fitted = Density(**given, budget=1e-3).fit_budget(wide(classification))
    assert (fitted.probes, fitted.steps) == sizes


def test_a_larger_budget_never_buys_less_and_every_look_is_bought(classification: Data) -> None:
    objective = wide(classification)
    bought = [Density(budget=budget).fit_budget(objective).sizes for budget in np.geomspace(1e-3, 10, 300)]
    assert list(dict.fromkeys(bought)) == list(reversed(FIRST_LOOKS))


def test_what_a_budget_buys_takes_at_most_the_budget_by_hand(classification: Data) -> None:
    """A product takes 2.3 gradients; beside these are the passes over the basis, and nothing else."""
    objective = wide(classification)
    gradient, size = seconds_per_gradient_by_count(objective), objective.space.size
    for probes, steps in FIRST_LOOKS:
        products = 2.3 * gradient * probes * min(steps, size)
        basis = 4 * probes * min(steps, size) ** 2 / 2 * size / NUMBERS_PER_SECOND
        enough, less = (Density(budget=factor * (products + basis)) for factor in (1.001, 0.999))
        assert enough.fit_budget(objective).sizes == (probes, steps)
        assert less.fit_budget(objective).sizes != (probes, steps) or (probes, steps) == FIRST_LOOKS[-1]


def test_blocks_of_layers_are_paid_from_the_same_budget(classification: Data) -> None:
    objective = wide(classification)
    budgets = np.geomspace(1e-2, 1, 30)
    whole, layers = (
        [np.prod(Density(budget=budget, per_layer=each).fit_budget(objective).sizes) for budget in budgets]
        for each in (False, True)
    )
    assert all(a >= b for a, b in zip(whole, layers, strict=True))
    assert whole != layers


def test_clocks_and_free_memory_do_not_decide_sizes(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = wide(classification)
    expected = Density(budget=0.2).fit_budget(objective).sizes
    assert expected not in (FIRST_LOOKS[0], FIRST_LOOKS[-1])
    monkeypatch.setattr("time.perf_counter", lambda: pytest.fail("a clock is read"))
    monkeypatch.setattr("landscape.compute.memory.free_bytes", lambda device: pytest.fail("memory is asked for"))
    assert Density(budget=0.2).fit_budget(objective).sizes == expected


def test_a_first_look_is_the_measurement_of_its_sizes(classification: Data, tmp_path: Path) -> None:
    """Stored, resumed and compared as if they had been given: the fingerprint holds the sizes, and no budget."""
    objective, output = wide(classification), tmp_path / "a.landscape.h5"
    budget = 0.2
    probes, steps = Density(budget=budget).fit_budget(objective).sizes
    given = session.execute(Density(probes=probes, steps=steps), objective)
    stop = session.StopSignals(requested=15)
    with pytest.raises(Interrupted, match="saved"):
        session.execute(Density(budget=budget), objective, output=output, stop=stop)
    with pytest.raises(UsageError, match=f"steps: 24 here, {steps} there"):
        session.execute(Density(budget=1e-3), objective, output=output)
    said: list[str] = []
    resumed = session.execute(Density(probes=probes, steps=steps), objective, output=output, say=said.append)
    assert "resumed" in said[0]
    assert resumed.attributes["fingerprint"] == given.attributes["fingerprint"]
    assert np.array_equal(resumed.result.density, given.result.density)
    assert np.array_equal(drained(Density(budget=budget).measure(objective))[1].density, given.result.density)


def test_what_was_bought_and_what_more_would_buy_is_stored_with_the_result(
    classification: Data, tmp_path: Path
) -> None:
    objective = wide(classification)
    record = session.execute(Density(probes=3, steps=5), objective, output=tmp_path / "a.landscape.h5")
    document, stored = record.document(), read_results(tmp_path / "a.landscape.h5")["density"].attributes
    assert document["bought"] == stored["bought"] == record.result.bought()
    assert document["bought"].startswith("15 products (3 probes x 5 steps) bought the density to within a factor of ")
    assert document["more"] == stored["more"] == record.result.more(stored["wall_time_s"])
    assert document["result"]["band_factor"] == record.result.band_factor


def test_a_plan_states_the_sizes_and_their_counted_time(classification: Data) -> None:
    objective = wide(classification)
    plan = Density(budget=1e-3).plan(objective)
    assert plan.products == 4 * 24
    assert plan.facts["sizes"].startswith("4 probes x 24 steps, ")
    assert " counted seconds, the fewest: --limit 1 fits --budget 0.001" in plan.facts["sizes"]
    assert Density().plan(objective).facts["sizes"].endswith(" counted seconds")
