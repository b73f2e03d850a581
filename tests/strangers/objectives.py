"""Objectives that are functions of the model and a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from strangers.stranger import Problem, bring, classes, integers, net, numbers, ragged

Pair = tuple[Tensor, Tensor]


def dictionaries() -> list[dict[str, Tensor]]:
    """Ragged batches of features and labels."""
    return [{"x": x, "labels": labels} for x, labels in ragged(*classes())]


def by_sample(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return functional.cross_entropy(model(batch["x"]), batch["labels"], reduction="none")


def mean_of(function: Any) -> Any:
    """The mean of what a function returns for each sample."""
    return lambda model, batches: torch.cat([function(model, batch) for batch in batches]).mean()


def consistency(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    noisy = model(batch["x"] + 0.1 * batch["x"].sin())
    return by_sample(model, batch) + (model(batch["x"]) - noisy).square().sum(dim=1)


@bring("two passes", "consistency losses of two views", options={"objective": consistency}, mean=mean_of(consistency))
def _() -> Problem:
    return net(), dictionaries(), None


def gradient_penalty(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    x = batch["x"].detach().clone().requires_grad_()
    losses = functional.cross_entropy(model(x), batch["labels"], reduction="none")
    (slopes,) = torch.autograd.grad(losses.sum(), x, create_graph=True)
    return losses + slopes.square().sum(dim=1)


@bring(
    "gradient penalty as objective",
    "Jacobian and R1 penalties",
    options={"objective": gradient_penalty},
    mean=mean_of(gradient_penalty),
)
def _() -> Problem:
    return net(), dictionaries(), None


def slopes_by_backward(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    x = batch["x"].detach().clone().requires_grad_()
    functional.cross_entropy(model(x), batch["labels"], reduction="sum").backward(create_graph=True)
    assert x.grad is not None
    return x.grad.square().sum(dim=1)


@bring(
    "a backward pass inside of the objective",
    "gradient penalties by loss.backward(create_graph=True)",
    options={"objective": slopes_by_backward},
    mean=mean_of(slopes_by_backward),
)
def _() -> Problem:
    return net(), dictionaries(), None


def take_labels(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    labels = batch.pop("labels")
    return functional.cross_entropy(model(input=batch["x"]), labels, reduction="none")


@bring("labels popped", "labels = batch.pop('labels')", options={"objective": take_labels}, mean=mean_of(by_sample))
def _() -> Problem:
    return net(), dictionaries(), None


def with_decay(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"fit": by_sample(model, batch), "size": 0.1 * model(batch["x"]).square().sum(dim=1)}


@bring(
    "named terms",
    "multi-task losses",
    options={"objective": with_decay},
    mean=lambda model, batches: sum(
        torch.cat([with_decay(model, batch)[name] for batch in batches]).mean() for name in ("fit", "size")
    ),
)
def _() -> Problem:
    return net(), dictionaries(), None


@bring(
    "one named term",
    "one of several losses",
    options={"objective": with_decay, "term": "fit"},
    mean=mean_of(by_sample),
)
def _() -> Problem:
    return net(), dictionaries(), None


def with_constant(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"fit": by_sample(model, batch), "constant": torch.ones(len(batch["x"]))}


@bring(
    "constant term",
    "a term that is switched off",
    options={"objective": with_constant},
    mean=lambda model, batches: mean_of(by_sample)(model, batches) + 1,
)
def _() -> Problem:
    return net(), dictionaries(), None


def weighted(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    weights = batch["x"][:, 0].abs()
    return (weights * by_sample(model, batch)).sum(), weights.sum()


def mean_of_sums(function: Any) -> Any:
    """The sums that a function returns over its counts."""

    def mean(model: nn.Module, batches: list[Any]) -> Tensor:
        sums = [function(model, batch) for batch in batches]
        return sum((total for total, _ in sums), torch.zeros(())) / sum(count for _, count in sums)

    return mean


@bring(
    "weights of samples",
    "advantages, importance weights",
    options={"objective": weighted},
    mean=mean_of_sums(weighted),
    alone=False,
)
def _() -> Problem:
    return net(), dictionaries(), None


def info_nce(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
    one, other = (functional.normalize(model(x), dim=1) for x in (batch["x"], batch["x"] + 0.3))
    return functional.cross_entropy(one @ other.T / 0.5, torch.arange(len(one)), reduction="sum"), len(one)


@bring(
    "InfoNCE as objective",
    "contrastive learning",
    clause="C4",
    says="batches as they are given",
    options={"objective": info_nce},
    mean=mean_of_sums(info_nce),
    alone=False,
)
def _() -> Problem:
    return net(), dictionaries(), None


def noisy_info_nce(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
    return info_nce(model, {"x": batch["x"] + 0.3 * torch.randn_like(batch["x"])})


@bring(
    "InfoNCE with noise",
    "augmentations drawn inside of the loss",
    clause="C5",
    expect="refused",
    options={"objective": noisy_info_nce},
    mean=mean_of_sums(info_nce),
)
def _() -> Problem:
    return net(), dictionaries(), None


def adapt(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
    weights = dict(model.named_parameters())
    inner = functional.cross_entropy(model(batch["x"][:3]), batch["labels"][:3])
    slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
    stepped = {name: weight - 0.3 * slope for (name, weight), slope in zip(weights.items(), slopes, strict=True)}
    logits = functional_call(model, stepped, (batch["x"][3:],))
    return functional.cross_entropy(logits, batch["labels"][3:], reduction="sum"), len(logits)


@bring(
    "step of training inside",
    "MAML",
    clause="C4",
    options={"objective": adapt},
    mean=mean_of_sums(adapt),
    alone=False,
)
def _() -> Problem:
    return net(), dictionaries(), None


def only_mean(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return by_sample(model, batch).mean()


def hard_samples(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    losses = by_sample(model, batch)
    return losses[losses > 1].sum(), (losses > 1).sum()


OTHER = net(seed=9)


def forgets_model(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return by_sample(OTHER.to(batch["x"].dtype), batch)


def own_teacher(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return (model(batch["x"] + 0.1) - model(batch["x"]).detach()).square().sum(dim=1)


AVERAGE = [1.0]


def moving_average(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    losses = by_sample(model, batch)
    AVERAGE[0] = 0.9 * AVERAGE[0] + 0.1 * float(losses.detach().mean())
    return losses / AVERAGE[0]


REFUSED = {
    "mean without a count": ("loss.mean() of a batch", "C8", only_mean),
    "count of hard samples": ("only losses above a margin count", "C8", hard_samples),
    "another model": ("an objective that calls a model of the file's", "C2", forgets_model),
    "teacher of itself": ("BYOL without a copy: its own output, detached", "C6", own_teacher),
    "moving average of the loss": ("losses divided by their running mean", "C5", moving_average),
}
for name, (who, clause, function) in REFUSED.items():

    @bring(name, who, clause=clause, expect="refused", options={"objective": function}, mean=mean_of(by_sample))
    def _() -> Problem:
        return net(), dictionaries(), None


def step(model: nn.Module, batch: Pair) -> Tensor:
    x, y = batch
    return (model(x) - functional.one_hot(y, 3)).square().sum(dim=1)


@bring("tuples", "pairs under --objective", options={"objective": step}, mean=mean_of(step))
def _() -> Problem:
    return net(), ragged(numbers(23, 5), integers(3, 23)), None
