"""One rank that measures a transformer of 20 million parameters, of which it holds a part: its peak of memory."""

from __future__ import annotations

import resource
import threading
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed import checkpoint  # noqa: F401 - the interpreter's memory has it before the measurement

import landscape
from landscape import seeds
from landscape.loading.parts import parameters_on_meta
from landscape.objective.sharded.objective import ShardedObjective

WIDTH, LAYERS, WORDS, TOKENS, SAMPLES = 384, 11, 2000, 32, 4
PRODUCTS = 24  # enough to fill the rows of the basis


class Language(nn.Module):
    """Embedding, layers and a head that shares the embedding's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, 6, 4 * WIDTH, dropout=0.0, batch_first=True) for _ in range(LAYERS)
        )
        self.head = nn.Linear(WIDTH, WORDS, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embedding(tokens)
        for layer in self.layers:
            hidden = layer(hidden)
        logits: Tensor = self.head(hidden)
        return logits


def resident() -> int:
    """The bytes of this process that lie in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure_parts() -> dict[str, float]:
    """The peak beyond the interpreter of `eig -k 1`, and what it is compared with, in bytes; and the eigenvalue."""
    warm = torch.randn(64, 64, requires_grad=True)
    (warm @ warm).sum().backward()
    begin, peak, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.is_set():
            peak[0] = max(peak[0], resident())
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with parameters_on_meta():
        model = Language()

    def weights(name: str) -> Tensor:
        shape = model.get_parameter(name).shape
        if "norm" in name:
            return torch.full(shape, float(name.endswith("weight")))
        return seeds.normal(shape.numel(), torch.zeros(1), 0, name).view(shape) / 30

    generator = torch.Generator().manual_seed(0)
    data = tuple(torch.randint(0, WORDS, (SAMPLES, TOKENS), generator=generator) for _ in range(2))
    objective = ShardedObjective(model, data, "cross_entropy", fetch=weights, micro_batch=1)
    result = landscape.run(landscape.Eig(k=1, tol=1e-9, max_products=PRODUCTS, max_basis=22), objective)
    done.set()
    watcher.join()
    size = objective.space.size * 4
    block = sum(p.numel() for p in model.layers[0].parameters()) * 4
    return {
        "peak": peak[0] - begin,
        "P": size,
        "rows": 22,
        "block": block,
        "bits": float(result.ritz_values[-1, 0]),
    }
