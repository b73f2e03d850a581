"""Attention layers give one function in all passes, and derivatives in all of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.network.attention import without_fast_path


class Encoder(nn.Module):
    """A transformer over padded sequences, whose padded token counts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.zeros(x.shape[:2], dtype=torch.bool)
        mask[:, -1] = True
        logits: Tensor = self.head(self.layer(x, src_key_padding_mask=mask)[:, -1])
        return logits


@pytest.fixture
def objective() -> Objective:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 3, 4, generator=generator), torch.randint(0, 3, (20,), generator=generator)
    return Objective(Encoder(), (x, y), "cross_entropy", dtype="float64", device="cpu")


def test_the_loss_is_the_same_with_and_without_gradients(objective: Objective) -> None:
    assert float(objective.value()) == pytest.approx(objective.reference.loss, rel=1e-12)
    replica = objective.replica(objective.theta.clone())
    assert replica is not None
    batch = next(iter(objective.batches))
    with torch.no_grad():
        copied = objective.loss_total(replica.output(batch), batch) / objective.count
    assert float(copied) == pytest.approx(objective.reference.loss, rel=1e-12)


def test_ascents_can_differentiate_it(objective: Objective) -> None:
    """As if the user had switched the fast path off."""
    analysis = landscape.Sharpness(rho=(0.01,), starts=2)
    result = landscape.run(analysis, objective)
    before = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        expected = landscape.run(analysis, objective)
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
    assert result.s_max[0] == pytest.approx(expected.s_max[0], rel=1e-9)
    assert result.s_max[0] > 0


@pytest.mark.parametrize("enabled", [True, False])
def test_the_user_s_setting_comes_back(enabled: bool) -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(enabled)
        with without_fast_path(), without_fast_path():
            assert not torch.backends.mha.get_fastpath_enabled()
        assert torch.backends.mha.get_fastpath_enabled() is enabled
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
