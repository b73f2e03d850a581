"""What a stranger is: a model, batches and a loss that somebody brings, with what landscape must make of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Problem = tuple[nn.Module, Any, Any]  # a model, its batches, and a loss as `landscape.Objective` takes it
Terms = Callable[[Any, Any], tuple[Tensor, float]]  # (output, targets) -> the summed loss of a batch, and its count
Mean = Callable[[Any, list[Any]], Tensor]  # (model, batches) -> the objective over all of them
Expect = Literal["right", "refused", "said"]
Derivatives = Literal["autograd", "gradients", "values"]


@dataclass(frozen=True)
class Stranger:
    """One stranger.

    `expect` is `right` if every analysis that applies must measure it rightly, `refused` if every one must refuse it or
    be inconclusive, and `said` if both are allowed, analysis by analysis. `says` is a pattern that the notes of a right
    result must hold. `clause` is the clause of docs/trust.md that the stranger breaks. `terms` compute the loss in the
    oracle where it is no function of (output, targets), and `mean` is the whole objective where it is no loss of
    outputs; `undecayed` is that without the weight decay, which belongs to no sample. `derivatives` are those of the
    oracle: autograd's twice, differences of autograd's gradients, or differences of the loss where autograd's gradients
    are wrong. `alone` says that the loss of a sample does not depend on the other samples of its batch, and `units`
    that each batch counts as one sample. `cannot` names analyses that may refuse the stranger although the others must
    be right. `rounding` is the error that a note states, where it is not that of the dtype.
    """

    name: str
    who: str  # one line: who brings such a thing
    build: Callable[[], Problem]
    expect: Expect = "right"
    clause: str = ""
    says: str = ""
    terms: Terms | None = None
    mean: Mean | None = None
    undecayed: Mean | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    derivatives: Derivatives = "autograd"
    alone: bool = True
    units: bool = False
    cannot: tuple[str, ...] = ()
    rounding: float | None = None
    kind: str = ""


STRANGERS: dict[str, Stranger] = {}


def bring(name: str, who: str, **about: Any) -> Callable[[Callable[[], Problem]], Callable[[], Problem]]:
    """Registers the decorated function, which builds a stranger anew, the same each time it is called."""

    def register(build: Callable[[], Problem]) -> Callable[[], Problem]:
        assert name not in STRANGERS, name
        kind = build.__module__.rsplit(".", 1)[-1]
        STRANGERS[name] = Stranger(name, who, build, kind=kind, **about)
        return build

    return register


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def integers(below: int, *shape: int, seed: int = 1) -> Tensor:
    """Integers from 0."""
    return torch.randint(0, below, shape, generator=torch.Generator().manual_seed(seed))


def classes(samples: int = 23, features: int = 5, count: int = 3) -> tuple[Tensor, Tensor]:
    """Samples of normal features in classes."""
    return numbers(samples, features), integers(count, samples)


def ragged(*tensors: Tensor, sizes: tuple[int, ...] = (9, 9, 5)) -> list[tuple[Tensor, ...]]:
    """The tensors cut into batches, of which the last is smaller."""
    return list(zip(*(tensor.split(list(sizes)) for tensor in tensors), strict=True))


def cross_entropy_terms(output: Tensor, target: Tensor) -> tuple[Tensor, float]:
    """The sum of torch's cross-entropy over targets that are not -100, with the classes along the last axis."""
    logits, labels = output.reshape(-1, output.shape[-1]), target.reshape(-1)
    return functional.cross_entropy(logits, labels, reduction="sum"), float((labels != -100).sum())


def squared_terms(output: Tensor, target: Tensor) -> tuple[Tensor, float]:
    """The sum of squared errors over all elements."""
    return ((output - target) ** 2).sum(), float(target.numel())


def binary_terms(output: Tensor, target: Tensor) -> tuple[Tensor, float]:
    """The sum of binary cross-entropies of logits over all elements."""
    return functional.binary_cross_entropy_with_logits(output, target, reduction="sum"), float(target.numel())


def net(outputs: int = 3, *last: nn.Module, seed: int = 1) -> nn.Sequential:
    """A net of 5 -> 4 -> outputs."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, outputs), *last)
