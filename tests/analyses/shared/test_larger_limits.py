"""A larger limit of work goes on from the kept work, and what had followed from less work is measured anew."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tanh_net
from population_objectives import population_objective

import landscape
from landscape import Eig, Influence, Llc, Objective, Trace
from landscape.analyses.base import Progress, State
from landscape.analyses.influence.gradients import gradient_rows
from landscape.analyses.shared.phases import Phases
from landscape.operators import GaussNewtonOperator

DAMPING = 1e-3


def repeated_objective() -> Objective:
    """The ragged samples twice: more of them than are solved for together."""
    batches = population_objective().batches
    return Objective(tanh_net(), [(one.inputs, one.targets) for one in [*batches, *batches]], dtype="float64")


def influence_of(limit: int, output: Path | None = None, objective: Objective | None = None, **options: Any) -> Any:
    """Influences of the ragged net, or another objective, with a limit of iterations."""
    every = {"inverse": "cg", "damping": str(DAMPING), "tol": 1e-8, "precondition": "none", **options}
    measured = objective or population_objective()
    return landscape.run(Influence(max_iterations=limit, **every), measured, output=output)  # type: ignore[arg-type]


def exact_scores(objective: Objective) -> np.ndarray:
    """g_t'(G + damping)^-1 g_q / n for all pairs of samples, by a dense solve: `(N, N)`."""
    one = torch.eye(objective.space.size, dtype=torch.float64)
    rows = gradient_rows(objective)
    matrix = GaussNewtonOperator(objective).matmat(one) + DAMPING * one
    scores: np.ndarray = (rows @ torch.linalg.solve(matrix, rows.T) / objective.count).numpy()
    return scores


def test_scores_follow_solutions_that_went_further(tmp_path: Path) -> None:
    output, exact = tmp_path / "scores.h5", exact_scores(population_objective())[:, :2]
    assert influence_of(3, output, query="samples:0,1").trouble() is not None
    found = influence_of(500, output, query="samples:0,1")
    assert found.trouble() is None
    np.testing.assert_allclose(found.scores, exact, atol=1e-6 * np.abs(exact).max())


@pytest.mark.parametrize("make", [population_objective, repeated_objective], ids=["one block", "several blocks"])
def test_self_influences_that_a_limit_had_ended_are_solved_again(make: Any, tmp_path: Path) -> None:
    output, exact = tmp_path / "self.h5", np.diag(exact_scores(make()))
    assert influence_of(3, output, make()).trouble() is not None
    found = influence_of(500, output, make())
    assert found.trouble() is None
    np.testing.assert_allclose(found.self_influence, exact, rtol=1e-6)


def test_scores_and_self_influences_of_one_command_go_further_together(tmp_path: Path) -> None:
    output, exact = tmp_path / "both.h5", exact_scores(population_objective())
    influence_of(3, output, query="samples:4", self_=True)
    found = influence_of(500, output, query="samples:4", self_=True)
    np.testing.assert_allclose(found.scores[:, 0], exact[:, 4], atol=1e-6 * np.abs(exact[:, 4]).max())
    np.testing.assert_allclose(found.self_influence, np.diag(exact), rtol=1e-6)


def test_populations_follow_eigenvectors_that_went_further(tmp_path: Path) -> None:
    output = tmp_path / "eig.h5"
    for limit in (6, 400):
        found: Any = landscape.run(Eig(k=3, by="class", max_products=limit), population_objective(), output=output)
    fresh: Any = landscape.run(Eig(k=3, by="class"), population_objective())
    count = found.population_along.shape[1]
    assert found.population_converged.all()
    np.testing.assert_allclose(found.population_eigenvalue, fresh.population_eigenvalue, rtol=1e-3)
    np.testing.assert_allclose(
        found.population_share @ found.population_along, found.eigenvalues[:count], atol=1e-3 * found.eigenvalues[0]
    )


def test_traces_of_populations_add_up_to_a_trace_that_went_further(tmp_path: Path) -> None:
    output = tmp_path / "trace.h5"
    for limit in (8, 4000):
        analysis = Trace(rtol=0.001, by="class", max_products=limit)
        found: Any = landscape.run(analysis, population_objective(), output=output)
    assert found.population_share @ found.population_trace == pytest.approx(found.trace, rel=1e-10)


def test_chains_of_layers_go_on_where_they_ended(tmp_path: Path) -> None:
    output = tmp_path / "llc.h5"
    objective = partial(Objective, tanh_net(), (torch.randn(20, 5), torch.arange(20) % 3), "cross_entropy")
    options: dict[str, Any] = {"gamma": 50.0, "rtol": 1e-6, "chains": 2, "per_layer": True}
    for draws in (32, 64):
        found: Any = landscape.run(Llc(draws=draws, **options), objective(), output=output)
    fresh: Any = landscape.run(Llc(draws=64, **options), objective())
    np.testing.assert_array_equal(found.excess, fresh.excess)
    np.testing.assert_array_equal(found.layer_llc, fresh.layer_llc)
    assert found.cost_gradients == fresh.cost_gradients


def steps_to(end: int, begun: list[int], saved: State) -> Generator[Progress, None, int]:
    """Counts to the end from where it was; `begun` keeps where that is."""
    number = int(saved["number"]) if saved else 0
    begun.append(number)
    while number < end:
        number += 1
        yield Progress(number, end, "", partial(dict, number=np.array(number), empty=np.array(np.nan)))
    return number


def count_in_phases(resume: State | None, first: int, *, independent: bool = False) -> tuple[State, list[int]]:
    """The state after two phases, the second of which counts to 3, and where both began."""
    phases, begun, state = Phases(resume), list[int](), resume or {}
    runs = [("first", first, False), ("second", 3, independent)]
    for name, end, alone in runs:
        for step in phases.run(name, partial(steps_to, end, begun), independent=alone):
            state = step.state()
    return state, begun


@pytest.mark.parametrize(
    ("first", "independent", "begun"),
    [(2, False, [2, 3]), (5, False, [2, 0]), (5, True, [2, 3])],
    ids=["the same work", "more work", "more work beside an independent phase"],
)
def test_a_phase_begins_again_after_one_that_went_further(first: int, independent: bool, begun: list[int]) -> None:
    state, _ = count_in_phases(None, 2)
    assert count_in_phases(state, first, independent=independent)[1] == begun
