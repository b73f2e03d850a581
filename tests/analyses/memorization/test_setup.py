"""Which layers and samples are measured."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from memorized import fit_net, memorization_of
from torch import Tensor, nn

from landscape import Edit, Memorization, Objective
from landscape.analyses.memorization.setup import curvature_setup
from landscape.errors import TaskError, UsageError

Data = tuple[Tensor, Tensor]


def test_a_net_without_linear_layers() -> None:
    net = nn.Sequential(nn.Embedding(5, 3))
    objective = Objective(net, (torch.tensor([1, 2]), torch.tensor([0, 2])), "cross_entropy")
    with pytest.raises(TaskError, match="no linear layer"):
        memorization_of(objective)


def test_train_mode_has_no_loss_of_a_single_sample(classification: Data) -> None:
    x, y = classification
    net = nn.Sequential(nn.Linear(x.shape[1], 6), nn.BatchNorm1d(6), nn.Linear(6, int(y.max()) + 1))
    with pytest.raises(TaskError, match=r"one by one(.|\n)*leave --mode train out"):
        memorization_of(Objective(net, classification, "cross_entropy", mode="train"))


def test_a_glob_that_matches_nothing(classification: Data) -> None:
    with pytest.raises(UsageError, match=r"--layers 9(.|\n)*glob over 0, 2, 4"):
        memorization_of(fit_net(classification), layers=("9",))


def test_a_layer_before_a_tied_head_is_no_head(classification: Data) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.up, self.down, self.head = (
                nn.Embedding(9, 4),
                nn.Linear(4, 6),
                nn.Linear(6, 4),
                nn.Linear(4, 9, bias=False),
            )
            self.head.weight = self.table.weight

        def forward(self, ids: Tensor) -> Tensor:
            out: Tensor = self.head(self.down(self.up(self.table(ids)).tanh()))
            return out

    ids = torch.randint(0, 9, (6, 5), generator=torch.Generator().manual_seed(0))
    objective = Objective(Tied(), (ids[:, :-1], ids[:, 1:]), "cross_entropy")
    assert list(memorization_of(objective, scores=False).layer) == ["up", "down"]


def test_only_what_decides_the_factors_changes_their_identity(classification: Data) -> None:
    def identity(**options: Any) -> str:
        return curvature_setup(Memorization(**options), fit_net(classification)).identity

    same = identity()
    assert identity(bands=(0.3,), scores=False, seed=0) == same
    changes: list[dict[str, Any]] = [{"labels": "gold"}, {"layers": ("0",)}, {"factors_on": "clean"}, {"seed": 1}]
    others = [identity(**change) for change in changes]
    assert len({same, *others}) == 5


def test_coupled_factors_have_another_identity(classification: Data) -> None:
    plain, coupled = (
        curvature_setup(Edit(rho=(0.9,), method=method), fit_net(classification))
        for method in ("kfac", "coupled")  # type: ignore[arg-type]
    )
    assert plain.identity != coupled.identity


def test_layers_that_are_left_out_are_named(classification: Data) -> None:
    (note,) = curvature_setup(Memorization(), fit_net(classification)).notes
    assert note == "the head is left out: 4 (--layers '*' takes every layer)"
    assert curvature_setup(Memorization(layers=("*",)), fit_net(classification)).notes == ()


def test_a_layer_that_is_never_called_is_named() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.idle, self.last = nn.Linear(5, 4), nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.last(self.first(x))
            return out

    objective = Objective(Idle(), (torch.randn(6, 5), torch.zeros(6, dtype=torch.long)), "cross_entropy")
    setup = curvature_setup(Memorization(), objective)
    assert [layer.name for layer in setup.layers] == ["first"]
    assert any("never called" in note and "idle" in note for note in setup.notes)


def test_a_sole_layer_is_measured_though_it_is_the_head(classification: Data) -> None:
    setup = curvature_setup(Memorization(), Objective(nn.Linear(5, 3), classification, "cross_entropy"))
    assert len(setup.layers) == 1


def test_draws_count_only_where_labels_are_sampled(classification: Data) -> None:
    def identity(**options: Any) -> str:
        return curvature_setup(Memorization(**options), fit_net(classification)).identity

    assert identity(labels="exact", draws=3) == identity(labels="exact")
    exact = curvature_setup(Memorization(labels="exact", draws=3), fit_net(classification))
    assert exact.factor_settings.draws == 1
    assert identity(labels="sampled", draws=3) != identity(labels="sampled")
