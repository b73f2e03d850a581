"""Residual networks with and without shortcuts: the pair compared by Li et al. (2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.zoo.limits import MAX_LAYERS, require_at_most


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm, and a shortcut if `skip`."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, skip: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.skip = skip
        self.stride = stride
        self.padding = outputs - inputs

    def shortcut(self, x: Tensor) -> Tensor:
        """The identity, subsampled and zero-padded to the block's output shape (option A of He et al. 2016)."""
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.padding))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, inputs, H, W)` to `(N, outputs, H / stride, W / stride)`."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.skip:
            out = out + self.shortcut(x)
        return functional.relu(out)


class ResNet(nn.Module):
    """Three stages of `blocks` blocks: 6 * blocks + 2 weight layers (He et al. 2016, section 4.2)."""

    def __init__(self, *, blocks: int, width: int, channels: int, classes: int, skip: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        stages: list[nn.Module] = []
        inputs = width
        for stage in range(3):
            outputs = width * 2**stage
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(ResidualBlock(inputs, outputs, stride=stride, skip=skip))
                inputs = outputs
        self.blocks = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, channels, H, W)` to logits `(N, classes)`."""
        out = functional.relu(self.bn(self.stem(x)))
        out = self.blocks(out)
        pooled: Tensor = self.head(torch.mean(out, dim=(2, 3)))
        return pooled


def resnet(blocks: int = 3, width: int = 8, channels: int = 1, classes: int = 10, *, skip: bool = True) -> ResNet:
    """A CIFAR-style residual network, 6 * `blocks` + 2 layers deep; `skip=False` leaves the shortcuts out.

    Input `(N, channels, H, W)`, output `(N, classes)`.
    """
    require_at_most(MAX_LAYERS, 6 * blocks, "layers")
    return ResNet(blocks=blocks, width=width, channels=channels, classes=classes, skip=skip)
