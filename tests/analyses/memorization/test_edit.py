"""Options of edit, and the contract that every analysis satisfies."""

from __future__ import annotations

from pathlib import Path

import pytest
from analysis_contract import AnalysisContract
from memorized import edit_of, fit_net, self_describing
from torch import Tensor

import landscape
from landscape import Edit
from landscape.errors import UsageError

Data = tuple[Tensor, Tensor]


class TestEdit(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Edit:
        return Edit(max_loss_increase=0.05)

    @pytest.fixture
    def objective(self, classification: Data, tmp_path: Path) -> landscape.Objective:
        return self_describing(classification, tmp_path)


def test_what_it_is_to_do_must_be_said(classification: Data) -> None:
    with pytest.raises(UsageError, match="neither --rho nor --max-loss-increase"):
        edit_of(fit_net(classification))
    with pytest.raises(UsageError, match="--rho is 1.2"):
        Edit(rho=(1.2,))


def test_the_sweep_descends_from_the_weights_as_they_are() -> None:
    assert Edit(rho=(0.5, 1.0, 0.9, 0.5)).rhos == (1.0, 0.9, 0.5)
    assert Edit(rho=0.7).rhos == (1.0, 0.7)  # type: ignore[arg-type]
    usual = Edit(max_loss_increase=0.1).rhos
    assert usual[0] == 1.0
    assert list(usual) == sorted(usual, reverse=True)
    assert len(usual) == 17
