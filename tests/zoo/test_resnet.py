"""Residual nets: their depth, their shapes, and the shortcut, which is the identity where shapes agree."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from landscape.zoo import resnet
from landscape.zoo.resnet import ResidualBlock


@pytest.mark.parametrize("blocks", [1, 3])
def test_it_has_six_weight_layers_for_each_block_and_two_more(blocks: int) -> None:
    layers = [m for m in resnet(blocks=blocks, width=2).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 6 * blocks + 2


@pytest.mark.parametrize("skip", [True, False])
def test_images_become_logits(skip: bool) -> None:
    assert resnet(blocks=1, width=2, channels=3, classes=4, skip=skip)(torch.randn(5, 3, 8, 8)).shape == (5, 4)


def test_with_zero_weights_a_block_passes_its_input_on_through_the_shortcut_alone() -> None:
    x = torch.rand(2, 4, 6, 6)
    for skip in (True, False):
        block = ResidualBlock(4, 4, stride=1, skip=skip).eval()
        nn.init.zeros_(block.conv2.weight)
        assert torch.equal(block(x), x if skip else torch.zeros_like(x))


def test_the_shortcut_subsamples_and_pads_with_channels_of_zeros() -> None:
    x = torch.rand(2, 4, 6, 6)
    shortcut = ResidualBlock(4, 8, stride=2, skip=True).shortcut(x)
    assert torch.equal(shortcut[:, :4], x[:, :, ::2, ::2])
    assert not shortcut[:, 4:].any()


def test_a_description_cannot_ask_for_a_huge_net() -> None:
    with pytest.raises(ValueError, match="layers are more than 1,000"):
        resnet(blocks=1000)
