"""When chains end: where there are enough draws, and were in the first half of them already."""

from __future__ import annotations

import pytest
import torch
from analysis_contract import drained
from torch import nn

from landscape import Objective
from landscape.analyses.llc import history
from landscape.analyses.llc.history import ChainHistory, Sampling, sample_chains
from landscape.analyses.llc.posterior import LocalPosterior, Temper


@pytest.mark.parametrize(
    ("enough", "draws"), [(8, 16), (16, 32), (9, 32), (1000, 48)], ids=["at once", "later", "between", "never"]
)
def test_chains_end_where_there_were_enough_before(enough: int, draws: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "FIRST_LOOK", 8)
    monkeypatch.setattr(history, "ADAPTATION_STEPS", 4)
    net = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(net.weight)
    objective = Objective(net, (torch.eye(2), torch.zeros(2, 1)), "mse", dtype="float64")
    exact = LocalPosterior(objective, Temper(10.0, 1.0), objective.space.whole_group(), 0.0)
    asked = []

    def is_enough(now: ChainHistory) -> bool:
        assert len(now.work) == len(now.distance) == len(now.acceptance) == now.draws
        asked.append(now.draws)
        return now.draws >= enough

    _, found = drained(sample_chains(exact, exact, Sampling(2, 48, 0, 0.1, 0), is_enough, {}))
    assert found.draws == draws
    assert asked[0] == 16
