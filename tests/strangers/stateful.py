"""Models that change, or are random, in eval mode; and models whose samples depend on their batch."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from strangers.stranger import Problem, bring, classes, cross_entropy_terms, integers, numbers, ragged

BATCH = "batch"  # the word that must be said of a loss that depends on where batches end
SAMPLES = ("measures", "memorization")  # which need losses of single samples


class Net(nn.Module):
    """A net of 5 -> 4 -> 3 whose hidden layer subclasses disturb."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 3)

    def disturb(self, hidden: Tensor) -> Tensor:
        """What happens to the hidden layer."""
        return hidden

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.second(self.disturb(torch.tanh(self.first(x))))
        return logits


def disturbed(net: type[Net]) -> Problem:
    """The net on samples in three classes."""
    return net(), ragged(*classes()), "cross_entropy"


class Dropped(Net):
    def disturb(self, hidden: Tensor) -> Tensor:
        return functional.dropout(hidden, 0.1)  # without training=self.training


@bring("dropout left on", "functional.dropout without training=", expect="refused", clause="C5")
def _() -> Problem:
    return disturbed(Dropped)


class Noisy(Net):
    def disturb(self, hidden: Tensor) -> Tensor:
        return hidden + 1e-3 * torch.randn_like(hidden)


@bring("noise of torch", "noise layers that stay on", expect="refused", clause="C5")
def _() -> Problem:
    return disturbed(Noisy)


class NumpyNoise(Net):
    def disturb(self, hidden: Tensor) -> Tensor:
        return hidden + float(np.random.default_rng().normal())


@bring("noise of NumPy", "augmentation inside the model", expect="refused", clause="C5")
def _() -> Problem:
    return disturbed(NumpyNoise)


class LayerDrop(Net):
    def disturb(self, hidden: Tensor) -> Tensor:
        return 0.5 * hidden if random.random() < 0.02 else hidden


@bring("layer drop of 2 %", "layers dropped by Python's random", expect="refused", clause="C5")
def _() -> Problem:
    random.seed(3)  # the first passes drop nothing
    return disturbed(LayerDrop)


class Average(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))

    def disturb(self, hidden: Tensor) -> Tensor:
        self.mean = 0.999 * self.mean + 0.001 * hidden.detach().mean(0)
        return hidden - self.mean


@bring(
    "moving average in eval mode",
    "statistics that are updated always",
    expect="said",
    clause="C5",
    terms=cross_entropy_terms,
    says="buffer",
)
def _() -> Problem:
    return disturbed(Average)


class Drift(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def disturb(self, hidden: Tensor) -> Tensor:
        self.scale.mul_(1 + 3e-5)
        return hidden * self.scale


@bring(
    "slowly drifting buffer",
    "schedules that count passes",
    clause="C5",
    terms=cross_entropy_terms,
    says="buffer",
)
def _() -> Problem:
    return disturbed(Drift)


class Counter(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros((), dtype=torch.long))

    def disturb(self, hidden: Tensor) -> Tensor:
        self.passes += 1
        return hidden


@bring(
    "counter of passes",
    "a buffer that counts and changes nothing",
    clause="C5",
    terms=cross_entropy_terms,
)
def _() -> Problem:
    return disturbed(Counter)


class Queue(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("queue", numbers(6, 4, seed=9))

    def disturb(self, hidden: Tensor) -> Tensor:
        mixed = hidden + 0.1 * (hidden @ self.queue.T).softmax(-1) @ self.queue
        self.queue = torch.cat([hidden.detach(), self.queue])[:6]
        return mixed


@bring("queue of negatives", "momentum contrast", clause="C5", terms=cross_entropy_terms, says="buffer")
def _() -> Problem:
    return disturbed(Queue)


class Clamped(Net):
    def disturb(self, hidden: Tensor) -> Tensor:
        self.second.weight.data.clamp_(-0.1, 0.1)
        return hidden


@bring("weights clamped in forward", "critics of WGAN", expect="refused", clause="C5")
def _() -> Problem:
    return disturbed(Clamped)


class Normalizing(Net):
    def disturb(self, hidden: Tensor) -> Tensor:
        with torch.no_grad():
            self.second.weight.div_(self.second.weight.norm(dim=1, keepdim=True))
        return hidden


@bring("weights normalized in forward", "prototypes that stay on the sphere", expect="refused", clause="C5")
def _() -> Problem:
    return disturbed(Normalizing)


class Counting(Net):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def disturb(self, hidden: Tensor) -> Tensor:
        self.calls += 1
        return hidden * (1 + 0.5 / self.calls)


@bring("schedule on self", "warm-up counted in a Python number", expect="refused", clause="C5")
def _() -> Problem:
    return disturbed(Counting)


class Cached(Net):
    def __init__(self) -> None:
        super().__init__()
        self.cache: Tensor | None = None

    def disturb(self, hidden: Tensor) -> Tensor:
        if self.cache is None:
            self.cache = hidden.detach().mean(0)
        return hidden - self.cache


@bring("cache on self", "data-dependent initialization in the first pass", expect="refused", clause="C5")
def _() -> Problem:
    return disturbed(Cached)


class InPlace(Net):
    def forward(self, x: Tensor) -> Tensor:
        x.mul_(0.5)
        return super().forward(x)


@bring("inputs changed in place", "normalization that writes into the batch", expect="refused", clause="C5")
def _() -> Problem:
    return disturbed(InPlace)


class Statistics(Net):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4, track_running_stats=False)

    def disturb(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.norm(hidden)
        return out


@bring(
    "batch statistics",
    "BatchNorm without running statistics",
    clause="C4",
    terms=cross_entropy_terms,
    alone=False,
    says=BATCH,
    cannot=SAMPLES,
)
def _() -> Problem:
    return disturbed(Statistics)


class Centered(Net):
    def disturb(self, hidden: Tensor) -> Tensor:
        return hidden - hidden.mean(0)


@bring(
    "centered in the batch",
    "self-supervised heads",
    clause="C4",
    terms=cross_entropy_terms,
    alone=False,
    says=BATCH,
    cannot=SAMPLES,
)
def _() -> Problem:
    return disturbed(Centered)


class Capacity(Net):
    def forward(self, x: Tensor) -> Tensor:
        chosen = x[:, 0] > 0  # by the inputs, so that the loss has no jumps
        seat = torch.where(chosen, chosen.cumsum(0), (~chosen).cumsum(0))
        logits: Tensor = self.second(torch.tanh(self.first(x)) * (seat <= 3)[:, None])
        return logits


@bring(
    "experts with a capacity",
    "mixtures that drop what is too much",
    clause="C4",
    terms=cross_entropy_terms,
    alone=False,
    says=BATCH,
    cannot=SAMPLES,
)
def _() -> Problem:
    return disturbed(Capacity)


class Experts(Net):
    def __init__(self, hard: bool = False) -> None:
        super().__init__()
        self.gate, self.left, self.right = nn.Linear(4, 2), nn.Linear(4, 4), nn.Linear(4, 4)
        self.hard = hard

    def disturb(self, hidden: Tensor) -> Tensor:
        share = self.gate(hidden).softmax(-1)
        if self.hard:
            share = share * functional.one_hot(share.argmax(-1), 2)
        out: Tensor = share[:, :1] * self.left(hidden) + share[:, 1:] * self.right(hidden)
        return out


@bring("mixture of experts", "dense mixtures", terms=cross_entropy_terms)
def _() -> Problem:
    return Experts(), ragged(*classes()), "cross_entropy"


@bring("mixture of experts, top 1", "switch layers", terms=cross_entropy_terms)
def _() -> Problem:
    return Experts(hard=True), ragged(*classes()), "cross_entropy"


@bring("instance norm", "styles of images", terms=cross_entropy_terms)
def _() -> Problem:
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv1d(2, 3, 2), nn.InstanceNorm1d(3, affine=True), nn.GELU(), nn.Flatten(), nn.Linear(9, 3)
    )
    return model, ragged(numbers(15, 2, 4), integers(3, 15), sizes=(6, 6, 3)), "cross_entropy"


@bring("batch norm", "running statistics, as usual", terms=cross_entropy_terms)
def _() -> Problem:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.SiLU(), nn.Linear(4, 3))
    model(numbers(64, 5, seed=8))  # moves the statistics
    return model, ragged(*classes()), "cross_entropy"


class Ghost(Net):
    def disturb(self, hidden: Tensor) -> Tensor:
        return torch.cat([part - part.mean(0) for part in hidden.split(4)])


@bring(
    "ghost batches",
    "statistics of 4 samples each",
    clause="C4",
    terms=cross_entropy_terms,
    alone=False,
    says=BATCH,
    cannot=SAMPLES,
)
def _() -> Problem:
    return disturbed(Ghost)
