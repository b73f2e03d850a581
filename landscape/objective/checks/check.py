"""A check: its name, the claim that it checks, what it costs, and the function that examines a trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from landscape import seeds
from landscape.data.batches import Batch
from landscape.data.survey import Batches
from landscape.errors import LandscapeError, LostRankError
from landscape.losses.protocol import Loss
from landscape.objective.batch_loss import BatchLoss
from landscape.objective.checks.finding import Finding, Verdict
from landscape.objective.micro_batch import Activations
from landscape.objective.model_function import ModelFunction

T = TypeVar("T")
PROBE_NUMBERS = 1 << 20  # different numbers in a probe: more take a second for 10^8 parameters, and tell no more
# Samples that the checks take: enough to see the effects of batches, and few enough to cost nothing; of large models,
# whose weights take more time than their samples, fewer.
SAMPLES, SAMPLES_OF_LARGE_MODELS, LARGE_MODEL = 8, 2, 10_000_000


def probe_vector(like: Tensor, name: str) -> Tensor:
    """Normal numbers of the shape `(P,)` of `like`; those of large models are 2^20 numbers again and again."""
    size = like.numel()
    numbers = seeds.normal(min(size, PROBE_NUMBERS), like, 0, "checks", name)
    return numbers if size <= PROBE_NUMBERS else numbers.repeat(-(-size // PROBE_NUMBERS))[:size]


def sample_count(parameters: int) -> int:
    """How many samples the checks take of a model with so many parameters."""
    return SAMPLES if parameters < LARGE_MODEL else SAMPLES_OF_LARGE_MODELS


@dataclass(frozen=True)
class ModelTrial:
    """A model at theta `(P,)` and the first few samples, before a loss is chosen."""

    function: ModelFunction
    theta: Tensor
    first: Batch

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.function.device_of(self.theta)

    def fresh_batch(self) -> Batch:
        """A copy of the first samples, which a model may change or differentiate in.

        Tensors that the data yield with `requires_grad`, such as positions of atoms, still have it.
        """
        return self.first.map(lambda tensor: tensor.detach().clone().requires_grad_(tensor.requires_grad))


@dataclass(frozen=True)
class Trial(ModelTrial):
    """What most checks before a measurement examine: a model and a loss at theta `(P,)`, on the first few samples.

    `batches` are the data as they are given, `joined` the same data as one batch where that is possible. So many as
    `micro_batch` samples would be measured together, each of which keeps its `activations` for its backward pass.
    `as_given` says that the loss depends on where batches end, `joinable` that they may be concatenated.
    """

    loss: Loss
    batches: Batches
    joined: Batches
    micro_batch: int = 1
    activations: Activations = Activations(0, 0)
    as_given: bool = False
    joinable: bool = False

    @property
    def batch_loss(self) -> BatchLoss:
        """The summed loss of a batch as a function of theta."""
        return BatchLoss(self.function, self.loss)


@dataclass(frozen=True)
class Outcome:
    """What a check found; `changes` are fields of the trial that the checks after it, and the measurement, take."""

    verdict: Verdict
    found: str
    fix: str = ""
    error: float | None = None
    changes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Check(Generic[T]):
    """One check, which `examine` makes of whatever the check examines."""

    name: str
    claim: str
    cost: str
    examine: Callable[[T], Outcome]

    def finding(self, outcome: Outcome) -> Finding:
        """The outcome as a finding of this check."""
        return Finding(self.name, self.claim, outcome.verdict, outcome.found, outcome.fix, self.cost, outcome.error)

    def attempt(self, subject: T) -> Outcome:
        """The outcome; "not run" where the check itself fails, with the reason."""
        try:
            return self.examine(subject)
        except LostRankError:
            raise
        except Exception as error:  # the user's model may raise anything, and a result must not be lost by its check
            what = error.what if isinstance(error, LandscapeError) else f"{type(error).__name__}: {error}"
            return Outcome("not run", f"it could not be made: {what}")


AnyTrial = TypeVar("AnyTrial", bound=ModelTrial)


def run_checks(checks: tuple[Check[AnyTrial], ...], trial: AnyTrial) -> tuple[AnyTrial, tuple[Finding, ...]]:
    """Makes the checks in turn, each on the trial as the earlier ones changed it; raises what a check raises."""
    findings = []
    for check in checks:
        outcome = check.examine(trial)
        findings.append(check.finding(outcome))
        trial = replace(trial, **outcome.changes)
    return trial, tuple(findings)
