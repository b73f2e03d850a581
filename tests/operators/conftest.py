"""Fixtures for the tests of products."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from product_cases import Counted
from torch import Tensor


@pytest.fixture
def counted() -> Counted:
    Counted.passes = 0
    return Counted(*tanh_net())


@pytest.fixture
def block() -> Tensor:
    return torch.randn(39, 5, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
