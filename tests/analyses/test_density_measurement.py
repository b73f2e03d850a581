"""Runs of all probes: resumed, with little memory, planned, and with steps beyond the parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analysis_contract import AnalysisContract
from conftest import tanh_net
from oracles.dense import dense_hessian
from torch import Tensor

import landscape
from landscape import Density, Eig, Objective, session
from landscape.analyses.shared.products import product_facts
from landscape.compute.budget import PRODUCT_VECTORS, SPARE
from landscape.errors import UsageError
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
