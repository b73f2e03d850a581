"""Small nets of the layer kinds that trip other tools."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """One causal attention layer; the fused kernels of its product have no second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        return self.head(functional.scaled_dot_product_attention(query, key, value, is_causal=True))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0]


class Convolutional(nn.Module):
    """Convolution and BatchNorm with statistics of its own, and a parameter that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(5, 4, 1)
        self.norm = nn.BatchNorm1d(4)
        self.norm.running_mean += 0.3
        self.norm.running_var *= 1.7
        self.head = nn.Linear(4, 3)
        self.again = self.head  # tied

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.norm(self.conv(x.transpose(1, 2)))).transpose(1, 2)
        return self.head(hidden) + 0.5 * self.again(hidden.flip(1))
