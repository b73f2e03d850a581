"""The loss as a pure function of one flat parameter vector. The only place where a model is called."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.compute import memory
from landscape.compute.devices import as_device
from landscape.compute.precision import full_precision
from landscape.compute.strategy import Engine
from landscape.data.batches import Batch, Batches, FirstSamples, survey, to_device
from landscape.data.concatenation import concatenate, samples_are_independent
from landscape.data.prefetch import prefetch
from landscape.errors import LandscapeError, NumericalError, TaskError, UsageError, listing
from landscape.losses.huggingface import LogitsLoss, described, padding, padding_token, taken
from landscape.losses.loss import Loss
from landscape.losses.preflight import require_own_loss, settled_loss, shapes
from landscape.network.filters import filter_axes
from landscape.network.recomputation import without_recomputation
from landscape.network.replica import replica
from landscape.network.space import ParameterSpace
from landscape.network.weight_norm import UnfusedWeightNorm, uses_weight_norm
from landscape.network.wrappers import eval_mode, trainable_parameters, unwrap

T = TypeVar("T")
DTYPES = {"float32": torch.float32, "float64": torch.float64}
TRIAL = 8  # samples on which model and loss are tried: enough to see batch effects, few enough for any memory
NEGLIGIBLE = 1e-4  # of the median: what only Adam's epsilon has left of a preconditioner's entry
KEPT_SHARE = 4  # data stays in memory if it takes at most 1/4 of what is free
GRAPH_SHARE = 4  # and one micro-batch's graphs at most another quarter
JOINED_BYTES = 128 << 20  # activations of a micro-batch from which on launching operations no longer counts
GRAPHS_PER_FORWARD = 6  # a product holds forward, gradient and second-backward graphs: measured 3 to 6 forwards


@dataclass(frozen=True)
class Source:
    """Where an objective came from: the checkpoint, what was asked for, and what was found where."""

    path: Path | None = None
    sha256: str = ""
    conditions: Mapping[str, Any] = field(default_factory=dict)
    resolved_from: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """The mean loss at theta and the norm of its gradient."""

    loss: float
    gradient_norm: float


class Objective:
    """The mean loss L(theta) of a model over fixed data, with theta `(P,)` the trainable parameters in one vector.

    `model` is any `nn.Module` (DataParallel and compiled wrappers are undone). `batches` is any re-iterable of
    `(inputs, targets)` or of dictionaries with labels, one such batch, or a map-style Dataset; `limit` takes its first
    so many samples only. `loss` is whatever `landscape.losses.as_loss` takes, `hf` for a Hugging Face model's own, or
    None if the shapes tell. `params` are globs that select parameters; the others stay fixed. `preconditioner` is a
    positive diagonal by parameter, or a function that finds one. `populations` are further data by name, or functions
    that give them; `engine` says how products are made. Nothing in the model changes: not its mode, its
    `requires_grad`, its `.grad` or its buffers.

    Raises TaskError for data or a model that cannot be measured and NumericalError for NaN or infinity in the weights.
    """

    mode = "eval"

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
        preconditioner: Mapping[str, Tensor] | Callable[[], Mapping[str, Tensor]] | None = None,
        source: Source | None = None,
        populations: Mapping[str, Any] = MappingProxyType({}),
        engine: Engine | None = None,
    ) -> None:
        self.device = as_device(device)
        if engine and engine.hvp == "linearize" and (engine.compile or engine.cuda_graphs == "on"):
            raise UsageError("--hvp linearize is a way of its own", fix="leave out --compile and --cuda-graphs on")
        if engine and engine.cuda_graphs == "on" and self.device.type != "cuda":
            raise UsageError(f"--cuda-graphs on is for CUDA, not for {self.device}", fix="--cuda-graphs auto")
        self.dtype = DTYPES[dtype]
        self.source = source or Source()
        self.populations = populations
        self.engine = engine or Engine()
        self.notes: list[str] = []
        self._preconditioner = preconditioner
        self.model = unwrap(model)
        self.space = ParameterSpace.of(trainable_parameters(self.model), filter_axes(self.model)).select(params)
        self._unfused = uses_weight_norm(self.model)
        weights = self._placed_weights()
        masks = {name for name, buffer in self.model.named_buffers() if bool((buffer == -torch.inf).any())}
        _require_finite({name: tensor for name, tensor in weights.items() if name not in masks}, "weights")
        self.weights_sha256 = _hash(weights)
        self.theta: Tensor = self.space.flatten(weights)
        self._fixed = {name: tensor for name, tensor in weights.items() if name not in set(self.space.names)}
        budget = memory.free_bytes(self.device) // KEPT_SHARE
        beginning = None if limit is None else FirstSamples(batches, limit)
        self.batches = survey(beginning or batches, device=self.device, dtype=self.dtype, budget=budget)
        self.micro_batch = self.batches.largest
        first = to_device(next(next(iter(self.batches)).split(TRIAL)), self.device, self.dtype)
        with torch.enable_grad(), full_precision(self.engine.tf32):
            theta = self.theta.detach().requires_grad_()
            self.loss: Loss = settled_loss(lambda batch: self.model_output(theta, batch), loss, first)
            if isinstance(self.loss, LogitsLoss):
                require_own_loss(self.loss, self.model, lambda batch: self.model_output(theta, batch), first)
        if loss is None:
            self.notes.append(f"loss inferred from the {described(self.loss)}")
        token = padding_token(self.loss, self.model)
        counted = [(self.loss.count(b.targets), padding(self.loss, token, b.targets)) for b in self.batches]
        self.count: int = sum(count for count, _ in counted)
        if self.count == 0:
            raise TaskError("the loss counts nothing: every target is ignored", fix="check the targets")
        if padded := sum(count for _, count in counted):
            remedy = "if they are, give attention_mask or labels of -100"
            self.notes.append(f"{padded:,} scored tokens are {token}, as padding is: {remedy}")
        if beginning and beginning.cut:
            biased = "fewer samples bias the largest eigenvalue, and every worst case, upwards"
            self.notes.append(f"only the first {limit:,} samples are measured: {biased}")
        whole = concatenate(self.batches, budget)
        with full_precision(self.engine.tf32):
            self.activation_bytes = self._activation_bytes(first)
            self._joins = samples_are_independent(lambda batch: self.batch_total(self.theta, batch), whole)
        self.batches = whole if self._joins else self.batches
        self._planned = micro_batch is None
        self.micro_batch = micro_batch or self._planned_micro_batch()

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
            return self.batch_gradient(point, batch)

        total, gradient = self.sums(kernel)
        return total / self.count, gradient / self.count

    def batch_total(self, theta: Tensor | Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The summed loss of one batch at theta, shape (), differentiable in theta as often as needed.

        Theta is one vector `(P,)`, or its tensors by name.
        """
        return self.reraise_user_errors(batch, lambda: self.loss.total(self._output(theta, batch), batch.targets))

    def batch_gradient(self, theta: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The summed loss of one batch, shape (), float64, and its gradient `(P,)`."""
        point = theta.detach().requires_grad_()
        with torch.enable_grad():  # the caller may stand in no_grad
            total = self.batch_total(point, batch)
            (gradient,) = torch.autograd.grad(total, point)
        return total.detach().double(), gradient

    def batch_output(self, theta: Tensor | Mapping[str, Tensor], batch: Batch) -> Any:
        """The model's output on one batch at theta, differentiable in theta."""
        return self.reraise_user_errors(batch, lambda: self._output(theta, batch))

    def replica(self, vector: Tensor) -> Replica | None:
        """The model with the parameters that `vector` `(P,)` holds whenever it is called; None if it has no copy."""
        copied = replica(self.model, self.space, vector, self._fixed)
        return None if copied is None else Replica(copied, self)

    def loss_total(self, output: Any, batch: Batch, targets: Any = None) -> Tensor:
        """The summed loss of an output, with the batch's targets or others in their place."""
        return self.reraise_user_errors(
            batch, lambda: self.loss.total(output, batch.targets if targets is None else targets)
        )

    def reraise_user_errors(self, batch: Batch, work: Callable[[], T]) -> T:
        """What the user's model or loss computes; raises TaskError that says on what it failed."""
        try:
            return work()
        except LandscapeError:
            raise
        except Exception as error:  # the user's model and loss may raise anything
            if isinstance(error, RuntimeError) and memory.is_out_of_memory(error):
                raise
            raise TaskError(
                f"the model or the loss fails on a batch: {type(error).__name__}: {error}",
                why=f"inputs of {shapes(batch.inputs)}, targets of {shapes(batch.targets)}",
                fix="check the targets' range and dtype, --loss, and the model; --debug shows the traceback",
            ) from error

    def accumulate(self, kernel: Callable[[Batch], Tensor]) -> Tensor:
        """The sum of `kernel` over all micro-batches; running out of memory halves them and goes on.

        The kernel must be additive over samples. Raises TaskError if one sample alone does not fit.
        """
        return self.sums(lambda batch: (kernel(batch),))[0]

    def sums(self, kernel: Callable[[Batch], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """As `accumulate`, of several quantities at once."""
        totals: tuple[Tensor, ...] = ()
        with full_precision(self.engine.tf32):
            for piece in prefetch(self.micro_batches(), self.device, self.dtype):
                for parts in self._halving(kernel, piece):
                    totals = tuple(t.add_(p) for t, p in zip(totals, parts, strict=True)) if totals else _own(parts)
                    del parts  # or they would be held while the next ones are computed
        return totals

    def micro_batches(self) -> Iterator[Batch]:
        """The data in pieces of at most `micro_batch` samples, regardless of its own batches where they are joined."""
        for batch in self.batches if self.batches.whole is None else (self.batches.whole,):
            yield from batch.split(self.micro_batch)

    def tensors(self) -> Iterator[Tensor]:
        """Parameters and buffers, as they lie on the device."""
        yield from (self.theta, *self._fixed.values())

    def resume_settings(self, ways: str, micro_batch: int, device: str) -> None:
        """Works as an earlier run did, of whose engine `ways` tells, except for what is asked now.

        The same arithmetic in the same order gives the same last bits. On another kind of device nothing is taken over.
        """
        if torch.device(device).type != self.device.type:
            return
        self.engine.recall(ways)
        if self._planned:
            self.micro_batch = micro_batch

    @property
    def tf32(self) -> bool:
        """Whether products may be rougher than their precision."""
        return self.engine.tf32 and self.device.type == "cuda"

    @property
    def single_batch(self) -> bool:
        """Whether all data are one micro-batch."""
        return self.batches.samples <= self.largest_micro_batch

    @property
    def largest_micro_batch(self) -> int:
        """The samples of the largest micro-batch."""
        return min(self.micro_batch, self.batches.largest if self.batches.whole is None else self.batches.samples)

    def with_data(self, data: Any) -> Objective:
        """The same model at the same weights, and the same loss, on other data."""
        budget = memory.free_bytes(self.device) // KEPT_SHARE
        batches = survey(data, device=self.device, dtype=self.dtype, budget=budget)
        batches = concatenate(batches, budget) if self._joins else batches
        count = sum(self.loss.count(batch.targets) for batch in batches)
        if count == 0:
            raise TaskError("the loss counts nothing: every target is ignored", fix="check the targets")
        return self._variant(batches=batches, count=count)

    @cached_property
    def reference(self) -> Reference:
        """The loss and gradient norm at theta; raises NumericalError, with the tensors' names, if not finite."""
        total, gradient = self.value_and_gradient()
        loss = float(total)
        if not torch.isfinite(torch.tensor(loss)):
            raise NumericalError(
                f"the loss at the checkpoint is {loss}",
                why="the weights are finite, so the model, the loss or the data overflow",
                fix="--dtype float64, or look for bad samples in the data",
            )
        _require_finite(self.space.unflatten(gradient), "the gradient")
        return Reference(loss, float(torch.linalg.vector_norm(gradient.double())))

    @cached_property
    def preconditioner(self) -> Tensor:
        """The optimiser's diagonal `(P,)`; raises UsageError if none is known or a parameter has none."""
        given = self._preconditioner
        if given is None:
            raise UsageError("no preconditioner is known", fix="Objective(..., preconditioner={name: tensor})")
        tensors = given() if callable(given) else given
        missing = [b.name for b in self.space.blocks if b.name not in tensors or tensors[b.name].shape != b.shape]
        if missing:
            raise UsageError(
                f"the preconditioner has no tensor that fits {listing(missing)}",
                fix="leave these parameters out with --params, or give their diagonal with --preconditioner",
            )
        diagonal = self.space.flatten(tensors).to(self.theta)
        tiny = diagonal < NEGLIGIBLE * diagonal.median()
        if tiny.any():
            names = [name for name, part in self.space.unflatten(tiny).items() if part.any()]
            self.notes.append(
                f"{int(tiny.sum())} of {len(tiny)} entries of the preconditioner are next to 0: {listing(names)}; "
                "where training saw no gradient (a bias before BatchNorm), leave the parameter out with --params"
            )
        return diagonal

    def first(self, samples: int) -> Objective:
        """The same objective over its first `samples` samples at most (fewer if the first batch is smaller)."""
        beginning = self.batches.whole or next(iter(self.batches))
        return self._over([to_device(next(beginning.split(samples)), self.device, self.dtype)])

    def parts(self, samples: int) -> Iterator[Objective]:
        """The mean losses over `samples` consecutive samples each, the last over what is left.

        Together, weighted by their counts, they are this objective.
        """
        gathered: list[Batch] = []
        for batch in self.batches:
            for piece in batch.cut(range(0, batch.first + batch.size, samples)):
                own = piece if self.batches.kept else piece.map(Tensor.clone)  # a loader may fill one buffer again
                gathered.append(to_device(own, self.device, self.dtype))
                if (piece.first + piece.size) % samples == 0:
                    yield self._over(gathered)
                    gathered = []
        if gathered:
            yield self._over(gathered)

    def with_loss(self, loss: Loss) -> Objective:
        """The same model on the same data with another loss of its output."""
        return self._variant(loss=loss)

    def _over(self, pieces: list[Batch]) -> Objective:
        samples = sum(piece.size for piece in pieces)
        largest = max(piece.size for piece in pieces)
        batches = Batches(pieces, sha256="", samples=samples, largest=largest, kept=True)
        return self._variant(batches=batches, count=sum(self.loss.count(piece.targets) for piece in pieces))

    def _variant(self, **changes: Any) -> Objective:
        """A copy with other attributes, and without what was computed of the old ones."""
        other = copy.copy(self)
        for name in ("reference", "preconditioner"):
            vars(other).pop(name, None)
        vars(other).update(changes)
        return other

    # -- what identifies it --------------------------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """What decides a result besides the analysis: the objective's share of the fingerprint."""
        return {
            "weights": self.weights_sha256,
            "data": self.batches.sha256,
            "loss": self.loss.name,
            "mode": self.mode,
            "dtype": str(self.dtype).removeprefix("torch.") + (", tf32" if self.tf32 else ""),
            "parameters": hashlib.sha256("\n".join(self.space.names).encode()).hexdigest()[:16],
        }

    # -- inside --------------------------------------------------------------------------------------------------

    def _output(self, theta: Tensor | Mapping[str, Tensor], batch: Batch) -> Any:
        """What the loss takes of the model's output."""
        return self.scored_output(self.model_output(theta, batch))

    def scored_output(self, output: Any) -> Any:
        """The part of a model's output that the loss takes."""
        return taken(self.loss, output)

    def model_output(self, theta: Tensor | Mapping[str, Tensor], batch: Batch) -> Any:
        """All that the model returns for a batch at theta."""
        args, kwargs = batch.arguments
        state = {**self._fixed, **(self.space.unflatten(theta) if isinstance(theta, Tensor) else theta)}
        unfused = UnfusedWeightNorm() if self._unfused else nullcontext()
        # the fused attention kernels have no second derivative
        with eval_mode(self.model), sdpa_kernel(SDPBackend.MATH), unfused, without_recomputation():
            return functional_call(self.model, state, args, kwargs)

    def _placed_weights(self) -> dict[str, Tensor]:
        """Copies of all parameters and buffers on the device, floating ones in the working precision."""
        named = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        narrow = {str(t.dtype) for t in named.values() if t.is_floating_point() and t.itemsize < 4}
        if narrow:
            said = f"{', '.join(sorted(narrow))} weights are computed in {self.dtype}"
            self.notes.append(said.replace("torch.", ""))
        return {
            name: tensor.detach().to(self.device, self.dtype if tensor.is_floating_point() else None, copy=True)
            for name, tensor in named.items()
        }

    def _activation_bytes(self, first: Batch) -> int:
        """Bytes per sample that the forward pass keeps for its backward pass."""
        kept: dict[int, int] = {}

        def weigh(tensor: Tensor) -> Tensor:
            kept[tensor.data_ptr()] = tensor.nbytes
            return tensor

        theta = self.theta.detach().requires_grad_()
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
            self.batch_total(theta, first)
        inside = range(theta.data_ptr(), theta.data_ptr() + theta.nbytes)
        return sum(size for pointer, size in kept.items() if pointer not in inside) // first.size

    def _planned_micro_batch(self) -> int:
        """As many samples as fit with their graphs into the share of memory set apart for them; joined batches no more
        than launching operations can gain from.
        """
        budget = memory.free_bytes(self.device) // GRAPH_SHARE
        each = max(self.activation_bytes, 1)
        own, samples = self.batches.largest, self.batches.samples
        useful = own if self.batches.whole is None else max(own, min(samples, JOINED_BYTES // each))
        return max(1, min(budget // (each * GRAPHS_PER_FORWARD), useful))

    def _halving(self, kernel: Callable[[Batch], T], piece: Batch) -> Iterator[T]:
        try:
            yield kernel(to_device(piece, self.device, self.dtype))
            return
        except RuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
            if piece.size == 1:
                raise TaskError("one sample alone does not fit into memory", fix="--device cpu, or --params") from error
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.micro_batch = max(1, piece.size // 2)
        for half in piece.split(self.micro_batch):
            yield from self._halving(kernel, half)


@dataclass(frozen=True)
class Replica:
    """A copy of an objective's model, for passes without a graph."""

    model: nn.Module
    objective: Objective

    def output(self, batch: Batch) -> Any:
        """What the loss takes of the copy's output on one batch."""
        args, kwargs = batch.arguments
        return self.objective.reraise_user_errors(
            batch, lambda: self.objective.scored_output(self.model(*args, **kwargs))
        )


def _own(parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The tensors, copied where several entries share a place in memory: a sum in place needs one for each."""
    return tuple(part.clone() if 0 in part.stride() else part for part in parts)


def _hash(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _require_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    bad = [
        f"{name} ({int((~tensor.isfinite()).sum())} of {tensor.numel()})"
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
    if bad:
        raise NumericalError(
            f"NaN or infinity in {what}: {listing(bad)}",
            fix="measure an earlier checkpoint; landscape never repairs weights",
        )
