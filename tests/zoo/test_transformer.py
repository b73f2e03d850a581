"""The character transformer is causal, and tells positions apart."""

from __future__ import annotations

import pytest
import torch

from landscape.zoo import char_transformer


@pytest.fixture
def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return char_transformer(vocabulary=7, length=10, width=8, heads=2, layers=2)


def test_ids_become_logits_of_every_position(net: torch.nn.Module) -> None:
    assert net(torch.zeros(3, 10, dtype=torch.long)).shape == (3, 10, 7)


def test_a_later_character_does_not_change_an_earlier_logit(net: torch.nn.Module) -> None:
    ids = torch.tensor([[1, 2, 3, 4, 5]])
    other = ids.clone()
    other[0, 3] = 6
    before, after = net(ids), net(other)
    assert torch.allclose(before[:, :3], after[:, :3], atol=1e-6)
    assert not torch.allclose(before[:, 3:], after[:, 3:], atol=1e-3)


def test_the_same_character_differs_by_its_position(net: torch.nn.Module) -> None:
    logits = net(torch.ones(1, 4, dtype=torch.long))
    assert not torch.allclose(logits[:, 0], logits[:, 1], atol=1e-3)


def test_a_description_cannot_ask_for_a_huge_net() -> None:
    with pytest.raises(ValueError, match="layers are more than 1,000"):
        char_transformer(layers=1001)
