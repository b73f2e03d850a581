"""Tests of the terms of an objective beside each other, against their gradients by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.evaluation.terms import measure_terms, term_names


def objective(model: nn.Module, batch: Tensor) -> dict[str, Any]:
    """Two terms of a linear model whose gradients are known."""
    w = model.weight
    return {"up": (2 * w[0, 0] * len(batch), len(batch)), "down": (w * torch.tensor([[-3.0, 4.0]])).sum(1)}


def test_gradients_norms_shares_and_cosines_are_those_of_vectors() -> None:
    net = nn.Linear(2, 1, bias=False)
    nn.init.ones_(net.weight)
    terms = Objective(net, torch.ones(1, 2), objective=objective, dtype="float64", weight_decay=0.5)
    assert term_names(terms) == ("up", "down")
    assert term_names(terms.with_term("up")) == ()
    found = measure_terms(terms, ("up", "down"))
    np.testing.assert_allclose(found["term_loss"], [2.0, 1.0])
    np.testing.assert_allclose(found["term_gradient_norm"], [2.0, 5.0])  # (2, 0) and (-3, 4)
    np.testing.assert_allclose(found["cosine"], [[1.0, -0.6], [-0.6, 1.0]])
    np.testing.assert_allclose(found["term_share"], np.array([-2.0, 19.0]) / 17)  # of (-1, 4)


def test_measures_hold_the_terms_and_leave_out_what_needs_samples() -> None:
    net = nn.Linear(2, 1, bias=False)
    result = landscape.run(landscape.Measures(draws=0), Objective(net, [torch.ones(3, 2)], objective=objective))
    assert result.fisher_rao is None
    assert list(result.term) == ["up", "down"]
    assert result.cosine.shape == (2, 2)
    assert result.trouble() is None


def test_a_loss_has_no_terms() -> None:
    plain = Objective(nn.Linear(2, 1), (torch.ones(3, 2), torch.zeros(3, 1)), "mse")
    assert term_names(plain) == ()
    with pytest.raises(landscape.errors.UsageError, match="loss mse has no terms"):
        plain.with_term("up")
