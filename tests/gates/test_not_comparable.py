"""Reasons not to compare: what was not measured, not measured alike, or not trained to the same loss."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import scipy.stats
from gating import entry, loss_verdict, run, seeds, verdict, with_reading

from landscape.gates.verdict import exit_code

USUAL = [3.0, 3.2, 2.9, 3.1, 2.8]


def test_four_in_the_baseline_are_too_few() -> None:
    found = verdict(seeds(USUAL[:4]), seeds([6.0, 6.4, 5.9]), "retrained", "25%")
    assert (found.status, found.why[:24]) == ("inconclusive", "4 baseline checkpoints: ")


def test_one_unknown_candidate_is_never_a_pass() -> None:
    known = seeds([3.0, 3.1, 2.9])
    found = verdict(seeds(USUAL), [*known[:2], with_reading(known[2], not_gateable="it is nan")], "retrained")
    assert (found.status, found.why) == ("inconclusive", "candidate seed-2.pt: it is nan")


def test_the_same_checkpoint_twice_is_no_sample() -> None:
    same = seeds([3.0, 3.1, 2.9])
    found = verdict(seeds(USUAL), [same[0], same[1], replace(same[0], name="copy.pt")], "retrained")
    assert (found.status, found.why) == ("inconclusive", "two candidate checkpoints have the same weights")


def test_one_that_was_measured_otherwise_is_named() -> None:
    odd = seeds([3.0, 3.1, 2.9], k=7)
    found = verdict(seeds(USUAL), [*seeds([3.0, 3.1]), odd[2]], "retrained")
    assert "k: 7, in the baseline 1" in found.why


def test_other_losses_are_not_comparable_if_seeds_do_not_explain_them() -> None:
    found = verdict(seeds(USUAL, 0.1), seeds([6.0, 6.4, 5.9], 0.12), "retrained")
    assert (found.status, exit_code([found])) == ("inconclusive", 3)
    assert "the losses differ by more than 10%" in found.why
    assert verdict(seeds(USUAL, 0.1), seeds([6.0, 6.4, 5.9], 0.109), "retrained").status == "regression"
    spread = [replace(one, runs={"eig": replace(one.runs["eig"], loss=loss)})
              for one, loss in zip(seeds(USUAL), [0.08, 0.13, 0.1, 0.07, 0.12], strict=True)]  # fmt: skip
    assert verdict(spread, seeds([6.0, 6.4, 5.9], 0.12), "retrained").status == "regression"


def test_losses_that_spread_among_the_candidates_alone_are_not_explained_by_it() -> None:
    losses = [0.12, 0.15, 0.2]
    wide = [
        replace(one, runs={"eig": replace(one.runs["eig"], loss=loss)})
        for one, loss in zip(seeds([3.0, 3.1, 2.9]), losses, strict=True)
    ]
    assert "the loss is 0.1567" in loss_verdict(seeds(USUAL, 0.1), wide, "retrained").why


def test_losses_are_told_apart_at_five_per_cent_of_both_sides() -> None:
    losses = [0.08, 0.12, 0.1, 0.09, 0.11]
    earlier = [replace(one, runs={"eig": replace(one.runs["eig"], loss=loss)})
               for one, loss in zip(seeds(USUAL), losses, strict=True)]  # fmt: skip
    limit = scipy.stats.t.isf(0.025, 4) * np.std(losses, ddof=1) * (1 / 5 + 1 / 3) ** 0.5
    for share, why in ((0.97, ""), (1.03, "not compared, since the losses")):
        found = verdict(earlier, seeds([3.0, 3.1, 2.95], 0.1 + share * limit), "retrained")
        assert found.why.startswith(why)
        assert (found.status == "pass") == (not why)


def test_the_baselines_own_checkpoints_are_no_candidates() -> None:
    found = verdict(seeds(USUAL), seeds(USUAL)[:3], "retrained")
    assert (found.status, found.why) == ("inconclusive", "seed-0.pt is one of the baseline's own checkpoints")


def test_a_baseline_that_was_measured_in_two_ways_is_not_compared_with() -> None:
    mixed = [*seeds(USUAL[:4]), seeds(USUAL, k=7)[4]]
    assert "k: 7" in verdict(mixed, seeds([3.0, 3.1, 2.95]), "retrained").why


def test_another_preconditioner_is_training_s_own_and_otherwise_another_matrix() -> None:
    new = seeds([3.0, 3.1, 2.95], preconditioner="q")
    assert verdict(seeds(USUAL, preconditioner="p"), new, "retrained").status == "pass"
    found = verdict(entry(of=run(preconditioner="p")), entry(of=run(preconditioner="q")))
    assert (found.status, "preconditioner: q" in found.why) == ("inconclusive", True)


def test_a_loss_that_is_not_known_is_near_none() -> None:
    for pair in ((math.nan, 0.1), (0.1, math.nan), (math.nan, math.nan)):
        baseline, candidate = (entry(of=run(loss)) for loss in pair)
        assert verdict(baseline, candidate).status == "inconclusive"


def test_a_missing_number_has_the_remedy_of_its_reason() -> None:
    nan = with_reading(entry(), not_gateable="NaN in weights", fix="measure an earlier checkpoint")
    assert verdict(entry(), nan).fix == "measure an earlier checkpoint"
