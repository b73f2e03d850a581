"""The mean loss as a pure function of one flat parameter vector."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from landscape.choices import Mode, Outputs
from landscape.compute import ranks
from landscape.compute.devices import as_device
from landscape.compute.precision import full_precision
from landscape.compute.strategy import ProductSettings, StrategyCache
from landscape.compute.turns import take_turn
from landscape.data.batches import Batch
from landscape.errors import UsageError
from landscape.losses.protocol import Loss
from landscape.losses.terms import TermsLoss
from landscape.objective import other_weights, preparation, replicas, views
from landscape.objective.batch_loss import BatchLoss
from landscape.objective.counted_time import GradientCount
from landscape.objective.data_sums import sum_over_data
from landscape.objective.identity import identity_of
from landscape.objective.micro_batch import GRAPHS_PER_FORWARD
from landscape.objective.objective_function import objective_function
from landscape.objective.preconditioner import NamedTensors, Preconditioner, read_preconditioner
from landscape.objective.reference import Reference, reference_of
from landscape.objective.source import ObjectiveSource
from landscape.objective.weight_decay import WeightDecay
from landscape.objective.weights_digest import digest_of

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Objective(BatchLoss):
    """The mean loss L(theta) of a model over fixed data, with theta `(P,)` the trainable parameters in one vector.

    `model` is any `nn.Module` (DataParallel and compiled wrappers are removed). `batches` is any re-iterable of
    `(inputs, targets)` or of dictionaries with labels, one such batch, or a map-style Dataset; `limit` takes its first
    so many samples only. `loss` is whatever `landscape.losses.as_loss` takes, `hf` for a Hugging Face model's own, or
    None if the shapes decide. `params` are globs that select parameters. `preconditioner` is a positive diagonal by
    parameter, or a function that returns one, `populations` are further data by name. Nothing in the model changes: not
    its mode, its `requires_grad`, its `.grad` or its buffers. `outputs` says what the model returns to a built-in loss.
    With `as_given` the loss depends on where batches end, and they are neither split nor joined.
    With `share_memory` the model is given up to the objective: its parameters become parts of theta, without a copy.

    Raises TaskError for data or a model that cannot be measured and NumericalError for NaN or infinity in the weights.

    >>> import landscape, torch
    >>> x = torch.tensor([[1.0], [2.0]])
    >>> objective = landscape.Objective(torch.nn.Linear(1, 1, bias=False), (x, 2 * x), "mse", dtype="float64")
    >>> float(objective.value(torch.tensor([3.0], dtype=torch.float64)))  # the mean of (3 x - 2 x)**2
    2.5
    """

    examine: ClassVar[Callable[..., preparation.Prepared] | None] = None  # in the place of the checks
    closing_checks: ClassVar[tuple[Any, ...]] = ()  # in the place of those after a measurement
    gradient_count: GradientCount | None = None  # once it is counted, or of an objective without numbers

    def __init__(
        self,
        model: nn.Module,
        batches: Any,
        loss: Any = None,
        *,
        params: tuple[str, ...] = (),
        device: str = "auto",
        dtype: str = "float32",
        micro_batch: int | None = None,
        limit: int | None = None,
        preconditioner: NamedTensors | Callable[[], NamedTensors] | None = None,
        source: ObjectiveSource | None = None,
        populations: Mapping[str, Any] = MappingProxyType({}),
        settings: ProductSettings | None = None,
        outputs: Outputs | None = None,
        objective: Callable[[nn.Module, Any], Any] | None = None,
        term: str | None = None,
        weight_decay: float = 0.0,
        decay_params: tuple[str, ...] = (),
        mode: Mode = "eval",
        share_memory: bool = False,
    ) -> None:
        self.objective_function = objective_function(objective, term, loss, outputs)
        self.device = as_device(device)
        self.settings = settings or ProductSettings()
        self.settings.require_possible(str(self.device))
        self.strategies, self.dtype, self.ranks = StrategyCache(), DTYPES[dtype], ranks.current()
        self.source = source or ObjectiveSource()
        self.populations = populations
        self._preconditioner_source = preconditioner
        self.mode: Mode = mode
        given = loss if objective is None else objective
        with take_turn():
            weights = self._read_weights(model, params, given, share=share_memory)
            decay = WeightDecay.on(weights.function.space, weight_decay, decay_params)
            prepared = preparation.prepare(
                weights,
                batches,
                loss,
                device=self.device,
                dtype=self.dtype,
                micro_batch=micro_batch,
                limit=limit,
                settings=self.settings,
                outputs=outputs,
                objective=self.objective_function,
                examine=self.examine,
            )
        super().__init__(prepared.function, prepared.loss, decay)
        self.sample_cost, self.theta = prepared.sample_cost, prepared.theta
        self.weight_hashes, self.weights_sha256 = weights.hashes, digest_of(weights.hashes)
        self.batches = prepared.batches
        self.count, self.joinable = prepared.count, prepared.joinable
        self.as_given, self.checks = prepared.as_given, prepared.checks
        self.activation_bytes, self.micro_batch = prepared.activation_bytes, prepared.micro_batch
        self._micro_batch_is_planned = micro_batch is None
        self.notes: tuple[str, ...] = tuple(dict.fromkeys([*self.source.notes, *prepared.notes]))

    def _read_weights(
        self, model: nn.Module, params: tuple[str, ...], loss: Any, *, share: bool
    ) -> preparation.Weights:
        """The model as a function of theta, and theta."""
        return preparation.prepare_weights(
            model, params, self.device, self.dtype, loss, self.mode, self.settings, share=share
        )

    # -- the function and its gradient ---------------------------------------------------------------------------

    def value(self, theta: Tensor | None = None) -> Tensor:
        """L(theta), shape (), float64."""
        point = self.theta if theta is None else theta
        with torch.no_grad():
            return self.accumulate(lambda batch: self.batch_total(point, batch).double()) / self.count

    def gradient(self, theta: Tensor | None = None) -> Tensor:
        """The gradient of L at theta, `(P,)`."""
        return self.value_and_gradient(theta)[1]

    def value_and_gradient(self, theta: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """L(theta), shape (), float64, and its gradient `(P,)`, in one pass."""
        point = self.theta if theta is None else theta

        def kernel(batch: Batch) -> tuple[Tensor, ...]:
            """The loss and its gradient on one micro-batch."""
            return self.batch_gradient(point, batch)

        total, gradient = self.sums(kernel)
        return total / self.count, gradient.div_(self.count)

    @cached_property
    def reference(self) -> Reference:
        """The loss and gradient norm at theta; raises NumericalError, with the tensors' names, if not finite."""
        return reference_of(self)

    def parts_by_name(self, vector: Tensor) -> dict[str, Tensor]:
        """What a vector `(P,)` has for each tensor of the parameters, by name."""
        return self.space.unflatten(vector)

    def vectors(self) -> AbstractContextManager[None]:
        """The block in which inner products are those of whole vectors, also where this rank holds parts of them."""
        return nullcontext()

    @property
    def preconditioner(self) -> Tensor:
        """The optimizer's diagonal `(P,)`; raises UsageError if none is known or a parameter has none."""
        return self._preconditioner.diagonal

    @property
    def preconditioner_notes(self) -> tuple[str, ...]:
        """Notes on entries of the preconditioner next to 0; raises UsageError as `preconditioner` does."""
        return self._preconditioner.notes

    @cached_property
    def _preconditioner(self) -> Preconditioner:
        return read_preconditioner(self._preconditioner_source, self.space, self.theta)

    # -- sums over the data --------------------------------------------------------------------------------------

    def accumulate(
        self,
        kernel: Callable[[Batch], Tensor],
        batches: Iterable[Batch] | None = None,
        shrink: Callable[[int], None] | None = None,
    ) -> Tensor:
        """The sum of `kernel` over all micro-batches, which are halved where memory runs out.

        The kernel must be additive over samples. Raises OutOfMemory if one sample alone does not fit.
        """
        return self.sums(lambda batch: (kernel(batch),), batches, shrink)[0]

    def sums(
        self,
        kernel: Callable[[Batch], tuple[Tensor, ...]],
        batches: Iterable[Batch] | None = None,
        shrink: Callable[[int], None] | None = None,
    ) -> tuple[Tensor, ...]:
        """As `accumulate`, of several quantities at once.

        `batches` hold all data in other pieces than the micro-batches; `shrink` is then told the number of samples that
        fit into memory, for the next pass. This is the only place where batches are reduced, and dealt out to ranks.
        """
        return sum_over_data(self, kernel, self.micro_batches() if batches is None else batches, shrink)

    def micro_batches(self) -> Iterator[Batch]:
        """The data in pieces of at most `micro_batch` samples, across its own batches where they are concatenated."""
        for batch in self.batches if self.batches.whole is None else (self.batches.whole,):
            yield from batch.split(self.micro_batch)

    @property
    def single_batch(self) -> bool:
        """Whether all data are one micro-batch."""
        return self.batches.samples <= self.largest_micro_batch

    @property
    def largest_micro_batch(self) -> int:
        """The samples of the largest micro-batch."""
        return min(self.micro_batch, self.batches.largest if self.batches.whole is None else self.batches.samples)

    @property
    def graph_bytes(self) -> int:
        """The memory that the graphs of a product take on the largest micro-batch."""
        return GRAPHS_PER_FORWARD * self.activation_bytes * self.largest_micro_batch

    def take_fewer(self, samples: int) -> None:
        """Passes so many samples at once from now on, since memory ran out."""
        self.micro_batch = samples

    def precision(self) -> AbstractContextManager[None]:
        """The block in which torch multiplies in the precision of the settings."""
        return full_precision(self.settings.tf32)

    # -- variants and copies -------------------------------------------------------------------------------------

    def first(self, samples: int) -> Objective:
        """The same objective over its first `samples` samples at most (fewer if the first batch is smaller)."""
        return views.on_first_samples(self, samples)

    def parts(self, samples: int) -> Iterator[Objective]:
        """The mean losses over `samples` consecutive samples each, the last over those that are left.

        Their mean, weighted by their counts, is this objective.
        """
        return views.on_consecutive_parts(self, samples)

    def with_data(self, data: Any) -> Objective:
        """The same model at the same weights, and the same loss, on other data."""
        return views.on_data(self, data)

    def with_samples(self, batches: Iterable[Batch]) -> Objective:
        """The same objective on some of its own samples, in batches that are iterated again and again."""
        return views.on_samples(self, batches)

    def with_loss(self, loss: Loss) -> Objective:
        """The same model on the same data with another loss of its output."""
        return self.variant(loss=loss)

    def with_term(self, term: str) -> Objective:
        """The same objective with one of its terms alone; raises UsageError for a name that is none of theirs."""
        if not isinstance(self.loss, TermsLoss):
            raise UsageError(f"loss {self.loss.name} has no terms", fix="--objective FILE.py:function with named terms")
        return self.variant(loss=self.loss.only(term))

    def at(
        self,
        weights: nn.Module | Mapping[str, Tensor],
        *,
        preconditioner: NamedTensors | Callable[[], NamedTensors] | None = None,
        source: ObjectiveSource | None = None,
    ) -> Objective:
        """The same objective at the weights that a model has now, or at those of a state dict; they are copied.

        Data, loss, checks and plan are not made anew. The model may be another of the same architecture: its tensors
        alone are taken. Raises TaskError, or CheckpointError, for another one, and NumericalError for NaN or infinity.

        >>> import landscape, torch
        >>> model, x = torch.nn.Linear(1, 1, bias=False), torch.tensor([[1.0], [2.0]])
        >>> objective = landscape.Objective(model, (x, 2 * x), "mse")
        >>> _ = torch.nn.init.constant_(model.weight, 3.0)
        >>> float(objective.at(model).value())
        2.5
        """
        return other_weights.at_weights(self, weights, preconditioner, source)

    def alone(self) -> Objective:
        """The same objective, whose sums this process makes by itself, of all data."""
        return self.variant(ranks=ranks.ALONE)

    def variant(self, **changes: Any) -> Objective:
        """A copy with other attributes, without the cached reference value and count of this objective."""
        other = copy.copy(self)
        for cached in ("reference", "gradient_count"):
            vars(other).pop(cached, None)
        vars(other).update(changes)
        return other

    def replica(self, vector: Tensor) -> replicas.Replica | None:
        """The model with the parameters that `vector` `(P,)` holds whenever it is called; None if it has no copy."""
        return replicas.replicate(self, vector)

    def tensors(self) -> Iterator[Tensor]:
        """Theta, and the fixed tensors (buffers and parameters that are not measured), as they lie on the device."""
        yield from (self.theta, *self.function.fixed.values(), *self.function.stored.values())

    # -- identity and resumption ---------------------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """What decides a result besides the analysis: the objective's share of the fingerprint."""
        return identity_of(self)

    @property
    def loss_name(self) -> str:
        """The loss with the term that is measured and the weight decay."""
        term = f", term {self.loss.term}" if isinstance(self.loss, TermsLoss) and self.loss.term else ""
        return self.loss.name + term + (f", weight decay {self.decay.describe()}" if self.decay else "")

    @property
    def tf32(self) -> bool:
        """Whether CUDA multiplies float32 numbers with ten bits of mantissa."""
        return self.settings.tf32 and self.device.type == "cuda"

    def resume_settings(self, strategies: str, micro_batch: int, device: str) -> None:
        """Reuses the strategies and the micro-batch of the run being resumed, unless the user has set them now.

        The same arithmetic in the same order gives the same last bits. Nothing is reused from another kind of device.
        """
        if torch.device(device).type != self.device.type:
            return
        self.strategies.restore(strategies, self.settings)
        if self._micro_batch_is_planned:
            self.micro_batch = micro_batch
