"""Models whose parameters lie in units of several kinds: tied, called twice, loose, frozen, with side outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import repeating_models
import torch
from torch import Tensor, nn

GENERATOR = torch.Generator().manual_seed(5)
TOKENS = torch.randint(0, 11, (13, 6), generator=GENERATOR)
NEXT = torch.randint(0, 11, (13, 6), generator=GENERATOR)
REALS = torch.randn(13, 5, generator=GENERATOR)
LABELS = torch.arange(13) % 3


class Language(nn.Module):
    """A transformer with tied embeddings and a loose table of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.positions = nn.Parameter(torch.randn(6, 8) / 10)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, dropout=0.0) for _ in range(2)
        )
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embedding(tokens) + self.positions
        for layer in self.layers:
            hidden = layer(hidden)
        logits: Tensor = self.head(hidden)
        return logits


class Twice(nn.Module):
    """One layer that runs twice, as in ALBERT, and two scales outside of all layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared, self.head = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.scale, self.shift = nn.Parameter(torch.tensor(1.5)), nn.Parameter(torch.tensor([0.2, -0.1, 0.3]))
        self.inner = nn.ModuleList([nn.Sequential(self.shared, nn.Tanh()), nn.Sequential(nn.Linear(6, 6), nn.Tanh())])

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.inner[0](self.inner[0](self.stem(x)))
        logits: Tensor = self.head(self.inner[1](hidden) * self.scale) * torch.exp(self.shift)
        return logits


class Attention(nn.Module):
    """Attention of torch, whose out_proj is read and never called, and a norm with running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.attend, self.norm, self.head = (
            nn.MultiheadAttention(5, 1, batch_first=True),
            nn.BatchNorm1d(5),
            nn.Linear(5, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        mixed, _ = self.attend(x[:, None], x[:, None], x[:, None], need_weights=False)
        logits: Tensor = self.head(self.norm(x + mixed[:, 0]))
        return logits


def frozen() -> nn.Module:
    """A net of which one layer is not trained."""
    model = mlp()
    for parameter in model[0].parameters():  # type: ignore[index]
        parameter.requires_grad_(False)
    return model


def mlp() -> nn.Sequential:
    """A small net with smooth and with kinked units."""
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3))


def weight_norm() -> nn.Module:
    """A net with a parametrized weight."""
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 3))


Build = Callable[[], nn.Module]
MODELS: Mapping[str, tuple[Build, tuple[Tensor, Tensor]]] = {
    "transformer": (Language, (TOKENS, NEXT)),
    "a layer that runs twice": (Twice, (REALS, LABELS)),
    "attention": (Attention, (REALS, LABELS)),
    "frozen": (frozen, (REALS, LABELS)),
    "mlp": (mlp, (REALS, LABELS)),
    "side outputs": (repeating_models.Stack, (REALS, LABELS % 3)),
    "linear": (lambda: nn.Linear(5, 3, bias=False), (REALS, LABELS)),
    "weight norm": (weight_norm, (REALS, LABELS)),
}


def build(name: str) -> nn.Module:
    """The model of this name, the same every time."""
    torch.manual_seed(0)
    return MODELS[name][0]()
