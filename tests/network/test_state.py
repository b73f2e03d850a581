"""Attributes that change are named, and a copy gets its earlier ones back."""

from __future__ import annotations

import copy

import torch
from torch import nn

from landscape.network.state import attribute_changes, plain_state, reset_attributes


class Keeping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.calls, self.cache, self.seen, self.rate = 0, None, [], float("nan")
        self.register_buffer("mean", torch.zeros(2))


def test_numbers_tensors_and_lists_that_change_are_named() -> None:
    module = nn.Sequential(Keeping())
    before = plain_state(module)
    assert attribute_changes(module, before) == []
    module[0].calls += 1
    module[0].seen.append(3)
    module[0].cache = torch.ones(3)
    module[0].new = "text"
    module[0].mean += 1  # a buffer is none of them
    module.eval()
    assert attribute_changes(module, before) == ["0.cache", "0.calls", "0.new", "0.seen"]


def test_a_write_into_a_tensor_is_a_change() -> None:
    module = Keeping()
    module.cache = torch.zeros(2)
    before = plain_state(module)
    module.cache.add_(1)
    assert attribute_changes(module, before) == ["cache"]


def test_a_copy_gets_its_earlier_attributes_back() -> None:
    module = Keeping()
    before = plain_state(module)
    module.calls, module.cache, module.new = 4, torch.ones(2), 7
    copied = copy.deepcopy(module)
    reset_attributes(copied, attribute_changes(module, before), before)
    assert (copied.calls, copied.cache, hasattr(copied, "new")) == (0, None, False)
    assert module.calls == 4
