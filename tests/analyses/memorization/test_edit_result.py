"""Remarks and troubles of an edit's result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from memorized import edit_of, fit_net
from torch import Tensor

Data = tuple[Tensor, Tensor]


def test_what_would_exceed_the_budget_is_said(classification: Data) -> None:
    found = edit_of(fit_net(classification), max_loss_increase=0.05)
    assert np.array_equal(found.bound_loss, found.population_loss[list(found.population).index("clean")])
    assert any(f"rho {found.rho[-1]:g} would exceed the budget" in said for said in found.remarks())


def test_a_loss_that_is_not_finite_is_inconclusive(classification: Data) -> None:
    found = edit_of(fit_net(classification), rho=(0.9,))
    trouble = replace(found, loss_increase=float("nan")).trouble()
    assert trouble is not None
    assert trouble.kind == "not finite"
    assert "larger --rho" in trouble.fix
    assert found.trouble() is None


def test_the_cost_at_the_chosen_rho_is_said(classification: Data) -> None:
    found = edit_of(fit_net(classification), rho=(0.9,))
    assert f"the loss of clean rises by {found.loss_increase:.3g} at rho 0.9" in found.remarks()


def test_everything_that_is_kept_is_not_written(classification: Data) -> None:
    found = edit_of(fit_net(classification), rho=(1.0,))
    assert found.remarks() == ["no checkpoint is written: everything is kept"]


def test_a_sweep_within_its_budget_does_not_speak_of_it(classification: Data) -> None:
    found = edit_of(fit_net(classification), rho=(0.99,), max_loss_increase=1e6)
    assert found.chosen_rho == 0.99
    assert not any("budget" in remark for remark in found.remarks())


def test_what_the_edit_does_to_the_samples_is_named(classification: Data) -> None:
    found = edit_of(fit_net(classification), rho=(0.5,))
    changes = {"population": np.array(["memorized", "clean", "held-out"]), "bounded_by": np.array(["clean"])}
    before, after = np.array([1.0, 0.98, 0.9]), np.array([0.03, 0.976, 0.9])
    one = replace(found, **changes, accuracy_before=before, accuracy_after=after)
    assert one.meaning() == (
        "the edit: accuracy on memorized samples from 100 % to 3 %; accuracy on clean samples from 98 % to 98 %"
    )
    losses = replace(
        one, accuracy_before=None, loss_before=np.array([0.1, 0.2, 0.3]), loss_after=np.array([5.0, 0.3, 1])
    )
    assert losses.meaning() == (
        "the edit: loss on memorized samples from 0.1 to 5; loss on clean samples from 0.2 to 0.3"
    )
    assert edit_of(fit_net(classification), rho=(1.0,)).meaning() == ""
