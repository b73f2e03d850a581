"""The phases of memorization, and the known answers of the noisy digits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from analysis_contract import drained
from conftest import SAMPLES
from memorized import FEW, fit_net, memorization_of
from torch import Tensor

import landscape
from landscape import Memorization, Objective, session
from landscape.analyses.memorization.memorization import FIRST_LOOKS
from landscape.analyses.memorization.memorization_result import MemorizationResult
from landscape.objective.counted_time import seconds_per_gradient_by_count

Data = tuple[Tensor, Tensor]


def test_resuming_goes_on_in_every_phase(classification: Data) -> None:
    notes = {step.note.split(",")[0] for step in drained(Memorization(**FEW).measure(fit_net(classification)))[0]}
    assert {"factors", "bands", "scores"} <= notes


@pytest.fixture(scope="module")
def noisy() -> MemorizationResult:
    objective = landscape.load(SAMPLES / "digits-noisy.pt")
    result: MemorizationResult = landscape.run(Memorization(per_layer=False, controls=1), objective)
    return result


class TestTheNoisySample:
    """Wrong labels sit in flat components; docs/memorization.md has the figures of three seeds."""

    def test_memorized_samples_lose_far_more_in_flat_bands_and_clean_ones_in_the_sharpest(
        self, noisy: MemorizationResult
    ) -> None:
        names = list(noisy.population)
        ratio = noisy.delta_loss[names.index("memorized")] / noisy.delta_loss[names.index("clean")]
        assert ratio[0] < 1
        assert (ratio[3:] > 20).all()

    def test_scores_find_wrong_labels(self, noisy: MemorizationResult) -> None:
        assert noisy.score is not None
        assert noisy.auroc is not None
        found = dict(zip(noisy.score, noisy.auroc, strict=True))
        assert found["edit_damage"] > 0.97
        assert found["edit_kl"] > 0.95
        assert found["input_curvature"] > 0.95
        assert min(found.values()) > 0.9
        assert found["edit_damage"] > found["loss"]
        assert noisy.sample_memorised is not None
        assert int(noisy.sample_memorised.sum()) == 130

    def test_ranks_are_by_edit_damage(self, noisy: MemorizationResult) -> None:
        assert noisy.rank_sample is not None
        assert noisy.edit_damage is not None
        assert noisy.is_memorised is not None
        assert np.array_equal(noisy.edit_damage[noisy.rank_sample], np.sort(noisy.edit_damage)[::-1][:20])
        assert noisy.is_memorised.mean() > 0.8

    def test_the_activations_of_wrong_labels_are_those_of_their_true_ones(self, noisy: MemorizationResult) -> None:
        names = list(noisy.population)
        pair = [noisy.activation_ratio[names.index(name)] for name in ("memorized", "truth")]
        assert np.array_equal(*pair)  # the same inputs: the ratio cannot tell memorization


@pytest.mark.parametrize(
    ("options", "points"),
    [
        ({}, 1 + 3 * (1 + 2 * 1 + 2)),
        ({"per_layer": False}, 1 + 3 * (1 + 2 * 1)),
        ({"controls": 0, "per_layer": False}, 1 + 3),
        ({"bands": (0.5,), "controls": 2}, 1 + 2 * (1 + 2 * 2 + 2)),
    ],
    ids=["all", "no-layers", "bands-alone", "two-bands"],
)
def test_a_plan_counts_every_point(options: dict[str, Any], points: int, classification: Data) -> None:
    plan = Memorization(**{**FEW, **options}).plan(fit_net(classification))
    assert plan.facts["points"] == f"{points}, each a forward pass over 24 samples of populations"
    assert plan.facts["labels"] == "exact, 3 backward passes for each forward pass"
    assert plan.facts["passes for the factors"] == "1"


def test_notes_name_the_layers_that_are_left_out(classification: Data) -> None:
    assert memorization_of(fit_net(classification)).notes == (
        "the head is left out: 4 (--layers '*' takes every layer)",
    )


def test_scores_may_be_left_out(classification: Data) -> None:
    found = memorization_of(fit_net(classification), scores=False)
    assert found.sample is None
    assert found.auroc is None
    assert found.score_rho is None


# -- sizes of a first look -----------------------------------------------------------------------------------------


def fitted(objective: Objective, **options: Any) -> Any:
    return Memorization(**options).fit_budget(objective).sizes


def test_a_larger_budget_buys_layers_and_then_controls(classification: Data) -> None:
    objective = fit_net(classification)
    bought = [fitted(objective, budget=budget) for budget in np.geomspace(1e-3, 1, 100)]
    assert list(dict.fromkeys(bought)) == [(1, False), (1, True), (2, True)]


def test_a_look_is_bought_for_its_counted_cost(classification: Data) -> None:
    """24 samples of populations against 16 of the data; forward passes are thirds of gradients; 3 classes."""
    objective = fit_net(classification)
    gradient = seconds_per_gradient_by_count(objective)
    for controls, per_layer in FIRST_LOOKS:
        edits = 7 * (1 + 2 * controls) + 7 * per_layer
        points = 1 + 7 * (1 + 2 * controls) + 7 * 2 * per_layer
        dense = 25 * (5**3 + 6**3 + 6**3 + 4**3) + 4 * (edits + 1) * (30 * 11 + 24 * 10)
        price = gradient * ((1 + 3) + (16 + 1 + 3) + points * 24 / 16 / 3) + dense / 2e10
        assert fitted(objective, budget=1.001 * price) == (controls, per_layer)
        assert fitted(objective, budget=0.999 * price) != (controls, per_layer) or (controls, per_layer) == (1, False)


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({"controls": 3}, (3, True)),
        ({"controls": 0}, (0, True)),
        ({"per_layer": True}, (2, True)),
        ({"per_layer": False}, (2, False)),
        ({"controls": 3, "per_layer": False}, (3, False)),
    ],
)
def test_sizes_that_are_given_are_not_the_budget_s(
    options: dict[str, Any], sizes: tuple[int, bool], classification: Data
) -> None:
    analysis = Memorization(**options, budget=1e-3).fit_budget(fit_net(classification))
    assert (analysis.controls, analysis.per_layer) == sizes


def test_a_first_look_is_the_measurement_of_its_sizes(classification: Data) -> None:
    few: dict[str, Any] = {"bands": (0.5,), "resamples": 20, "scores": False}
    bought = session.execute(Memorization(**few, budget=1e-3), fit_net(classification))
    given = session.execute(Memorization(**few, controls=1, per_layer=False), fit_net(classification))
    assert bought.attributes["fingerprint"] == given.attributes["fingerprint"]
    assert np.array_equal(bought.result.delta_loss, given.result.delta_loss)
    assert bought.result.layer_delta_loss is None
    assert (
        bought.document()["bought"] == "7 points bought the bands of all layers together, with 1 draw of both controls"
    )
    assert bought.document()["result"]["controls"] == 1


@pytest.mark.parametrize(
    ("options", "bought", "more"),
    [
        # 2 bands, 2 layers: 1 + 2 (1 + 2 c + 2) points with layers
        (
            {"controls": 1, "per_layer": False},
            "7 points",
            "the bands of each layer alone: --controls 2 --per-layer, about 21 s",
        ),
        ({"controls": 2}, "15 points", "8 draws would halve the noise of the controls: --controls 8, about 26 s"),
        ({"controls": 0}, "7 points", "2 draws would buy controls: --controls 2, about 21 s"),
    ],
)
def test_what_was_bought_and_what_more_would_buy(
    options: dict[str, Any], bought: str, more: str, classification: Data
) -> None:
    found = memorization_of(fit_net(classification), bands=(0.5,), **options)
    assert found.bought().startswith(f"{bought} bought the bands of all layers together")
    assert "AUROC of edit damage to" in found.bought()
    assert more in found.more(10.0)
    assert replace(found, controls=None).bought() == replace(found, controls=None).more(10.0) == ""
