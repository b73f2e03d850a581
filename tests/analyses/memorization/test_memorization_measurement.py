"""The phases of memorization, and the known answers of the noisy digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from analysis_contract import drained
from conftest import SAMPLES
from memorized import FEW, fit_net, memorization_of
from torch import Tensor

import landscape
from landscape import Memorization
from landscape.analyses.memorization.memorization_result import MemorizationResult

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
