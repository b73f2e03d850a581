"""Plans of memorization and edit: their memory, their file, their passes."""

from __future__ import annotations

import pytest
from conftest import tanh_net
from memorized import fit_net
from torch import Tensor

from landscape import Edit, Memorization, Objective
from landscape.analyses.base import Plan
from landscape.analyses.memorization import cost
from landscape.analyses.memorization.cost import KroneckerWork, estimate_cost
from landscape.analyses.memorization.setup import curvature_setup
from landscape.evaluation.layers import kfac

Data = tuple[Tensor, Tensor]

SQUARES = (5**2 + 6**2, 6**2 + 4**2)  # of the two layers of the fitted net
SIZES = (5 * 6, 6 * 4)


def planned(objective: Objective) -> Plan:
    setup = curvature_setup(Memorization(), objective)
    return estimate_cost(objective, setup, KroneckerWork(points=3, edits=2), {"a": "b"}, sweep="bands")


def test_the_bytes_of_a_plan_are_those_of_the_documentation(classification: Data) -> None:
    """docs/memorization.md: what the stores hold, one layer at work, and the changed weights."""
    plan = planned(fit_net(classification))
    assert plan.memory == {
        "sums of the factors": 4 * sum(SQUARES),
        "eigenvectors": 8 * (sum(SQUARES) + sum(SIZES)),
        "one layer at work": max(
            6**2 * (4 + 4 * 8) + 5**2 * 8,  # the eigendecomposition of the larger factor, beside the smaller basis
            8 * (SQUARES[0] + 5 * SIZES[0]),  # an edit
        ),
        "changed weights": 4 * sum(SIZES),
    }
    assert plan.bytes == sum(plan.memory.values())
    assert plan.seconds > 0
    assert "file" not in plan.facts


def test_what_a_store_does_not_hold_is_planned_in_the_file(
    classification: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "store_limit", lambda objective: 400.0)
    plan = planned(fit_net(classification))
    assert plan.memory["sums of the factors"] == plan.memory["eigenvectors"] == 400
    in_file = 4 * sum(SQUARES) - 400 + 8 * (sum(SQUARES) + sum(SIZES)) - 400
    assert plan.facts["file"] == f"{in_file / 1e6:,.1f} MB while it measures"


def test_passes_points_and_edits_are_stated(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = planned(fit_net(classification)).facts
    assert facts["a"] == "b"
    assert facts["layers"] == "0, 2"
    assert facts["populations"] == "memorized, clean, held-out"
    assert facts["labels"] == "exact, 3 backward passes for each forward pass"
    assert facts["passes for the factors"] == "1"
    assert facts["points"] == "3, each a forward pass over 24 samples of populations"
    assert facts["edits"] == "2 of each layer, after one eigendecomposition of each factor"
    monkeypatch.setattr(kfac, "pass_bytes", lambda objective: 4 * SQUARES[0])
    assert planned(fit_net(classification)).facts["passes for the factors"] == "2"


def test_without_populations_the_samples_are_those_of_the_data(classification: Data) -> None:
    objective = Objective(tanh_net(), classification, "cross_entropy")
    assert planned(objective).facts["populations"] == "none"
    assert "over 24 samples" in planned(objective).facts["points"]


def test_more_points_and_more_edits_take_longer(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "seconds_per_gradient", lambda objective: 3.0)
    objective = fit_net(classification)
    setup = curvature_setup(Memorization(), objective)

    def seconds(points: int, edits: int, gradients: float = 0) -> float:
        plan = estimate_cost(objective, setup, KroneckerWork(points, edits, gradients), {}, sweep="bands")
        return plan.seconds

    samples = 24 / objective.batches.samples  # a point passes all populations
    assert seconds(4, 1) - seconds(3, 1) == pytest.approx(samples)  # a third of a gradient
    assert seconds(3, 1, gradients=2) - seconds(3, 1) == pytest.approx(6)
    per_edit = sum(4 * size * width for size, width in zip(SIZES, (11, 10), strict=True)) / cost.FLOAT64_RATE
    assert seconds(3, 2) - seconds(3, 1) == pytest.approx(per_edit, rel=1e-3)


def test_an_edit_plans_each_rho_and_memorization_each_band_and_layer(classification: Data) -> None:
    objective = fit_net(classification)
    assert Edit(rho=(0.9, 0.5)).plan(objective).facts["points"].startswith("3, ")
    facts = Memorization(bands=(0.1, 0.5), controls=1, scores=False).plan(objective).facts
    assert facts["points"].startswith(f"{1 + 3 * (1 + 2 * 1 + 2)}, ")
    assert facts["edits"].startswith(f"{3 * (1 + 2 * 1 + 1)} of each layer")
