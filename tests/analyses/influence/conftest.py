"""A small net fitted to its data, with populations; tests of influence share it."""

from __future__ import annotations

import pytest
from memorized import fit_net
from torch import Tensor

from landscape import Objective


@pytest.fixture
def fitted(classification: tuple[Tensor, Tensor]) -> Objective:
    """A net of 5 -> 6 -> 4 -> 3 on 16 samples, and three populations."""
    return fit_net(classification, dtype="float64")
