"""The user's objective: a function of the model and a batch, in the place of a model's output and a loss of it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from landscape.data.batches import Batch, to_device
from landscape.data.items import as_batch, as_iterable
from landscape.data.survey import Batches
from landscape.errors import NothingCountedError, TaskError, UsageError
from landscape.losses.protocol import Loss
from landscape.losses.terms import ONLY, Term, TermsLoss, describe_objective, describe_term, other_terms, read_terms
from landscape.objective.batch_loss import BatchLoss
from landscape.objective.checks.check import probe_vector
from landscape.objective.checks.first_output import require_deterministic_output
from landscape.objective.model_function import ModelFunction
from landscape.objective.user_errors import reraise_user_errors

TRIAL_SAMPLES = 8  # on which model and loss are tried: enough to see batch effects, few enough for any memory
COMPANIONS = ("outputs", "targets", "loss")  # attributes of a function that say which outputs its losses are of
AGREEMENT_RTOL = 1e-4  # between an objective's own losses and the loss of its outputs
OTHER_WEIGHTS = 1.0  # how far away, relative to their size: weights at which the counts have to be the same


@dataclass(frozen=True)
class ObjectiveFunction:
    """A function `(model, batch) -> terms`, and the name of the term that is measured; None for their sum.

    The function may have the attributes `outputs`, a function `(model, batch)` that gives the model's output,
    `targets`, a function of the batch, and `loss`, of these two. What needs outputs (Gauss-Newton, Fisher and K-FAC
    matrices, accuracies) takes them from there. Raises UsageError for some of the attributes without the others.
    """

    function: Callable[[nn.Module, Any], Any]
    term: str | None = None

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise UsageError(
                f"the objective is a {type(self.function).__name__}, not a function",
                fix="def objective(model, batch) -> one loss for each sample, shape (N,)",
            )
        missing = [name for name in COMPANIONS if not hasattr(self.function, name)]
        if missing and len(missing) < len(COMPANIONS) and not isinstance(self.function, nn.Module):
            raise UsageError(
                f"{describe_objective(self.name)} has no {' and no '.join(missing)}",
                why="what needs outputs takes outputs(model, batch), targets(batch) and loss together",
                fix=f"give {self.name} all of {', '.join(COMPANIONS)}, or none",
            )

    @property
    def name(self) -> str:
        """How the objective is called in results and messages."""
        return str(getattr(self.function, "__qualname__", type(self.function).__qualname__))

    @property
    def user_pass(self) -> Callable[[nn.Module, Any], Any]:
        """What takes the place of the model's forward pass: the function, or what gives its outputs."""
        outputs: Callable[[nn.Module, Any], Any] = self.function.outputs if self.has_outputs else self.function  # type: ignore[attr-defined]
        return outputs

    @property
    def loss(self) -> Any:
        """The loss of the outputs; None without outputs."""
        return self.function.loss if self.has_outputs else None  # type: ignore[attr-defined]

    def data_of(self, source: Any) -> Any:
        """The data as they are, or with targets beside each item where outputs are compared with them."""
        return WithTargets(source, self.function.targets) if self.has_outputs else source  # type: ignore[attr-defined]

    @property
    def has_outputs(self) -> bool:
        """Whether the function says which outputs its losses are of, and all its terms are measured."""
        return self.term is None and all(hasattr(self.function, name) for name in COMPANIONS)


def objective_function(objective: Any, term: str | None, loss: Any, outputs: Any) -> ObjectiveFunction | None:
    """The objective that is given in the place of a loss; None for none.

    Raises UsageError for a loss or a kind of outputs beside it, and for a term without it.
    """
    if objective is None:
        if term is not None:
            raise UsageError(f"--term {term} without --objective", fix="--objective FILE.py:function with named terms")
        return None
    if loss is not None or outputs is not None:
        other = "--loss" if loss is not None else "--outputs"
        raise UsageError(f"--objective and {other} exclude each other", fix=f"leave {other} out, or --objective")
    return ObjectiveFunction(objective, term)


class WithTargets:
    """Data whose items have targets beside them, which a function of each item gives."""

    def __init__(self, source: Any, targets: Callable[[Any], Any]) -> None:
        self.source = source
        self.targets = targets

    def __iter__(self) -> Iterator[Batch]:
        for item in as_iterable(self.source):
            yield replace(as_batch(item, as_item=True), targets=self.targets(item))


def try_terms(
    objective: ObjectiveFunction, function: ModelFunction, theta: Tensor, batches: Batches, first: Batch
) -> TermsLoss:
    """The loss of an objective's terms, tried on the first samples.

    Raises TaskError if the function fails, returns no terms, or does not depend on the parameters.
    """
    point = theta.detach().requires_grad_()
    with torch.enable_grad():

        def forward(batch: Batch) -> Any:
            """What the function returns at theta."""
            return function.output(point, batch)

        returned = require_deterministic_output(function.module, forward, first, objective.name)
        loss = terms_loss(objective, function, theta, batches, first, returned)
        total = loss.total(returned, None)
        gradient = torch.autograd.grad(total, point, allow_unused=True)[0] if total.requires_grad else None
    if gradient is None:
        subject = describe_term(objective.name, objective.term or ONLY)
        raise TaskError(
            f"the gradient of {subject} in the parameters that are measured is zero",
            why="it does not use the model that it is given, or runs under no_grad, detaches, or rounds",
            fix="compute the losses with the argument `model`, e.g. model(x), and let gradients through; --params "
            "chooses the parameters",
        )
    return loss


def require_agreement(
    objective: ObjectiveFunction, function: ModelFunction, loss: Loss, theta: Tensor, batches: Iterable[Batch]
) -> None:
    """Raises TaskError if an objective's losses are not the loss of its outputs, over all data.

    `function` gives the outputs, and `loss` is their loss.
    """
    direct, plain = replace(function, user_pass=objective.function), BatchLoss(function, loss)
    sums: dict[str, float] = defaultdict(float)
    counts: dict[str, float] = defaultdict(float)
    total = count = 0.0
    for batch in batches:
        placed = to_device(batch, theta.device, theta.dtype)
        for name, term in _terms_at(objective.name, direct, theta, placed).items():
            sums[name] += float(term.total.detach())
            counts[name] += term.count
        with torch.enable_grad():
            total += float(plain.batch_total(theta.detach(), placed.map(Tensor.clone)).detach())
        count += loss.count(placed.targets)
    mean = sum(sums[name] / (counts[name] or math.nan) for name in sums)
    other = total / (count or math.nan)
    if not abs(mean - other) <= AGREEMENT_RTOL * max(abs(mean), abs(other)):
        raise TaskError(
            f"{describe_objective(objective.name)} is not its loss of its outputs: {mean:.6g} and {other:.6g} over all "
            "data",
            why="outputs, targets and loss have to give the same objective",
            fix="correct them, or delete the three attributes: then what needs outputs is refused",
        )


def terms_loss(
    objective: ObjectiveFunction, function: ModelFunction, theta: Tensor, batches: Batches, first: Batch, returned: Any
) -> TermsLoss:
    """The loss of an objective's terms, which are counted in all data.

    `returned` is what the function gave for the first samples. An objective with one loss for each
    sample is taken at its word, which every pass checks. Others are evaluated on all batches, at theta and elsewhere.
    Raises TaskError for counts that are 0 or depend on the weights, and for terms
    that change their names; UsageError for a `term` that is none.
    """
    terms = read_terms(returned, objective.name)
    counts = {name: term.count for name, term in terms.items()}
    separate = first.divisible and all(t.by_element and t.count == first.size for t in terms.values())
    if separate:
        counts = dict.fromkeys(counts, float(batches.samples))
    else:
        counts = _count_over_data(objective.name, function, theta, batches, list(terms))
    loss = TermsLoss(objective.name, counts, batches.samples, separate)
    return loss if objective.term is None else loss.only(objective.term)


def _count_over_data(
    name: str, function: ModelFunction, theta: Tensor, batches: Batches, names: list[str]
) -> dict[str, float]:
    """The number of losses of each term in all data."""
    step = OTHER_WEIGHTS * (float(theta.square().mean().sqrt()) or 1.0)
    elsewhere = theta + step * probe_vector(theta, "counts")
    counts = dict.fromkeys(names, 0.0)
    for batch in batches:
        placed = to_device(batch, theta.device, theta.dtype)
        own = _counts_at(name, function, theta, placed)
        if own.keys() != counts.keys():
            raise other_terms(name, names, list(own))
        try:
            there = _counts_at(name, function, elsewhere, placed)
        except TaskError:  # the model fails at such weights
            there = own
        if moved := [term for term in own if own[term] != there.get(term)]:
            raise TaskError(
                f"the count of {describe_term(name, moved[0])} depends on the weights: {own[moved[0]]:g} at the "
                f"checkpoint, {there.get(moved[0], math.nan):g} elsewhere",
                why="the mean would be another function where the count jumps",
                fix="count what the data decide, e.g. all pairs instead of those with a loss",
            )
        counts = {term: count + own[term] for term, count in counts.items()}
    if empty := [term for term, count in counts.items() if count == 0]:
        raise NothingCountedError(
            f"{describe_term(name, empty[0])} counts nothing in all data", fix="check the data, and the count"
        )
    return counts


def _counts_at(name: str, function: ModelFunction, theta: Tensor, batch: Batch) -> dict[str, float]:
    return {term: part.count for term, part in _terms_at(name, function, theta, batch).items()}


def _terms_at(name: str, function: ModelFunction, theta: Tensor, batch: Batch) -> dict[str, Term]:
    """The terms of a batch, without a graph unless the function differentiates in the parameters itself."""

    def returned(point: Tensor) -> Any:
        """What the function returns at a point."""
        return reraise_user_errors(batch, lambda: function.output(point, batch.map(Tensor.clone)))

    with torch.enable_grad():  # the function may differentiate
        try:
            return read_terms(returned(theta.detach()), name)
        except TaskError:
            return read_terms(returned(theta.detach().requires_grad_()), name)
