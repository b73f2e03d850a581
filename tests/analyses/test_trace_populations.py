"""The traces of populations against dense Hessians, and the contract of `trace --by`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract, drained
from population_objectives import CLASSES, dense_of_class, population_objective, samples_of_class

import landscape
from landscape import Objective, Trace
from landscape.analyses.shared.phases import Phases
from landscape.analyses.trace_populations import MAX_PROBES, MIN_PROBES, add_traces_by_population, count_probes


class TestTraceByClass(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Trace:
        return Trace(rtol=0.5, by="class")

    @pytest.fixture
    def objective(self) -> Objective:
        return population_objective()


def exact_traces() -> np.ndarray:
    return np.array([float(torch.trace(dense_of_class(label))) for label in range(CLASSES)])


def test_traces_are_within_their_errors_and_add_to_the_whole() -> None:
    exact, shifts = exact_traces(), []
    for seed in range(40):
        result = landscape.run(Trace(rtol=1e-6, by="class", seed=seed), population_objective())
        assert result.population_share @ result.population_trace == pytest.approx(result.trace, rel=1e-12)
        shifts.append((result.population_trace - exact) / result.population_trace_se)
    spread = np.sqrt((np.array(shifts) ** 2).mean(axis=0))
    assert (spread > 0.5).all()
    assert (spread < 1.6).all()  # about 1, and Student's with few vectors
    assert (np.abs(np.mean(shifts, axis=0)) < 0.7).all()


def test_the_error_of_the_whole_is_part_of_those_of_the_populations() -> None:
    objective, analysis = population_objective(), Trace(rtol=1e-6, by="class")
    whole = landscape.run(Trace(rtol=1e-6), objective)
    for error in (0.0, 10.0):
        unsure = replace(whole, standard_error=error)
        _, result = drained(add_traces_by_population(analysis, objective, unsure, Phases(None)))
        assert (result.population_share @ result.population_trace_se > 9.9) == (error == 10.0)


def test_samples_beside_the_data_are_measured_without_the_control_variate() -> None:
    objective = population_objective(populations={"rare": samples_of_class(2)})
    result = landscape.run(Trace(rtol=1e-6, by="population"), objective)
    assert abs(result.population_trace[0] - exact_traces()[2]) < 5 * result.population_trace_se[0]
    assert np.isnan(result.population_share[0])


def test_weight_decay_belongs_to_no_population() -> None:
    result = landscape.run(Trace(rtol=1e-6, by="class"), population_objective(weight_decay=0.3))
    assert (np.abs(result.population_trace - exact_traces()) < 5 * result.population_trace_se).all()


@pytest.mark.parametrize(
    ("gradients", "each", "probes"), [(150.0, 2.0, 75), (1.0, 2.0, MIN_PROBES), (1e9, 2.0, MAX_PROBES)]
)
def test_probes_are_what_half_the_cost_buys(gradients: float, each: float, probes: int) -> None:
    assert count_probes(gradients, each) == probes
