"""Permuted checkpoints: copies, independent nets, and models that cannot be aligned."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.errors import UsageError
from landscape.zoo import digits, mlp


def measured(objective: Objective, **options: Any) -> SurfaceResult:
    result: SurfaceResult = landscape.run(Surface(**options), objective)
    return result


def test_an_alignment_that_changes_the_other_is_refused(tmp_path: Path) -> None:
    class Ranked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.relu(self.a(x))
            out: Tensor = self.b(hidden * torch.arange(hidden.shape[1]))
            return out

    torch.manual_seed(0)
    one, other = Ranked(), Ranked()
    torch.save(other.state_dict(), tmp_path / "b.pt")
    objective = Objective(one, [(torch.randn(9, 5), torch.zeros(9).long())], "cross_entropy")
    with pytest.raises(UsageError, match="changes what the model computes"):
        measured(objective, towards=str(tmp_path / "b.pt"), align=True, grid="5")


class TestAlignment:
    @pytest.fixture
    def net(self) -> nn.Sequential:
        torch.manual_seed(0)
        return mlp([64, 20, 12, 10], "relu")

    def test_a_permuted_copy_has_no_barrier_at_all(self, net: nn.Sequential, tmp_path: Path) -> None:
        other = copy.deepcopy(net)
        with torch.no_grad():
            order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
            other[0].weight.copy_(net[0].weight[order])
            other[0].bias.copy_(net[0].bias[order])
            other[2].weight.copy_(net[2].weight[:, order])
        torch.save(other.state_dict(), tmp_path / "b.pt")
        objective = Objective(net, digits("test"), "cross_entropy")
        result = measured(objective, towards=str(tmp_path / "b.pt"), align=True)
        assert result.barrier == 0
        assert result.norm_alpha == 0
        assert result.unaligned_loss is not None
        assert np.ptp(result.unaligned_loss) > 0
        assert (result.loss == result.centre_loss).all()

    def test_it_lowers_the_barrier_between_two_trained_nets(self, net: nn.Sequential, tmp_path: Path) -> None:
        inputs, labels = (torch.cat(parts) for parts in zip(*digits(), strict=True))
        nets = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            one = mlp([64, 128, 10], "relu")
            adam = torch.optim.Adam(one.parameters(), 0.01)
            for _ in range(60):
                adam.zero_grad()
                nn.functional.cross_entropy(one(inputs), labels).backward()
                adam.step()
            nets.append(one)
        torch.save(nets[1].state_dict(), tmp_path / "b.pt")
        objective = Objective(nets[0], [(inputs, labels)], "cross_entropy")
        result = measured(objective, towards=str(tmp_path / "b.pt"), align=True, grid="21")
        plain = measured(objective, towards=str(tmp_path / "b.pt"), grid="21")
        assert result.unaligned_barrier == plain.barrier
        assert result.unaligned_loss is not None
        assert np.array_equal(result.unaligned_loss, plain.loss)
        assert result.barrier is not None
        assert plain.barrier is not None
        assert result.barrier < 0.5 * plain.barrier
        assert result.loss[-1] != plain.loss[-1]

    def test_a_part_of_the_parameters_cannot_be_aligned(self, net: nn.Sequential, tmp_path: Path) -> None:
        torch.save(net.state_dict(), tmp_path / "b.pt")
        objective = Objective(net, digits("test"), "cross_entropy", params=("0.*",))
        with pytest.raises(UsageError, match="frozen or left out by --params"):
            measured(objective, towards=str(tmp_path / "b.pt"), align=True)


def test_tied_layers_are_aligned_together(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(12, 3)
            self.b.weight = self.a.weight
            self.again = self.head

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.b(torch.relu(self.a(x)) + x))
            out: Tensor = self.again(torch.cat([x, x], 1))
            return out

    x, y = torch.randn(20, 6), torch.randint(0, 3, (20,))
    objective = Objective(Tied(), [(x, y)], "cross_entropy")
    torch.save(Tied().state_dict(), tmp_path / "b.pt")
    result = measured(objective, towards=str(tmp_path / "b.pt"), align=True, grid="5")
    assert result.barrier == 0


def test_how_many_units_change_places_is_said(tmp_path: Path) -> None:
    net = mlp([64, 6, 10], "relu")
    order = torch.tensor([1, 0, 2, 3, 4, 5])
    other = {n: t.clone() for n, t in net.state_dict().items()}
    other["0.weight"], other["0.bias"] = other["0.weight"][order], other["0.bias"][order]
    other["2.weight"] = other["2.weight"][:, order]
    torch.save(other, tmp_path / "b.pt")
    objective = Objective(net, digits("test")[:1], "cross_entropy")
    aligned = measured(objective, towards=str(tmp_path / "b.pt"), align=True, grid="5")
    assert any("2 of 6 units change places" in note for note in aligned.notes)
    ends = measured(objective, towards=str(tmp_path / "b.pt"), grid="2")
    assert any("no point lies between" in note for note in ends.notes)
