"""Blocks run again if the user asks for it, or where one sample's graphs are larger than a micro-batch's memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from landscape import Objective
from landscape.compute.strategy import ProductSettings
from landscape.errors import UsageError
from landscape.objective import block_choice
from landscape.objective.planned import PlannedObjective
from landscape.zoo import mlp
from landscape.zoo.transformer import char_transformer

TOKENS = torch.randint(0, 6, (4, 9), generator=torch.Generator().manual_seed(4))
DATA = [(TOKENS[:, :-1], TOKENS[:, 1:])]


def transformer() -> nn.Module:
    torch.manual_seed(0)
    return char_transformer(vocabulary=6, width=4, layers=3, heads=2, length=8)


def measure(model: nn.Module, data: Any = DATA, kind: type[Objective] = Objective, **settings: Any) -> Objective:
    return kind(model, data, "cross_entropy", settings=ProductSettings(**settings))


@pytest.mark.parametrize("kind", [Objective, PlannedObjective])
def test_blocks_run_again_where_one_sample_does_not_fit(kind: type[Objective], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = measure(transformer(), kind=kind)
    assert not plain.function.blocks
    need = plain.activation_bytes * block_choice.GRAPHS_PER_FORWARD
    monkeypatch.setattr(block_choice, "room", lambda use, device: need)
    assert not measure(transformer(), kind=kind).function.blocks
    monkeypatch.setattr(block_choice, "room", lambda use, device: need - 1)
    smaller = measure(transformer(), kind=kind)
    assert smaller.function.recomputes
    assert kind is PlannedObjective or smaller.activation_bytes < plain.activation_bytes  # that one sees one sample
    assert sum("recompute: 3 blocks (TransformerLayer) keep their inputs alone" in note for note in smaller.notes) == 1
    torch.testing.assert_close(smaller.gradient(), plain.gradient())
    assert not measure(transformer(), kind=kind, recompute="off").function.blocks
    assert not measure(transformer(), kind=kind, hvp="linearize").function.blocks
    assert not measure(mlp((5, 4, 3)), [(torch.randn(4, 5), torch.arange(4) % 3)], kind).function.blocks


def test_blocks_run_again_where_memory_runs_out_in_a_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = block_choice.measure_activations

    def fail_first(total: Any, theta: Tensor, batch: Any) -> int:
        if not total.__self__.function.blocks:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return measured(total, theta, batch)

    monkeypatch.setattr(block_choice, "measure_activations", fail_first)
    assert measure(transformer()).function.recomputes
    with pytest.raises(RuntimeError, match="allocate memory"):
        measure(transformer(), recompute="off")


@pytest.mark.parametrize("kind", [Objective, PlannedObjective])
def test_what_the_user_asks_for_is_done_or_refused(kind: type[Objective]) -> None:
    assert measure(transformer(), kind=kind, recompute="on").function.recomputes
    with pytest.raises(UsageError, match=r"finds no blocks.*\n.*leave out --recompute"):
        measure(mlp((5, 4, 3)), [(torch.randn(4, 5), torch.arange(4) % 3)], kind, recompute="on")
    with pytest.raises(UsageError, match="linearize excludes --recompute on"):
        measure(transformer(), kind=kind, recompute="on", hvp="linearize")


def test_the_fingerprint_does_not_depend_on_it() -> None:
    assert measure(transformer(), recompute="on").identity() == measure(transformer(), recompute="off").identity()


class WritesIntoItsInput(nn.Module):
    """A block that begins with an operation in place."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.inner = nn.ReLU(inplace=True), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(self.relu(x))
        return out


class FillsADictionary(nn.Module):
    """A block that leaves a tensor in a dictionary of its caller."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

    def forward(self, x: Tensor, seen: dict[str, Tensor]) -> Tensor:
        seen["last"] = x
        out: Tensor = self.inner(x)
        return out


class Two(nn.Module):
    """Two blocks between layers, which get a dictionary if they take one."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.first, self.blocks, self.last = nn.Linear(5, 4), nn.ModuleList([kind(), kind()]), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h, seen = self.first(x), dict[str, Tensor]()
        for block in self.blocks:
            h = block(h, seen) + seen["last"] if isinstance(block, FillsADictionary) else block(h)
        out: Tensor = self.last(h)
        return out


@pytest.mark.parametrize("kind", [WritesIntoItsInput, FillsADictionary])
@pytest.mark.parametrize("tight", [True, False])
def test_blocks_that_do_not_run_by_themselves_are_left_alone(
    kind: type[nn.Module], tight: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model, data = Two(kind), [(torch.randn(6, 5), torch.arange(6) % 3)]
    plain = measure(model, data)
    if tight:
        monkeypatch.setattr(block_choice, "room", lambda use, device: 1)
    mine = measure(model, data, recompute="auto" if tight else "on")
    assert not mine.function.recomputes
    assert tight or "recompute: off, since a block does not run by itself" in mine.notes
    torch.testing.assert_close(mine.gradient(), plain.gradient())
