"""Methods of removal against their definitions, and the known answers of two samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import drained, equal
from conftest import SAMPLES
from memorized import edit_of, fit_net
from torch import Tensor

import landscape
from landscape import Edit
from landscape.algorithms.matrices.removal import (
    ActivationDirections,
    MatchedNoise,
    RandomComponents,
    RotatedComponents,
    SingularValues,
)
from landscape.analyses.memorization.decompositions import Decompositions
from landscape.analyses.memorization.edit_measurement import bounding_population, removal_methods
from landscape.analyses.memorization.edit_result import EditResult
from landscape.analyses.memorization.factors import measure_factors
from landscape.analyses.memorization.setup import curvature_setup
from landscape.errors import UsageError

Data = tuple[Tensor, Tensor]


def test_another_population_may_bound_it(classification: Data) -> None:
    found = edit_of(fit_net(classification), max_loss_increase=0.05, bounded_by="held-out")
    assert found.bounded_by.tolist() == ["held-out"]
    by_data = edit_of(fit_net(classification), max_loss_increase=0.05, bounded_by="data")
    assert by_data.bounded_by.tolist() == ["data"]
    assert "data" in list(by_data.population)
    with pytest.raises(UsageError, match=r"no population helt-out.*did you mean held-out(.|\n)*--bounded-by"):
        edit_of(fit_net(classification), max_loss_increase=0.05, bounded_by="helt-out")


@pytest.mark.parametrize("method", ["kfac", "coupled", "activation", "svd", "random", "noise"])
class TestEveryMethod:
    def test_the_tensors_are_those_that_the_losses_are_of(self, method: Any, classification: Data) -> None:
        objective = fit_net(classification, dtype="float64")
        found = edit_of(objective, rho=(0.6,), method=method)
        assert found.weights is not None
        assert set(found.weights) == {"0.weight", "2.weight"}
        theta = objective.theta.clone()
        for name, part in objective.space.unflatten(theta).items():
            if name in found.weights:
                part.copy_(torch.from_numpy(found.weights[name]))
        place = list(found.population).index("clean")
        from landscape.evaluation.populations import populations

        assert float(populations(objective)["clean"].value(theta)) == pytest.approx(found.loss_after[place], rel=1e-10)

    def test_the_whole_mass_changes_nothing(self, method: Any, classification: Data) -> None:
        found = edit_of(fit_net(classification), rho=(1.0,), method=method)
        assert found.weights == {}
        assert found.loss_increase == 0


def test_coupled_and_plain_factors_differ(classification: Data) -> None:
    one, two = (edit_of(fit_net(classification), rho=(0.6,), method=name) for name in ("kfac", "coupled"))
    assert one.weights is not None
    assert two.weights is not None
    assert not equal(one.weights, two.weights)
    assert one.factors is not None
    assert two.factors is not None
    assert not any("coupled" in name for name in one.factors)
    assert any("coupled" in name for name in two.factors)


@pytest.mark.parametrize("rho", [0.9])
def test_the_noisy_sample_forgets_its_wrong_labels_and_little_else(rho: float) -> None:
    objective = landscape.load(SAMPLES / "digits-noisy.pt")
    found = edit_of(objective, rho=(rho,))
    assert found.accuracy is not None
    after = dict(zip(found.population, found.accuracy[:, 1], strict=True))
    before = dict(zip(found.population, found.accuracy[:, 0], strict=True))
    assert after["memorized"] <= 0.25
    assert after["clean"] >= 0.95
    assert after["truth"] >= 0.70
    assert after["held-out"] >= before["held-out"] - 0.03
    random = edit_of(objective, rho=(rho,), method="random")
    assert random.accuracy is not None
    assert dict(zip(random.population, random.accuracy[:, 1], strict=True))["clean"] < 0.3


@pytest.fixture(scope="module")
def recitals() -> dict[str, EditResult]:
    """charlm swept by two methods until its validation loss rises."""
    objective = landscape.load(SAMPLES / "charlm.pt")
    objective.populations = {name: objective.populations[name] for name in ("held-out", "memorized")}
    options: dict[str, Any] = {"bounded_by": "held-out", "max_loss_increase": 0.2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("landscape.evaluation.per_sample.recitation.MAX_TEXTS", 32)
        return {
            "kfac": edit_of(objective, rho=(0.995, 0.99), **options),
            "svd": edit_of(objective, rho=(0.9, 0.85), method="svd", **options),
        }


def test_canaries_are_erased_at_a_third_of_what_singular_values_cost(recitals: dict[str, EditResult]) -> None:
    def cost(found: EditResult) -> float:
        """The rise of the validation loss at which a fifth of the canaries' tokens are still decoded."""
        assert found.greedy_match is not None
        names = list(found.population)
        match = found.greedy_match[names.index("memorized")]
        rise = found.population_loss[names.index("held-out")] - found.loss_before[names.index("held-out")]
        assert match[-1] < 0.2 < match[0]
        return float(np.interp(-0.2, -match, rise))

    assert cost(recitals["svd"]) > 3 * cost(recitals["kfac"])
    assert recitals["kfac"].recitation is not None
    names = list(recitals["kfac"].population)
    recited = dict(zip(recitals["kfac"].rho, recitals["kfac"].recitation[names.index("memorized")], strict=True))
    assert recited[1.0] == 1.0
    assert recited[0.99] == 0.0


def test_a_name_that_bounds_nothing_is_said_before_anything_is_measured(classification: Data) -> None:
    with pytest.raises(UsageError, match="--bounded-by"):
        next(Edit(max_loss_increase=0.1, bounded_by="clena").measure(fit_net(classification)))
    with pytest.raises(UsageError, match="--bounded-by"):
        Edit(max_loss_increase=0.1, bounded_by="clena").plan(fit_net(classification))


@pytest.mark.parametrize(
    ("populations", "bounding"),
    [
        (("memorized", "held-out", "clean"), "clean"),
        (("memorized", "held-out"), "held-out"),
        (("memorized",), "data"),
        ((), "data"),
    ],
    ids=["clean", "held-out", "data", "none"],
)
def test_the_usual_bound_is_on_what_should_be_kept(
    populations: tuple[str, ...], bounding: str, classification: Data
) -> None:
    objective = fit_net(classification)
    assert bounding_population(None, dict.fromkeys(populations, objective)) == bounding


def test_a_plan_counts_the_rhos_and_names_the_bound(classification: Data) -> None:
    plan = Edit(rho=(0.9, 0.5)).plan(fit_net(classification))
    assert plan.facts["rho"] == "1, 0.9, 0.5"
    assert plan.facts["bounded by"] == "clean"


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("kfac", RotatedComponents),
        ("coupled", RotatedComponents),
        ("activation", ActivationDirections),
        ("svd", SingularValues),
        ("random", RandomComponents),
        ("noise", MatchedNoise),
    ],
)
def test_each_method_removes_from_every_layer(method: Any, kind: type, classification: Data) -> None:
    objective = fit_net(classification, dtype="float64")
    analysis = Edit(rho=(0.9,), method=method)
    setup = curvature_setup(analysis, objective)
    _, factors = drained(measure_factors(setup, {}))
    methods = removal_methods(analysis, Decompositions(objective, setup.layers, factors))
    assert list(methods) == ["0", "2"]
    assert all(type(one) is kind for one in methods.values())


def test_random_and_noise_have_no_curvature_mass(classification: Data) -> None:
    masses = {
        method: edit_of(fit_net(classification), rho=(0.9,), method=method).curvature_mass
        for method in ("kfac", "activation", "svd", "random", "noise")
    }
    assert {method for method, mass in masses.items() if mass is None} == {"random", "noise"}
