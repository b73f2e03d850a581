"""The shares of the free memory fit together, and each is a share of what is free now."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from landscape.compute import budget
from landscape.compute.budget import SHARES, Use, room


def test_all_shares_together_leave_some_memory_free() -> None:
    assert sum(SHARES.values()) < 1
    assert all(share > 0 for share in SHARES.values())


def test_every_use_has_a_share() -> None:
    assert set(SHARES) == set(get_args(Use))


@pytest.mark.parametrize("use", SHARES)
def test_room_is_the_share_of_the_memory_that_is_free_on_that_device(monkeypatch: pytest.MonkeyPatch, use: Use) -> None:
    free = {"cpu": 1 << 30, "meta": 1 << 20}
    monkeypatch.setattr(budget.memory, "free_bytes", lambda device: free[device.type])
    for device, size in free.items():
        assert room(use, torch.device(device)) == int(SHARES[use] * size)
