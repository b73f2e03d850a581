"""The terms of a user's objective: losses by sample, or sums with counts, alone or by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from landscape.errors import TaskError, UsageError, listing
from landscape.losses.protocol import OutputStructure, Uniform, describe_tensor, no_likelihood

ONLY = ""  # the name of the one term of an objective that names none
FORMS = "return losses of shape (N,), or (sum, count), or a dictionary of named terms of these forms"


@dataclass(frozen=True)
class Term:
    """The sum of one term over a batch, shape (), and how many losses it adds up, as the function gave the number.

    `by_element` says that the losses came one by one, `where` which term it is, for messages.
    """

    total: Tensor
    counted: float | Tensor
    by_element: bool
    where: str

    @property
    def count(self) -> float:
        """How many losses the sum adds up; raises TaskError if the number depends on the parameters, or is none."""
        if isinstance(self.counted, Tensor) and self.counted.requires_grad:
            raise TaskError(
                f"the count of {self.where} depends on the parameters",
                why="(sum, count) is a sum and how many losses it adds up",
                fix="two losses are two terms: return a dictionary of them; detach a count",
            )
        count = float(self.counted)
        if not count >= 0 or math.isinf(count):
            raise TaskError(f"the count of {self.where} is {count:g}", fix="return how many losses the sum adds up")
        return count


@dataclass(frozen=True)
class TermsLoss:
    """The loss of an objective's terms: the sum over terms of their means, each term's sum over its own count.

    `counts` holds the number of losses of each term in all data, and `samples` that of the samples. The sum over a
    batch is scaled so that its mean over samples is the objective, whatever the counts of the terms are. With
    `separate` every sample has one loss of its own in every term. `term` is the one that is measured; None for all.
    """

    name: str
    counts: Mapping[str, float] = field(default_factory=dict)
    samples: int = 1
    separate: bool = False
    term: str | None = None

    @property
    def structure(self) -> OutputStructure:
        """Unknown: the terms are losses, not outputs."""
        return OutputStructure()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the terms; none for an objective that names none."""
        return tuple(name for name in self.counts if name != ONLY)

    @property
    def measured(self) -> tuple[str, ...]:
        """The names of the terms that are added up."""
        return tuple(self.counts) if self.term is None else (self.term,)

    def total(self, output: Any, target: Any) -> Tensor:
        """The summed loss `()` of what the function returned for a batch; raises TaskError for other terms."""
        return self._sum(read_terms(output, self.name))

    def batch_total(self, output: Any, samples: int) -> Tensor:
        """The same for a batch of so many samples.

        Raises TaskError if it has not one loss for each sample, and the first samples had.
        """
        terms = read_terms(output, self.name)
        for term in terms.values() if self.separate else ():
            if not term.by_element or term.count != samples:
                raise TaskError(
                    f"{term.where} has {term.count:g} losses for {samples} samples",
                    why="it had one for each of the first samples",
                    fix="return one loss for every sample (0 for those left out), or (sum, count)",
                )
        return self._sum(terms)

    def sample_totals(self, output: Any, samples: int) -> Tensor:
        """The same for each sample, `(n,)`, of an objective that is `separate`; raises as `batch_total`."""
        _ = self.batch_total(output, samples)
        values = output if isinstance(output, Mapping) else {ONLY: output}
        parts = [values[name] * (self.samples / self.counts[name]) for name in self.measured]
        return torch.stack(parts).sum(dim=0)

    def _sum(self, terms: Mapping[str, Term]) -> Tensor:
        if terms.keys() != self.counts.keys():
            raise other_terms(self.name, list(self.counts), list(terms))
        weights = {name: self.samples / self.counts[name] for name in self.measured}
        parts = [terms[name].total * w if w != 1 else terms[name].total for name, w in weights.items()]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def with_graph(self, total: Tensor, theta: Tensor | Mapping[str, Tensor]) -> Tensor:
        """The sum of a batch, or sums at several points, differentiable in theta also where they are constant.

        That is so of a batch without losses, and of a constant term that is looked at beside others. Any other sum
        without a graph stays as it is, since it may be theta's function under `no_grad`.
        """
        parts = [theta] if isinstance(theta, Tensor) else list(theta.values())
        needed = [part for part in parts if part.requires_grad]  # none inside of vmap
        if not needed or total.requires_grad or not (self.term is not None or not bool(total.any())):
            return total
        return total + sum((0 * part.sum() for part in needed), torch.zeros_like(total))

    def count(self, target: Any) -> float:
        """Raises TypeError: the samples are counted, not the targets (`BatchLoss.batch_count`)."""
        raise TypeError("the terms of an objective are counted by their batches")

    def sample(self, output: Tensor, target: Any, uniform: Uniform) -> Tensor:
        """Raises TaskError: nothing is known of targets."""
        raise no_likelihood(self.name)

    def only(self, term: str) -> TermsLoss:
        """The loss of one term alone; raises UsageError for a name that is none of the terms'."""
        if term not in self.names:
            known = f"its terms are {listing(self.names)}" if self.names else "it names no terms"
            raise UsageError(
                f"--term {term} is no term of {describe_objective(self.name)}",
                why=known,
                fix=f"--term {self.names[0]}" if self.names else "return a dictionary of terms, or leave --term out",
            )
        return replace(self, term=term)


def read_terms(returned: Any, objective: str) -> dict[str, Term]:
    """The terms that an objective returned for a batch, by name; raises TaskError for anything that is none."""
    if isinstance(returned, Mapping):
        if not returned or not all(isinstance(name, str) and name for name in returned):
            raise TaskError(f"{describe_objective(objective)} returned a dictionary without names of terms", fix=FORMS)
        return {name: _read_term(value, describe_term(objective, name)) for name, value in returned.items()}
    return {ONLY: _read_term(returned, describe_term(objective, ONLY))}


def describe_objective(objective: str) -> str:
    """An objective of this name, for messages."""
    return "the objective" if objective == "objective" else f"objective {objective}"


def describe_term(objective: str, name: str) -> str:
    """An objective, or a term of it, for messages."""
    return describe_objective(objective) if name == ONLY else f"term {name} of {describe_objective(objective)}"


def other_terms(objective: str, first: list[str], later: list[str]) -> TaskError:
    """The error for terms that have other names on a later batch."""
    return TaskError(
        f"{describe_objective(objective)} returns other terms on another batch",
        why=f"{_listing(first)} at first, then {_listing(later)}",
        fix="return every term for every batch; for one without losses (torch.zeros(()), 0)",
    )


def _listing(names: list[str]) -> str:
    return listing(name or "one without a name" for name in names)


def _read_term(value: Any, where: str) -> Term:
    if isinstance(value, tuple | list) and len(value) == 2 and _is_number(value[1]):
        return Term(_total(value[0], where), value[1], by_element=False, where=where)
    if not isinstance(value, Tensor):
        raise TaskError(f"{where} is {_describe(value)}", fix=FORMS)
    if value.ndim == 0:
        raise TaskError(
            f"{where} is one number for a batch, without a count",
            why="a mean cannot be added up over batches of several sizes",
            fix="return one loss for each sample, shape (N,), or (sum, count)",
        )
    if value.ndim > 1 or not value.is_floating_point():
        raise TaskError(f"{where} has losses of {describe_tensor(value)}", fix=FORMS)
    return Term(value.sum(), len(value), by_element=True, where=where)


def _describe(value: Any) -> str:
    """The kind of a value that is no term; of a tuple those of its parts, among which is what is wrong."""
    if isinstance(value, tuple):
        return f"a tuple of {listing(map(describe_tensor, value))}"
    return f"a {type(value).__name__}"


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) or (isinstance(value, Tensor) and value.ndim == 0)


def _total(value: Any, where: str) -> Tensor:
    total = torch.as_tensor(value)
    if total.ndim or not total.is_floating_point():
        raise TaskError(f"{where} has a sum of {describe_tensor(total)}, not one real number", fix=FORMS)
    return total
