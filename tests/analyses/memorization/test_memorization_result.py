"""Remarks and troubles of a memorization result."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from memorized import fit_net, memorization_of
from torch import Tensor, nn

from landscape import Objective

Data = tuple[Tensor, Tensor]


def test_a_missing_control_is_said(classification: Data) -> None:
    assert any("never-seen" in said and "rarity" in said for said in memorization_of(fit_net(classification)).remarks())


def test_a_flat_loss_is_inconclusive(classification: Data) -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    nn.init.zeros_(net[2].weight)
    found = memorization_of(Objective(net, classification, "cross_entropy"))
    assert "the curvature of 0 is zero" in str(found.trouble())


def test_factors_that_are_not_finite_are_inconclusive(classification: Data) -> None:
    found = memorization_of(fit_net(classification), scores=False)
    trouble = replace(found, layer_trace=np.array([np.nan, 1.0])).trouble()
    assert trouble is not None
    assert trouble.kind == "not finite"
    assert trouble.why == "the factors of 0 are not finite"
    assert found.trouble() is None


def test_the_memorized_population_is_asked_for_first(classification: Data) -> None:
    found = memorization_of(fit_net(classification), scores=False)
    unnamed = replace(found, population=np.array(["a", "clean", "held-out"]))
    assert any("no population is called memorized" in remark for remark in unnamed.remarks())
    complete = replace(found, population=np.array(["memorized", "clean", "never-seen"]))
    assert not any("no population is called" in remark for remark in complete.remarks())


def test_ties_at_a_cut_are_said_with_their_rho(classification: Data) -> None:
    found = memorization_of(fit_net(classification), scores=False)
    ties = np.zeros(len(found.rho), int)
    ties[[0, 2]] = 3
    remarks = replace(found, ties=ties).remarks()
    assert "at rho 0.5, 0.7 components of equal mass lie on both sides of the cut" in remarks


def test_a_small_overlap_with_the_factors_data_is_not_mentioned(classification: Data) -> None:
    found = memorization_of(fit_net(classification), scores=False)
    apart = replace(found, population_in_factors=np.array([0.0, 0.01, 0.5]))
    (remark,) = [remark for remark in apart.remarks() if "factors' own data" in remark]
    assert "50 % of held-out" in remark
    assert "clean" not in remark


def test_results_are_equal_whatever_their_sidecars_hold(classification: Data) -> None:
    field = next(field for field in fields(memorization_of(fit_net(classification))) if field.name == "factors")
    assert not field.compare
    assert not field.repr


def test_the_band_that_parts_memorized_from_clean_samples_is_named_if_their_intervals_are_apart(
    classification: Data,
) -> None:
    found = memorization_of(fit_net(classification), scores=False)
    names = ["memorized", "clean", "held-out"]
    shape = (3, len(found.band))
    change, low, high = np.zeros(shape), np.full(shape, -0.1), np.full(shape, 0.1)
    change[0, 1], low[0, 1], high[0, 1] = 5.1, 4.9, 5.4
    apart = replace(found, population=np.array(names), delta_loss=change, delta_loss_lo=low, delta_loss_hi=high)
    assert apart.meaning() == (
        f"without the components of band {found.band[1]} the loss of memorized samples changes by 5.1, that of clean "
        "ones by 0"
    )
    low[0, 1] = 0.05
    assert replace(apart, delta_loss_lo=low).meaning() == ""
    assert replace(apart, delta_loss_lo=np.full(shape, np.nan)).meaning() == ""
    assert replace(apart, population=np.array(["memorized", "a", "b"])).meaning() == ""


def test_three_tables_are_printed_and_each_has_a_caption(classification: Data) -> None:
    kind = type(memorization_of(fit_net(classification), scores=False))
    assert [name for name in kind.tables if name not in kind.more_tables] == ["population", "band", "score"]
    assert set(kind.captions) == set(kind.tables)
